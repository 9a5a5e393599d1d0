"""The command line: parse, call one function, print. The only package that imports click.

Results go to stdout or to the file of `-o`, progress and complaints to stderr. Everything heavy is imported by the
command that needs it, so that `--help` and `check` answer at once.
"""

from grid.cli.main import main

__all__ = ["main"]
