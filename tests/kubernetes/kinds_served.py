"""Make a real API server serve the kinds that the tests use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kubernetes.client import ApiException

from tests.kubernetes.standin.kinds import definitions_of

__all__ = ["install"]

_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PATIENCE_SECONDS = 60


def install(call: Callable[..., dict[str, Any]], crds: Any) -> None:
    """Create the definitions that are missing and wait until they are served; others stay as they are."""
    names = []
    for definition in definitions_of(crds):
        names.append(definition["metadata"]["name"])
        try:
            call("POST", _PATH, definition)
        except ApiException as error:
            if error.status != 409:
                raise
    end = time.monotonic() + _PATIENCE_SECONDS
    for name in names:
        while not _is_established(call("GET", f"{_PATH}/{name}")):
            if time.monotonic() > end:
                raise TimeoutError(f"the definition {name} was not established in {_PATIENCE_SECONDS} s")
            time.sleep(0.1)


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Established" and item["status"] == "True" for item in conditions)
