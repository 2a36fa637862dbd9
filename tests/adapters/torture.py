"""Writers that are killed while they work on a store, and the check of all that they were told was done.

A writer notes in a file of its own, and on the disk, what it begins and what the store told it was done. What
is done must be in the store, once and as it was written; what is in the store must have been begun.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.bundle_shelf import BundleShelf, Kept
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import Storage
from cd4ml.adapters.storage.documents import encode
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.adapters.stored_bundle import stored_document
from cd4ml.errors import ConflictError
from tests.adapters.samples import Where, make_bundle, opened

__all__ = ["check", "work"]

MODEL, LOG, ALIASES = "shop", "logs/list.json", ("champion", "challenger", "shadow")
STOP = "stop"
LARGE_BYTES = 6 << 20


class Notes:
    """What one writer began and finished."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def add(self, **facts: Any) -> None:
        self._file.write(json.dumps(facts).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@dataclass
class Writer:
    """One process: its store, its names and its dice."""

    store: Storage
    folder: Path
    number: int
    dice: random.Random
    begun: int = 0
    registry: Registry = field(init=False)

    def __post_init__(self) -> None:
        self.registry = Registry(self.store)


def content(op: str, size: int) -> bytes:
    """Return bytes that tell by which operation, and how many there must be."""
    head = f"{op} {size}\n".encode()
    return (head + sha256_bytes(head).encode() * (size // 64 + 1))[:size]


def op_of(data: bytes) -> str:
    """Return the operation that wrote `data`; AssertionError unless every byte is its."""
    op, size = data.partition(b"\n")[0].decode().split(" ")
    assert data == content(op, int(size)), f"{op} is damaged"
    return op


def new_version(writer: Writer, op: str) -> dict[str, Any]:
    bundle = make_bundle(writer.folder / "made" / op, op)
    try:
        version = writer.registry.push(bundle, MODEL, "accept")
    finally:
        shutil.rmtree(bundle)
    return {"version": version.version, "bundle": version.bundle}


def move_alias(writer: Writer, op: str) -> dict[str, Any]:
    known = writer.registry.versions(MODEL)
    if not known:
        return {"moved": False}
    alias = writer.dice.choice(ALIASES)
    try:
        change = writer.registry.set_alias(MODEL, alias, writer.dice.choice(known).version, by=op)
    except ConflictError:
        return {"moved": False}
    return {"moved": change.from_version != change.to_version, "to": change.to_version}


def add_audit_line(writer: Writer, op: str) -> dict[str, Any]:
    line = AuditLog(writer.store, segment_lines=200).append("torture", op, {}, datetime.now(UTC), op[:2])
    return {"number": line.number, "hash": line.hash}


def append_to_list(writer: Writer, op: str) -> dict[str, Any]:
    while True:
        found = writer.store.read_versioned(LOG)
        entries = json.loads(found[0])["entries"] if found else []
        try:
            writer.store.compare_and_swap(LOG, encode({"entries": [*entries, op]}), found and found[1])
        except ConflictError:
            continue
        return {}


def put_document(writer: Writer, op: str) -> dict[str, Any]:
    data = content(op, writer.dice.randrange(64, 50_000))
    writer.store.put(f"documents/{op}", data)
    assert writer.store.get(f"documents/{op}") == data
    return {}


def overwrite(writer: Writer, op: str) -> dict[str, Any]:
    writer.store.put(f"own/{writer.number:02d}", content(op, writer.dice.randrange(64, 200_000)))
    for key in writer.dice.sample(writer.store.list("own/"), 1):
        op_of(writer.store.get(key))
    return {}


def upload_large(writer: Writer, op: str) -> dict[str, Any]:
    folder = writer.folder / "made" / op
    folder.mkdir(parents=True)
    try:
        (folder / "file").write_bytes(content(op, LARGE_BYTES))
        writer.store.upload(folder, f"large/{writer.number:02d}")
    finally:
        shutil.rmtree(folder)
    return {}


def fetch_to_shelf(writer: Writer, op: str) -> dict[str, Any]:
    known = writer.registry.versions(MODEL)
    if not known:
        return {}
    version = writer.dice.choice(known)
    shelf = shelf_of(writer.folder, writer.number)
    shelf.fetch(writer.registry, version)
    kept = Kept(version.version, version.bundle)
    shelf.verified(kept)
    shelf.write([kept])
    shelf.point(version.bundle)
    return {"version": version.version, "bundle": version.bundle}


def shelf_of(folder: Path, number: int) -> BundleShelf:
    return BundleShelf(folder / f"shelf-{number:02d}", f"{MODEL}@champion", keep=100_000)


Operation = Callable[[Writer, str], dict[str, Any]]
OPERATIONS: dict[str, tuple[Operation, int]] = {
    "version": (new_version, 3),
    "alias": (move_alias, 6),
    "audit": (add_audit_line, 6),
    "list": (append_to_list, 6),
    "document": (put_document, 6),
    "own": (overwrite, 6),
    "large": (upload_large, 1),
    "shelf": (fetch_to_shelf, 3),
}


def work(place: Where, folder: str, number: int, life: int, credentials: dict[str, str]) -> None:
    """Work until the file `stop` is there, or until killed; note what was begun and what was done."""
    os.environ.update(credentials)
    root = Path(folder)
    notes = Notes(root / f"notes-{number:02d}-{life:04d}.jsonl")
    writer = Writer(opened(place), root, number, random.Random(number * 10_000 + life))
    names, weights = list(OPERATIONS), [weight for _, weight in OPERATIONS.values()]
    while not (root / STOP).exists():
        (kind,) = writer.dice.choices(names, weights)
        op = f"{number:02d}-{life:04d}-{writer.begun:05d}"
        writer.begun += 1
        notes.add(op=op, kind=kind, state="begun")
        try:
            facts = OPERATIONS[kind][0](writer, op)
        except Exception as error:
            notes.add(op=op, kind=kind, state="failed", error=f"{type(error).__name__}: {error}")
            continue
        notes.add(op=op, kind=kind, state="done", at=time.time(), **facts)


@dataclass
class Told:
    """The notes of all writers: {op: facts} by kind."""

    begun: dict[str, dict[str, Any]]
    done: dict[str, dict[str, Any]]
    failed: list[str]

    @classmethod
    def read(cls, folder: Path) -> Told:
        told = cls({kind: {} for kind in OPERATIONS}, {kind: {} for kind in OPERATIONS}, [])
        for path in sorted(folder.glob("notes-*.jsonl")):
            for text in path.read_bytes().split(b"\n")[:-1]:  # the last one may have been cut off
                note = json.loads(text)
                if note["state"] == "failed":
                    told.failed.append(f"{note['op']} {note['kind']}: {note['error']}")
                else:
                    {"begun": told.begun, "done": told.done}[note["state"]][note["kind"]][note["op"]] = note
        return told

    def compare(self, kind: str, found: list[str], done: set[str] | None = None) -> None:
        """Hold what the store has against what was done (all of it) and what was begun (nothing else)."""
        assert len(found) == len(set(found)), f"{kind}: written twice"
        lost = (self.done[kind].keys() if done is None else done) - set(found)
        assert not lost, f"{kind}: lost {sorted(lost)[:3]} and {len(lost)} in all"
        assert not set(found) - self.begun[kind].keys(), f"{kind}: nobody wrote this"


def check(store: Storage, folder: Path) -> dict[str, int]:
    """Fail unless the store has all that was done, whole; return how many of each kind were done."""
    told = Told.read(folder)
    assert not told.failed, told.failed[:5]
    _check_versions(store, told, folder)
    _check_aliases(store, told)
    _check_audit(store, told)
    found = store.read_versioned(LOG)
    told.compare("list", json.loads(found[0])["entries"] if found else [])
    _check_objects(store, told)
    _check_shelves(folder, told)
    return {kind: len(done) for kind, done in told.done.items()}


def _check_versions(store: Storage, told: Told, folder: Path) -> None:
    registry = Registry(store)
    versions = registry.versions(MODEL)
    assert [version.version for version in versions] == list(range(1, len(versions) + 1)), "a gap"
    bundles = {version.version: version.bundle for version in versions}
    assert len(set(bundles.values())) == len(bundles), "a bundle with two numbers"
    for note in told.done["version"].values():
        assert bundles[note["version"]] == note["bundle"], f"version {note['version']} is another bundle"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda bundle: stored_document(store, bundle, "lineage.json"), bundles.values()))
    made = []
    for number in sorted(bundles)[:: max(1, len(bundles) // 20)]:
        pulled = registry.pull(MODEL, number, folder / "pulled" / str(number))
        made.append((pulled / "model.onnx").read_text())
    assert set(made) <= told.begun["version"].keys()


def _check_aliases(store: Storage, told: Told) -> None:
    registry = Registry(store)
    history = registry.history(MODEL)
    done = {op for op, note in told.done["alias"].items() if note["moved"]}
    told.compare("alias", [change.by for change in history], done)
    now: dict[str, int | None] = {}
    for change in history:
        assert change.from_version == now.get(change.alias), f"{change.by} moved from elsewhere"
        now[change.alias] = change.to_version
        note = told.done["alias"].get(change.by)
        assert note is None or note["to"] == change.to_version
    assert now == registry.aliases(MODEL)


def _check_audit(store: Storage, told: Told) -> None:
    log = AuditLog(store, segment_lines=200)
    log.verify()
    lines = {line.subject: line for line in log.lines()}
    told.compare("audit", [line.subject for line in log.lines()])
    for op, note in told.done["audit"].items():
        assert (lines[op].number, lines[op].hash) == (note["number"], note["hash"])


def _check_objects(store: Storage, told: Told) -> None:
    documents = store.list("documents/")
    told.compare("document", [key.rpartition("/")[2] for key in documents])
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda key: op_of(store.get(key)), documents))
    assert [f"documents/{op}" for op in found] == documents
    for kind, suffix in (("own", ""), ("large", "/file")):
        for number in {op[:2] for op in told.done[kind]}:
            op = op_of(store.get(f"{kind}/{number}{suffix}"))
            last = max(done for done in told.done[kind] if done[:2] == number)
            assert op in told.begun[kind]
            assert op >= last, f"{kind}: {last} was done and {op} is there"


def _check_shelves(folder: Path, told: Told) -> None:
    for number in sorted({int(op[:2]) for op in told.begun["shelf"]}):
        shelf, kept = shelf_of(folder, number), set()
        for one in shelf.read().kept:
            shelf.verified(one)
            kept.add(one.bundle)
        mine = [note for op, note in told.done["shelf"].items() if int(op[:2]) == number]
        wanted = {note["bundle"] for note in mine if "bundle" in note}
        assert wanted <= kept, "a bundle is gone from the shelf"
        link = shelf.folder / "current"
        assert not wanted or link.resolve().name in {
            path.name for path in (shelf.folder / "bundles").iterdir()
        }
