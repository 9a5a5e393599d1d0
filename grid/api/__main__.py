"""`python -m attackgrid`, and where the console script starts."""

import sys

from ._own import HiddenError, refuse_others


def main() -> None:
    """Run the command line, unless a module of the user's hides one of ours."""
    try:
        refuse_others()
    except HiddenError as error:
        sys.stderr.write(f"attackgrid: {error}\n")
        sys.exit(2)
    from grid.cli import main as commands  # noqa: PLC0415 - only what is ours is to be imported

    commands()


if __name__ == "__main__":
    main()
