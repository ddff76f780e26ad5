"""``loadgen`` and ``python -m loadgen``: the command line, and a quiet end for a Ctrl-C that comes while it loads."""

import os
import sys


def _leave_the_current_folder() -> None:
    """Take the current folder off the search path: what lies in it is not ours, and may be called ``secrets.py``.

    ``python -m`` puts it there, and so does an empty entry of PYTHONPATH. Nothing may be imported before this that is
    not loaded yet, hence the plain means.
    """
    try:
        here = os.getcwd()  # noqa: PTH109 - pathlib and what it needs are not loaded yet
    except OSError:  # it was removed
        return
    added = __name__ == "__main__" and not sys.flags.safe_path
    spelled = os.environ.get("PYTHONPATH", "")
    relative = bool(spelled) and any(
        not os.path.isabs(entry) and os.path.realpath(entry) == os.path.realpath(here)  # noqa: PTH117
        for entry in spelled.split(os.pathsep)
    )
    for unwanted in (added, relative):
        found = [n for n, entry in enumerate(sys.path) if entry in ("", here)]
        if unwanted and found:
            del sys.path[found[0]]


_leave_the_current_folder()


def main() -> None:
    """Run the command line; exit code 2 when it is interrupted before it began."""
    try:
        from loadgen.push import forget_grpc_settings

        forget_grpc_settings(os.environ)
        from loadgen.cli.main import main as command
    except KeyboardInterrupt:
        sys.stderr.write("loadgen: interrupted before anything began\n")
        sys.exit(2)
    command()


if __name__ == "__main__":
    main()
