"""What need not run again: outputs of tasks by the content of all that went in.

kfp.local keys its own cache by the paths of input artifacts, which differ in every run, so that a task after
an uncached one never hits; and it serves an output folder from which files were lost. Here the key is
content, and an entry counts only while every file of its outputs has the size and the time of change that it
was stored with. An entry lies in the folder of the run that made it and goes with it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.events import append
from cd4ml.adapters.kubeflow.folders import DONE, EVENTS, run_folders
from cd4ml.adapters.storage import atomic

__all__ = ["WRAPPER", "ContentCache"]

WRAPPER = f"-m {__package__}.task "
"""What marks the part of a task's command in which `local` has put `task` before kfp's executor."""

_FORMAT = 1
"""Of an entry; entries of another format are never found, since it is part of the key."""

Tree = list[list[Any]]
"""Relative path, size in bytes and time of change in nanoseconds of each file; empty when there is none."""


def _tree(path: Path) -> Tree:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    else:
        files = [path] if path.exists() else []
    return [[str(file.relative_to(path)), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _digest(path: Path, tree: Tree) -> str:
    """Return the hash of an artifact's files, names included."""
    total = hashlib.sha256()
    for relative, _, _ in tree:
        with (path / relative if path.is_dir() else path).open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        total.update(f"{relative}\0{content}\n".encode())
    return total.hexdigest()


class ContentCache:
    """Stands in for `kfp.local.cache.LocalCache`: `compute_key`, `get` and `put`.

    Parameters
    ----------
    run : Path
        Folder of the run; entries of the other runs beside it are found too.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._names: dict[str, str] = {}
        self._digests: dict[str, tuple[Tree, str]] = {}

    def compute_key(
        self,
        component_name: str,
        image: str,
        full_command: Sequence[str],
        arguments: Mapping[str, Any],
        env_vars: Mapping[str, str] | None = None,
        custom_cache_key: str | None = None,
    ) -> str:
        """Return the key of a call: component, its source, parameters and the content of artifacts."""
        parts = [
            _FORMAT,
            component_name,
            image,
            [part for part in full_command if WRAPPER not in part],  # it has the run's own paths
            self._plain(dict(arguments)),
            dict(env_vars or {}),
            custom_cache_key,
        ]
        key = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
        self._names[key] = component_name.removeprefix("comp-")
        return key

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the outputs stored under `key`, or None when there are none or they are no longer whole."""
        for run in run_folders(self._run.parent):
            try:
                entry = json.loads((run / DONE / f"{key}.json").read_text())
                if not self._whole(entry):
                    continue
                os.utime(run)  # what is read from is not old
            except (FileNotFoundError, json.JSONDecodeError):
                continue
            self._tell(key, entry)
            single = entry["single"]
            loaded = {name: [_artifact(one) for one in value] for name, value in entry["artifacts"].items()}
            return {
                **entry["parameters"],
                **{name: value[0] if name in single else value for name, value in loaded.items()},
            }
        return None

    def put(self, key: str, outputs: Mapping[str, Any]) -> None:
        """Store the outputs of a task that succeeded."""
        entry: dict[str, Any] = {"parameters": {}, "artifacts": {}, "single": []}
        for name, value in outputs.items():
            values = value if isinstance(value, list) else [value]
            if values and all(hasattr(one, "uri") for one in values):
                entry["artifacts"][name] = [self._stored(one) for one in values]
                entry["single"] += [] if isinstance(value, list) else [name]
            else:
                entry["parameters"][name] = value
        atomic.write_json(self._run / DONE / f"{key}.json", entry)

    def _whole(self, entry: Mapping[str, Any]) -> bool:
        """Return whether each file of the outputs is as it was stored; their hashes are then known."""
        artifacts = [artifact for value in entry["artifacts"].values() for artifact in value]
        if any(_tree(Path(artifact["uri"])) != artifact["tree"] for artifact in artifacts):
            return False
        self._digests |= {one["uri"]: (one["tree"], one["digest"]) for one in artifacts}
        return True

    def _tell(self, key: str, entry: dict[str, Any]) -> None:
        firsts = {name: entry["artifacts"][name][0] for name in entry["single"]}
        append(
            self._run / EVENTS,
            {
                "event": "cached",
                "task": self._names[key],
                "parameters": entry["parameters"],
                "artifacts": {name: artifact["uri"] for name, artifact in firsts.items()},
                "metadata": {name: artifact["metadata"] for name, artifact in firsts.items()},
            },
        )

    def _content(self, uri: str) -> tuple[Tree, str]:
        """Return the files of an artifact and their hash, which is computed once a state."""
        tree = _tree(Path(uri))
        known = self._digests.get(uri)
        if known is None or known[0] != tree:
            known = self._digests[uri] = (tree, _digest(Path(uri), tree))
        return known

    def _stored(self, artifact: Any) -> dict[str, Any]:
        tree, digest = self._content(artifact.uri)
        return {
            "schema": type(artifact).schema_title,
            "name": artifact.name,
            "uri": artifact.uri,
            "metadata": artifact.metadata,
            "tree": tree,
            "digest": digest,
        }

    def _plain(self, value: Any) -> Any:
        """Return arguments as JSON values in which artifacts are their content."""
        if hasattr(value, "uri"):
            # A Metrics artifact is all metadata: its file is empty.
            content = self._content(value.uri)[1]
            return {"schema": type(value).schema_title, "content": content, "metadata": value.metadata}
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        if isinstance(value, dict):
            return {name: self._plain(one) for name, one in value.items()}
        return value


def _artifact(stored: Mapping[str, Any]) -> Any:
    from kfp.dsl.executor import create_artifact_instance

    return create_artifact_instance(
        {
            "name": stored["name"],
            "uri": stored["uri"],
            "metadata": stored["metadata"],
            "type": {"schemaTitle": stored["schema"]},
        }
    )
