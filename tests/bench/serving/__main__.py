"""`python -m tests.bench.serving --out FILE`: measure, print a table, write JSON."""

import argparse
import json
from pathlib import Path

from tests.bench.serving.bench import run, table

parser = argparse.ArgumentParser(prog="python -m tests.bench.serving", description=__doc__)
parser.add_argument("--out", type=Path, help="file for all numbers, as JSON")
told = parser.parse_args()
found = run()
print(table(found))
if told.out:
    told.out.write_text(json.dumps(found, indent=1) + "\n")
raise SystemExit(1 if found["missed"] else 0)
