"""Refusals as the API server words them: a Status object with its code, reason, details and causes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = Any

__all__ = [
    "Cause",
    "Json",
    "Refused",
    "already_exists",
    "apply_conflict",
    "bad_request",
    "conflict",
    "expired",
    "forbidden",
    "internal",
    "invalid",
    "not_found",
    "status",
    "unprocessable",
    "unsupported_media",
]

_REASONS = {
    400: "BadRequest",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    409: "Conflict",
    410: "Expired",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


class Refused(Exception):
    """A call that is answered with a Status of failure."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__(body["message"])
        self.body = body
        self.code = int(body["code"])


@dataclass(frozen=True)
class Cause:
    """One field that is wrong: `message` is what stands behind the field's path."""

    reason: str
    field: str
    message: str

    def to_dict(self) -> dict[str, str]:
        return {"reason": self.reason, "message": self.message, "field": self.field}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def status(code: int, message: str, *, reason: str | None = None, details: Json = None) -> dict[str, Any]:
    """A Status of failure; `reason=""` leaves the reason out, as a plain Go error does."""
    word = _REASONS.get(code, "") if reason is None else reason
    body: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body["message"] = message
    if word:
        body["reason"] = word
    if details is not None:
        body["details"] = details
    return body | {"code": code}


def _about(group: str, kind: str, name: str) -> dict[str, str]:
    found = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in found.items() if value}


def _qualified(group: str, word: str) -> str:
    return f"{word}.{group}" if group else word


def not_found(group: str, plural: str, name: str) -> Refused:
    message = f'{_qualified(group, plural)} "{name}" not found'
    return Refused(status(404, message, details=_about(group, plural, name)))


def already_exists(group: str, plural: str, name: str) -> Refused:
    message = f'{_qualified(group, plural)} "{name}" already exists'
    return Refused(status(409, message, reason="AlreadyExists", details=_about(group, plural, name)))


def conflict(group: str, word: str, name: str, why: str) -> Refused:
    """409: `word` is the plural for a write, the kind for a precondition of a deletion."""
    message = f'Operation cannot be fulfilled on {_qualified(group, word)} "{name}": {why}'
    return Refused(status(409, message, details=_about(group, word, name)))


def bad_request(message: str) -> Refused:
    return Refused(status(400, message))


def forbidden(group: str, plural: str, name: str, why: str) -> Refused:
    about = f'{_qualified(group, plural)} "{name}"' if name else _qualified(group, plural)
    message = f"{about} is forbidden: {why}"
    return Refused(status(403, message, details=_about(group, plural, name)))


def invalid(group: str, kind: str, name: str, causes: list[Cause]) -> Refused:
    told = [str(cause) for cause in causes]
    text = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details = _about(group, kind, name) | {"causes": [cause.to_dict() for cause in causes]}
    message = f'{_qualified(group, kind)} "{name}" is invalid: {text}'
    return Refused(status(422, message, details=details))


def unprocessable() -> Refused:
    """A JSON patch that cannot be done: the server says no more than this."""
    return Refused(status(422, "the server rejected our request due to an error in our request", details={}))


def unsupported_media(accepted: list[str]) -> Refused:
    message = (
        "the body of the request was in an unknown format - accepted media types include: "
        f"{', '.join(accepted)}"
    )
    return Refused(status(415, message))


def apply_conflict(causes: list[tuple[str, str]]) -> Refused:
    """409 of a server-side apply; `causes` are (manager as printed, path), sorted."""
    details = {
        "causes": [
            {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
            for manager, path in causes
        ]
    }
    if len(causes) == 1:
        manager, path = causes[0]
        text = f"Apply failed with 1 conflict: conflict with {manager}: {path}"
    else:
        blocks: dict[str, list[str]] = {}
        for manager, path in causes:
            blocks.setdefault(manager, []).append(f"- {path}")
        lines = [line for name in sorted(blocks) for line in (f"conflicts with {name}:", *blocks[name])]
        text = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return Refused(status(409, text, details=details))


def expired(asked: int, oldest: int) -> Refused:
    return Refused(status(410, f"too old resource version: {asked} ({oldest})"))


def internal(message: str) -> Refused:
    """500 with no reason, as an error that the server did not foresee."""
    return Refused(status(500, message, reason=""))
