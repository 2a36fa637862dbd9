"""What each role must grant: see `cd4ml.delivery.kserve.permissions`."""

from __future__ import annotations

from cd4ml.delivery.kserve.permissions import ROLES

__all__ = ["USED", "Grant"]

Grant = tuple[str, str, str, str]
"""Group, resource, name ("" for any), verb."""

USED: dict[str, dict[Grant, str]] = {
    role: {(one.kind.group, one.kind.plural, one.name, one.verb): one.why for one in permissions}
    for role, permissions in ROLES.items()
}
