"""The folder of a local plane: what shall be, what is, and where each file of it lies."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cd4ml.adapters.processes import ProcessId, is_alive
from cd4ml.adapters.storage import FolderStorage
from cd4ml.adapters.storage.documents import decode, encode
from cd4ml.delivery.plane import DesiredService, ObservedService
from cd4ml.errors import ConflictError, IntegrityError, UsageError

__all__ = ["PlaneRecord", "PlaneState"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ATTEMPTS = 50


@dataclass(frozen=True)
class PlaneRecord:
    """What a supervisor says of itself and of the gateway.

    Attributes
    ----------
    phase : str
        "starting", "running", "stopping" or "stopped".
    url, admin : str
        Of the gateway; "" until it listens.
    processes : tuple of ProcessId
        All that it started, so that its successor can end what it left.
    error : str
        Why it ended; "" if it was told to.
    """

    supervisor: ProcessId
    phase: str = "starting"
    url: str = ""
    admin: str = ""
    gateway_restarts: int = 0
    gateway_last_exit: str = ""
    gateway_last_exit_at: str = ""
    processes: tuple[ProcessId, ...] = ()
    error: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether that supervisor is there."""
        return is_alive(self.supervisor)

    @property
    def running(self) -> bool:
        """Whether that supervisor looks after its services."""
        return self.phase != "stopped" and self.alive


class PlaneState:
    """Reads and writes the folder of a local plane.

    Parameters
    ----------
    root : Path
        Made at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self._storage = FolderStorage(self.root)

    @property
    def logs(self) -> Path:
        """Where logs are: gateway.log, access.jsonl, SERVICE.VARIANT.log, supervisor.log."""
        return self.root / "logs"

    @property
    def envoy(self) -> Path:
        """Where the gateway's configuration is."""
        return self.root / "envoy"

    @property
    def bundles(self) -> Path:
        """Where bundles are, each in a folder that its id names."""
        return self.root / "bundles"

    def events(self, service: str, variant: str) -> Path:
        """Return where the prediction events of a variant are."""
        return self.root / "events" / check_service(service) / variant

    def served_file(self, service: str, variant: str) -> Path:
        """Return the file that a model server follows."""
        return self.root / "services" / check_service(service) / f"{variant}.json"

    def services(self) -> list[str]:
        """Return the services that shall be, sorted."""
        found = (self.root / "services").glob("*/desired.json")
        return sorted(path.parent.name for path in found)

    def desired(self, service: str) -> tuple[DesiredService, int] | None:
        """Return what a service shall be and the generation of that, or None."""
        found = self._storage.read_versioned(_desired_key(service))
        return _parse(found[0], service) if found else None

    def change(
        self, service: str, new: Callable[[DesiredService | None], DesiredService]
    ) -> tuple[DesiredService, int]:
        """Make what `new` returns the desired state; it is asked again when another writer was first.

        Returns
        -------
        desired, generation
            The same generation as before if nothing changed.
        """
        for _ in range(_ATTEMPTS):
            found = self._storage.read_versioned(_desired_key(service))
            old, generation = _parse(found[0], service) if found else (None, 0)
            desired = new(old)
            if desired == old:
                return desired, generation
            # Another holder of the lease who wants the same changes nothing for anybody.
            same = old is not None and replace(old, fence=desired.fence) == desired
            generation += not same
            document = encode({"generation": generation, "desired": desired.to_dict()})
            try:
                self._storage.compare_and_swap(_desired_key(service), document, found[1] if found else None)
            except ConflictError:
                continue
            return desired, generation
        raise ConflictError(f"others change '{service}' all the time; stop them and try again")

    def remove(self, service: str) -> None:
        """Say that a service shall be no more."""
        self._storage.delete(_desired_key(service))

    def observed(self, service: str) -> ObservedService | None:
        """Return what a supervisor saw of a service last."""
        found = self._storage.read_versioned(_observed_key(service))
        return ObservedService.from_dict(decode(found[0], _observed_key(service))) if found else None

    def observe(self, observed: ObservedService) -> None:
        """Write what a service is."""
        self._storage.put(_observed_key(observed.service), encode(observed.to_dict()))

    def forget(self, service: str) -> None:
        """Take away what a service was."""
        self._storage.delete(_observed_key(service))

    def observed_services(self) -> list[str]:
        """Return the services that were seen, sorted."""
        return sorted(path.parent.name for path in (self.root / "services").glob("*/observed.json"))

    def record(self) -> PlaneRecord | None:
        """Return what the last supervisor said of itself, or None if there was none."""
        found = self._storage.read_versioned("plane.json")
        if found is None:
            return None
        values = decode(found[0], "plane.json")
        try:
            values["supervisor"] = ProcessId(**values["supervisor"])
            values["processes"] = tuple(ProcessId(**one) for one in values["processes"])
            return PlaneRecord(**values)
        except (TypeError, KeyError) as error:
            raise IntegrityError(f"'{self.root / 'plane.json'}' is no record of a plane: {error}") from error

    def write_record(self, record: PlaneRecord) -> None:
        """Write what a supervisor says of itself."""
        self._storage.put("plane.json", encode(json.loads(json.dumps(asdict(record)))))


def check_service(service: str) -> str:
    """Return a service's name, or raise UsageError if it is none."""
    if not _NAME.fullmatch(service):
        raise UsageError(
            "a service's name must be 1 to 63 letters, digits, '.', '_' or '-', a letter or digit first;"
            f" got '{service[:80]}'"
        )
    return service


def _parse(data: bytes, service: str) -> tuple[DesiredService, int]:
    document = decode(data, _desired_key(service))
    try:
        return DesiredService.from_dict(document["desired"]), int(document["generation"])
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"'{_desired_key(service)}' is no desired state: {error}") from error


def _desired_key(service: str) -> str:
    return f"services/{check_service(service)}/desired.json"


def _observed_key(service: str) -> str:
    return f"services/{check_service(service)}/observed.json"
