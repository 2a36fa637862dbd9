"""What a task in a container may do: write its own outputs and the store, read what it was given, no more.

A task that needs more fails here as it would in a hardened cluster. These variables of the environment ask
for more, or for less:

CD4ML_TASK_NETWORK
    Network of the containers: none, host, bridge or a name. By default none, unless an argument of the
    pipeline is a URL, whose network is the engine's default one.
CD4ML_TASK_MEMORY
    Memory of a container, such as 2g; 0 is no limit. By default four fifths of this machine's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cd4ml.errors import UsageError

__all__ = ["TASK_USER", "hand_over", "limits", "mounted", "task_folder", "user"]

TASK_USER = 10001
"""Of a task, when root asks for the run; also of the images and the manifests."""

_WRITTEN = ("store",)
"""Arguments of pipelines that name what their tasks write to. What others name is only read."""

_URL = re.compile(r"(?!file:)[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SIZE = re.compile(r"\d+[bkmg]?", re.IGNORECASE)


def mounted(arguments: Mapping[str, object]) -> dict[str, bool]:
    """Return the absolute paths of files and folders among the arguments, and whether each is written to."""
    found: dict[str, bool] = {}
    for name, value in sorted(arguments.items()):
        if isinstance(value, str) and value.startswith("/") and len(value) < 4096 and Path(value).exists():
            found[value] = found.get(value, False) or name in _WRITTEN
    return dict(sorted(found.items()))


def limits(arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return what docker's `containers.run` takes to hold a task back.

    Raises
    ------
    UsageError
        When CD4ML_TASK_MEMORY is no size.
    """
    found: dict[str, Any] = {
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777"},  # noqa: S108 - of the container
    }
    if memory := _memory():
        found["mem_limit"] = memory
    if network := _network(arguments):
        found["network_mode"] = network
    return found


def _network(arguments: Mapping[str, object]) -> str:
    """Return the name of a network; "" is the engine's default one."""
    if asked := os.environ.get("CD4ML_TASK_NETWORK"):
        return asked
    return "" if any(isinstance(value, str) and _URL.match(value) for value in arguments.values()) else "none"


def _memory() -> str:
    """Return a limit as docker writes it; "" is none."""
    asked = os.environ.get("CD4ML_TASK_MEMORY", "")
    if not asked:
        # A task that wants more is killed, and nothing else on this machine.
        return str(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 4 // 5)
    if not _SIZE.fullmatch(asked):
        raise UsageError(f"CD4ML_TASK_MEMORY must be a size such as 2g, or 0 for no limit; got '{asked}'")
    return "" if set(asked) <= set("0bkmgBKMG") else asked


def user() -> tuple[int, int]:
    """Return the user and the group of tasks: those of the caller, and never root."""
    return (os.getuid() or TASK_USER, os.getgid() or TASK_USER)


def hand_over(paths: Iterable[Path]) -> None:
    """Give to the tasks' user what belongs to root in these folders, when root asks for the run."""
    if os.getuid() != 0:
        return
    for path in paths:
        for one in _tree(path):
            with suppress(FileNotFoundError):  # removed by another process
                if one.lstat().st_uid == 0:
                    os.lchown(one, *user())


def _tree(path: Path) -> Iterator[Path]:
    yield path
    for folder, folders, files in os.walk(path):
        yield from (Path(folder, name) for name in (*folders, *files))


def task_folder(command: Sequence[str]) -> Path | None:
    """Return the folder of a task's outputs, made when it is missing; None for a command of others."""
    if "--executor_input" not in command:
        return None
    given = json.loads(command[list(command).index("--executor_input") + 1])
    folder = Path(given["outputs"]["outputFile"]).parent
    folder.mkdir(parents=True, exist_ok=True)
    return folder
