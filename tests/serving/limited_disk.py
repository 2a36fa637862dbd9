"""Run as a process: writes events where a file can have 200 kB at most; prints what became of them."""

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path

from cd4ml.serving.events import EventLog, PredictionEvent

ROWS = 1500


def main(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    log = EventLog(folder, flush_seconds=0.01)
    big = PredictionEvent(
        "big", "shop", "7", "stable", "v1", [{"x": "y" * 200}] * ROWS, {"prediction": [1.0] * ROWS}
    )
    small = PredictionEvent("small", "shop", "7", "stable", "v1", [{"x": 1}], {"prediction": [1.0]})
    for event in (small, big, small):
        log.append(event)
        while log.counts().waiting:
            pass
    sys.stdout.write(json.dumps(asdict(log.close())))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
