"""One step of a plane towards what shall be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Step", "holds_all"]


@dataclass(frozen=True)
class Step:
    """What comes next for an InferenceService.

    Attributes
    ----------
    spec : mapping or None
        All of our fields, to be applied; None: nothing to write now.
    drops_a_service : bool
        `spec` makes a Kubernetes Service go: our route must have left it, and the gateway taken that.
    waiting : str
        For what; "" if it is as it shall be, or `spec` brings it on.
    """

    spec: Mapping[str, Any] | None = None
    drops_a_service: bool = False
    waiting: str = ""
    why: str = field(default="", compare=False)

    @property
    def done(self) -> bool:
        """Nothing is left to do or to wait for."""
        return self.spec is None and not self.waiting


def holds_all(found: Any, wanted: Any) -> bool:
    """Tell whether all of `wanted` is in `found`; lists must be equal, more keys are allowed."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            key in found and holds_all(found[key], value) for key, value in wanted.items()
        )
    return bool(found == wanted)
