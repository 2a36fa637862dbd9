"""Upload a compiled pipeline under the name of the commit here, and run it: for CI with only cd4ml installed.

It is `cd4ml pipelines submit --wait` with nothing around it. Copy this file, or call that.

    python scripts/submit.py training --set problem=bike-demand

KFP_HOST is the server's URL; CD4ML_KFP_TOKEN or CD4ML_KFP_COOKIE says who calls. `--help` has all options.
The exit code says how the run ended: 0 done, 3 a gate rejected, 4 data refused, 5 rolled back, 6 a service
cannot be reached, 124 not in time, 2 wrong use, 1 anything else.
"""

import sys

from cd4ml.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main(["pipelines", "submit", "--wait", *sys.argv[1:]]))
