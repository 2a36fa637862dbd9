"""What the API server refuses, as our errors: one line that says who, what and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cd4ml.errors import Cd4mlError, ConflictError, NotFoundError, ServiceError, UsageError

__all__ = ["ChangedMeanwhile", "FieldConflict", "failure", "passes"]

_SHOWN = 400
_UNTYPED = "field not declared in schema"
_REFUSED = frozenset({400, 405, 413, 415, 422})
_TEMPORARY = frozenset({429, 500, 502, 503, 504})


class ChangedMeanwhile(ConflictError):
    """The object is no longer the one that was read, or came into being: read again."""


class FieldConflict(ConflictError):
    """Other managers own fields that were to be written.

    Attributes
    ----------
    owners : tuple of str
        The managers.
    """

    def __init__(self, message: str, owners: tuple[str, ...]) -> None:
        super().__init__(message)
        self.owners = owners


def failure(status: int, body: str, verb: str, what: str) -> Cd4mlError:
    """Return the error for an answer of the API server.

    Parameters
    ----------
    status : int
        The HTTP status; 0 where no answer came.
    body : str
        A Status object, or whatever a proxy sent.
    verb, what : str
        What was asked, e.g. "patch" and "inferenceservices.serving.kserve.io 'm' in namespace 'shop'".
    """
    told = _told(body)
    message = _one_line(told.get("message") or body)
    if status in _REFUSED or _UNTYPED in message:
        return UsageError(f"the cluster refuses to {verb} {what}: {message}")
    found: Cd4mlError
    match status:
        case 404:
            found = NotFoundError(f"the cluster has no {what}: {message}")
        case 409:
            found = _conflict(told, message, verb, what)
        case 401:
            found = ServiceError(
                f"the cluster does not know who asks to {verb} {what}: {message}; renew the credentials"
            )
        case 403:
            found = UsageError(
                f"not allowed to {verb} {what}: {message}; a Role must grant it, see docs/kserve.md"
            )
        case 0:
            found = ServiceError(f"the cluster did not answer when asked to {verb} {what}: {message}")
        case _:
            found = ServiceError(f"the cluster failed to {verb} {what} (HTTP {status}): {message}")
    return found


def passes(status: int, body: str) -> bool:
    """Tell whether the same call may succeed a moment later.

    A server-side apply of an unknown field is answered with 500 and fails for ever.
    """
    return status == 0 or (status in _TEMPORARY and _UNTYPED not in body)


def _told(body: str) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _one_line(text: str) -> str:
    """Return a message in one line; the server writes whole objects before it says what is wrong."""
    line = " ".join(text.split())
    if len(line) <= _SHOWN:
        return line
    return f"{line[: _SHOWN // 2]}… …{line[-_SHOWN // 2 :]}"


def _conflict(told: Mapping[str, Any], message: str, verb: str, what: str) -> ConflictError:
    causes = [
        cause
        for cause in (told.get("details") or {}).get("causes") or []
        if cause.get("reason") == "FieldManagerConflict"
    ]
    if causes:
        owned = sorted({(_manager(cause), str(cause.get("field", "?"))) for cause in causes})
        listed = _one_line("; ".join(f"'{manager}' owns {field}" for manager, field in owned))
        return FieldConflict(
            f"cannot {verb} {what}: {listed}; have that manager give it up, or take it over on purpose",
            tuple(sorted({manager for manager, _ in owned})),
        )
    if told.get("reason") == "AlreadyExists":
        return ChangedMeanwhile(f"cannot {verb} {what}: it is there already; look again")
    return ChangedMeanwhile(f"cannot {verb} {what}: somebody changed it meanwhile ({message}); look again")


def _manager(cause: Mapping[str, Any]) -> str:
    found = re.search(r'conflict with "([^"]*)"', str(cause.get("message", "")))
    return found.group(1) if found else "?"
