"""Run as a process: writes events without end, for somebody to kill."""

import sys
from pathlib import Path

from cd4ml.serving.events import EventLog, PredictionEvent


def main(folder: Path) -> None:
    log = EventLog(folder, flush_seconds=0.001)
    number = 0
    while True:
        inputs = [{"number": number}]
        if log.append(
            PredictionEvent(f"killed-{number}", "shop", "7", "stable", "v1", inputs, {"prediction": [1.0]})
        ):
            number += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
