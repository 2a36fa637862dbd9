"""`python -m cd4ml.cli`: the command where the console script is not on the path."""

from cd4ml.cli.main import run

run()
