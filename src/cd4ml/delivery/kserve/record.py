"""What a plane has to remember about a service: a ConfigMap beside it, written before anything changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cd4ml.delivery.kserve.objects import MANAGED
from cd4ml.delivery.plane import DesiredService
from cd4ml.errors import ConflictError, IntegrityError

__all__ = ["Record", "record_document", "record_name", "record_of"]

_KEY = "record.json"


@dataclass(frozen=True)
class Record:
    """What is remembered.

    Attributes
    ----------
    desired : DesiredService
        What was asked for last; `desired.fence` is the highest that was seen.
    base : mapping
        Our fields of the spec while one model alone served: what going back restores.
    created : bool
        cd4ml made the InferenceService.
    generation : int
        Counts the changes of `desired`.
    taken_from : tuple of str
        Managers that owned its fields when cd4ml took them over.
    """

    desired: DesiredService
    base: Mapping[str, Any]
    created: bool = False
    generation: int = 1
    taken_from: tuple[str, ...] = ()

    def asked(self, desired: DesiredService) -> Record:
        """Return the record after a request.

        Raises
        ------
        ConflictError
            If a later holder of the lease asked already.
        """
        if desired.fence < self.desired.fence:
            raise ConflictError(
                f"somebody with the fence {self.desired.fence} took '{desired.service}' over;"
                f" what has {desired.fence} may not change it any more"
            )
        same = replace(self.desired, fence=desired.fence) == desired
        return replace(self, desired=desired, generation=self.generation + (0 if same else 1))


def record_name(service: str) -> str:
    """Return the name of a service's record."""
    return f"{service}-cd4ml"


def record_document(record: Record, namespace: str, resource_version: str = "") -> dict[str, Any]:
    """Return the ConfigMap of a record."""
    metadata: dict[str, Any] = {
        "name": record_name(record.desired.service),
        "namespace": namespace,
        "labels": dict(MANAGED),
    }
    if resource_version:
        metadata["resourceVersion"] = resource_version
    value = {
        "desired": record.desired.to_dict(),
        "base": record.base,
        "created": record.created,
        "generation": record.generation,
        "taken_from": list(record.taken_from),
    }
    text = json.dumps(value, indent=1, sort_keys=True) + "\n"
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {_KEY: text}}


def record_of(document: Mapping[str, Any]) -> Record:
    """Return the record in a ConfigMap.

    Raises
    ------
    ConflictError
        If cd4ml did not write it.
    IntegrityError
        If somebody changed it so that it cannot be read.
    """
    metadata = document["metadata"]
    if not MANAGED.items() <= (metadata.get("labels") or {}).items():
        raise ConflictError(
            f"the ConfigMap '{metadata['name']}' is not cd4ml's (no label {MANAGED}); rename or delete it"
        )
    try:
        value = json.loads(document["data"][_KEY])
        return Record(
            desired=DesiredService.from_dict(value["desired"]),
            base=dict(value["base"]),
            created=bool(value["created"]),
            generation=int(value["generation"]),
            taken_from=tuple(value["taken_from"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"the ConfigMap '{metadata['name']}' cannot be read ({error!r}); restore it or delete it"
        ) from error
