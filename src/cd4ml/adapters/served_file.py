"""What a server shall serve, as a file: its owner writes it whole, the server's processes follow and report.

The file is JSON with `bundle`, `generation`, `history` and `version`. Beside it, in `<file>.workers/`, each
process of the server writes `<pid>.json`: what it serves now, and why it refused what was asked of it last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from cd4ml.adapters.storage.atomic import write_json
from cd4ml.errors import IntegrityError, NotFoundError

__all__ = ["Desired", "Report", "ServedFile"]


@dataclass(frozen=True)
class Desired:
    """What shall be served.

    Attributes
    ----------
    bundle : str
        Absolute folder.
    version : str
        What answers call it; "" for the first characters of the bundle's id.
    history : str
        Absolute folder of a history table; "" for the bundle's own.
    generation : int
        From 0; its writer counts it up with each change.
    """

    bundle: str
    version: str
    history: str = ""
    generation: int = 0


@dataclass(frozen=True)
class Report:
    """What one process of a server serves.

    Attributes
    ----------
    generation : int
        The one that was looked at last: `error` says whether it was taken.
    version, bundle_id : str
        What answers now.
    error : str
        Why the generation was refused, in one line; "" where it is served.
    """

    pid: int
    generation: int
    version: str
    bundle_id: str
    error: str = ""


_Record = TypeVar("_Record", Desired, Report)


class ServedFile:
    """The file and the reports beside it.

    Parameters
    ----------
    path : Path
        Its folder is made when it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reports = path.with_name(f"{path.name}.workers")

    def write(self, desired: Desired) -> None:
        """Ask for something else; a reader sees all of it or nothing.

        Raises
        ------
        IntegrityError
            If a folder is not absolute, or the generation is negative.
        """
        _check(desired, self.path)
        write_json(self.path, asdict(desired))

    def read(self) -> Desired:
        """Return what shall be served.

        Raises
        ------
        NotFoundError
            If there is no such file.
        IntegrityError
            If it is not what `write` writes.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            raise NotFoundError(
                f"expected a file that says what to serve at '{self.path}'; found none. Write it first"
            ) from None
        except OSError as error:
            raise IntegrityError(f"'{self.path}' cannot be read: {error.strerror}") from error
        desired = _parse(Desired, data, self.path)
        _check(desired, self.path)
        return desired

    def report(self, report: Report) -> None:
        """Say what this process serves."""
        write_json(self._place(report.pid), asdict(report))

    def reports(self) -> list[Report]:
        """Return what live processes serve, by process id.

        What an ended process left behind is passed over, as is a file that is no report.
        """
        found = []
        for path in self._reports.glob("*.json"):
            with suppress(OSError, IntegrityError):
                report = _parse(Report, path.read_bytes(), path)
                if path.stem == str(report.pid) and _lives(report.pid):
                    found.append(report)
        return sorted(found, key=lambda report: report.pid)

    def forget(self, pid: int) -> None:
        """Take the report of a process away; nothing happens where there is none."""
        self._place(pid).unlink(missing_ok=True)

    def _place(self, pid: int) -> Path:
        return self._reports / f"{pid}.json"


def _lives(pid: int) -> bool:
    if pid < 1:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives and is another user's
        return True
    return not _zombie(pid)


def _zombie(pid: int) -> bool:
    """Return whether a process has ended and only its parent has not noticed; False where nobody can tell."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        return text.rpartition(")")[2].split()[:1] == ["Z"]
    return False


def _parse(kind: type[_Record], data: bytes, path: Path) -> _Record:
    types: Mapping[str, Any] = {field.name: int if field.type == "int" else str for field in fields(kind)}
    wrong = f"expected {', '.join(types)} as JSON in '{path}'"
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise IntegrityError(f"{wrong}; found something else. Write it anew") from None
    if not isinstance(document, dict) or document.keys() != types.keys():
        keys = sorted(document)[:9] if isinstance(document, dict) else type(document).__name__
        raise IntegrityError(f"{wrong}; found {keys}. Write it anew")
    for name, value in document.items():
        if type(value) is not types[name]:
            raise IntegrityError(
                f"{wrong}; found that '{name}' is {type(value).__name__}, not {types[name].__name__}"
            )
    return kind(**document)


def _check(desired: Desired, path: Path) -> None:
    for name, folder in (("bundle", desired.bundle), ("history", desired.history)):
        if not Path(folder).is_absolute() and (folder or name == "bundle"):
            raise IntegrityError(f"expected '{name}' in '{path}' to be an absolute folder; found '{folder}'")
    if desired.generation < 0:
        raise IntegrityError(f"expected 'generation' in '{path}' to be 0 or more; found {desired.generation}")
