"""Run as a process: workers that count, one of which is killed; prints what /metrics answers."""

import multiprocessing
import os
import signal
import sys
from pathlib import Path

from cd4ml.serving.telemetry import Telemetry, count_across_workers, page

REQUESTS, ROWS = 50, 3


def work(telemetry: Telemetry, ready: object, kill: bool) -> None:
    for _ in range(REQUESTS):
        telemetry.observe("v1", 0.0004, [0.2] * ROWS)
    telemetry.observe("v2", 0.01, status=422)
    ready.release()  # type: ignore[attr-defined]
    if kill:
        os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, workers: int) -> None:
    count_across_workers(folder)
    telemetry = Telemetry("shop", "7", "canary", task="classification")
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Semaphore(0)
    running = [spawn.Process(target=work, args=(telemetry, ready, i < 1)) for i in range(workers)]
    for worker in running:
        worker.start()
    for worker in running:
        worker.join()
    (folder / "counter_1.db").write_bytes(b"")  # a worker that has just started
    sys.stdout.write(page()[0].decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
