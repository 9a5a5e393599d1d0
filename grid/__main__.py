"""`python -m grid` is the command `attackgrid`."""

from grid.cli import main

main()
