"""``loadgen`` and ``python -m loadgen``: the command line, and a quiet end for a Ctrl-C that comes while it loads."""

import sys


def main() -> None:
    """Run the command line; exit code 2 when it is interrupted before it began."""
    try:
        from loadgen import cli
    except KeyboardInterrupt:
        sys.stderr.write("loadgen: interrupted before anything began\n")
        sys.exit(2)
    cli.main()


if __name__ == "__main__":
    main()
