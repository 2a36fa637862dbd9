"""What the API server refuses, as our errors: one line that says who, what and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cd4ml.errors import Cd4mlError, ConflictError, NotFoundError, ServiceError, UsageError

__all__ = ["failure", "passes"]

_SHOWN = 400
_UNTYPED = "field not declared in schema"
_TEMPORARY = frozenset({429, 500, 502, 503, 504})


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
    match status:
        case 404:
            return NotFoundError(f"the cluster has no {what}: {message}")
        case 409:
            return ConflictError(_conflict(told, message, verb, what))
        case 401:
            return ServiceError(
                f"the cluster does not know who asks to {verb} {what}: {message}; renew the credentials"
            )
        case 403:
            return UsageError(
                f"not allowed to {verb} {what}: {message}; a Role must grant it, see docs/kserve.md"
            )
        case _ if status in (400, 405, 413, 415, 422) or _UNTYPED in message:
            return UsageError(f"the cluster refuses to {verb} {what}: {message}")
        case 0:
            return ServiceError(f"the cluster did not answer when asked to {verb} {what}: {message}")
        case _:
            return ServiceError(f"the cluster failed to {verb} {what} (HTTP {status}): {message}")


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
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _conflict(told: Mapping[str, Any], message: str, verb: str, what: str) -> str:
    causes = (told.get("details") or {}).get("causes") or []
    owners = sorted(
        f"{str(cause.get('message', '')).removeprefix('conflict with ')} owns {cause.get('field', '?')}"
        for cause in causes
        if cause.get("reason") == "FieldManagerConflict"
    )
    if owners:
        return (
            f"cannot {verb} {what}: {_one_line('; '.join(owners))}; have that manager give it up, or"
            " take it over on purpose"
        )
    if told.get("reason") == "AlreadyExists":
        return f"cannot {verb} {what}: it is there already"
    return f"cannot {verb} {what}: somebody changed it meanwhile ({message}); look again"
