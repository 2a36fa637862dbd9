"""A small bundle, and processes that work on a store at the same moment."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.storage import FolderStorage, S3Storage, Storage

Where = tuple[str, ...]


def make_bundle(folder: Path, model: str = "a model", **lineage: Any) -> Path:
    """Write a bundle with a model, metrics, lineage and a file in a folder of its own."""
    (folder / "features").mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_text(model)
    (folder / "features/state.json").write_text("{}")
    metrics = {"holdout": {"wape": {"estimate": 0.25, "high": 0.3, "low": 0.2}}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    told = {"git": {"branch": "main", "commit": "c" * 40}, "snapshot": "5" * 64, "seeds": [7]} | lineage
    (folder / "lineage.json").write_text(json.dumps(told))
    write_manifest(folder, format="1", problem="shop")
    return folder


def where(storage: Storage) -> Where:
    """Return what another process needs to open the same store."""
    if isinstance(storage, S3Storage):
        return (storage.bucket, storage.prefix, storage.endpoint)
    assert isinstance(storage, FolderStorage)
    return (str(storage.root),)


def opened(place: Where) -> Storage:
    return FolderStorage(place[0]) if len(place) == 1 else S3Storage(*place)


def at_once(storage: Storage, work: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Call `work(storage, *arguments)` for each of the arguments at the same moment; return the results.

    Processes work on a folder, threads on an S3 server.
    """
    if isinstance(storage, FolderStorage):
        context: Any = multiprocessing.get_context("spawn")
        barrier, results = context.Barrier(len(arguments)), context.Queue()
        workers = [
            context.Process(target=_one, args=(where(storage), work, number, given, barrier, results))
            for number, given in enumerate(arguments)
        ]
    else:
        import queue

        barrier, results = threading.Barrier(len(arguments)), queue.Queue()
        workers = [
            threading.Thread(target=_one, args=(where(storage), work, number, given, barrier, results))
            for number, given in enumerate(arguments)
        ]
    for worker in workers:
        worker.start()
    found = dict(results.get(timeout=60) for _ in workers)
    for worker in workers:
        worker.join(60)
    return [found[number] for number in range(len(arguments))]


def _one(
    place: Where, work: Callable[..., Any], number: int, given: tuple[Any, ...], barrier: Any, results: Any
) -> None:
    storage = opened(place)
    barrier.wait(60)
    results.put((number, work(storage, *given)))
