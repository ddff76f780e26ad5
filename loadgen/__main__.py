"""``python -m loadgen`` is the same as ``loadgen``."""

from loadgen.cli import main

main()
