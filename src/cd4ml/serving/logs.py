"""Structured logs: one JSON object a line, with the id of the request that it is about.

KServe's own lines and uvicorn's go the same way: give `log_config` to `kserve.logging.configure_logging`,
or, as its spawned workers configure theirs from a file, `--log_config_file` the file of `write_log_config`.
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cd4ml.adapters.storage.atomic import write_json

__all__ = [
    "ID_HEADER",
    "JsonFormatter",
    "RequestIds",
    "current_request_id",
    "log_config",
    "request_id",
    "request_scope",
    "write_log_config",
]

ID_HEADER = "ce-id"
"""KServe's logger takes the id of its events from it, so both logs join on it."""
_OTHER_HEADERS = ("x-request-id",)
_ID = re.compile(r"[!-~]{1,200}")
"""Printable ASCII: an id goes into logs and headers, where a line break would forge a line."""

_current: ContextVar[str] = ContextVar("cd4ml_request_id", default="")


def request_id(headers: Mapping[str, str] | None) -> str:
    """Return the id of a request: its `Ce-Id`, else its `X-Request-Id`, else a new one.

    Names may be in any case. An id that is longer than 200 characters, or not of printable ASCII without
    spaces, is replaced by a new one.
    """
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    for name in (ID_HEADER, *_OTHER_HEADERS):
        found = lower.get(name)
        if found is not None and _ID.fullmatch(found):
            return found
    return str(uuid.uuid4())


def current_request_id() -> str:
    """Return the id of the request that is being answered here; "" outside of one."""
    return _current.get()


@contextmanager
def request_scope(identity: str) -> Iterator[None]:
    """Have log lines of the block carry this request id."""
    token = _current.set(identity)
    try:
        yield
    finally:
        _current.reset(token)


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON, whatever is in it.

    `time` (UTC), `level`, `logger`, `message`, `process`, `request_id` inside of a request, `error` (type,
    message, trace) with an exception, and all that was given as `extra`.

    Parameters
    ----------
    fields : str
        What each line has besides, e.g. model, version, variant.
    """

    def __init__(self, **fields: str) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {**self._fields, **_extra(record)}
        when = datetime.fromtimestamp(record.created, UTC)
        line["time"] = when.isoformat(timespec="microseconds").replace("+00:00", "Z")
        line |= {"level": record.levelname.lower(), "logger": record.name, "process": record.process}
        line["message"] = _message(record)
        if identity := _current.get():
            line["request_id"] = identity
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            trace = self.formatException(record.exc_info)
            line["error"] = {"type": type(error).__name__, "message": str(error), "trace": trace}
        try:
            return json.dumps(line, default=str, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            return json.dumps({name: str(value) for name, value in line.items()})


_OWN_NAMES = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "color_message", "taskName"})


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: value for name, value in vars(record).items() if name not in _OWN_NAMES}
    if record.name == "uvicorn.access" and isinstance(record.args, tuple) and len(record.args) == 5:
        found |= dict(zip(("client", "method", "path", "http", "status"), record.args, strict=True))
    return found


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError):
        return f"{record.msg} {record.args!r}"


def log_config(level: str = "INFO", **fields: str) -> dict[str, Any]:
    """Return the configuration that sends all lines to standard error as JSON, for `logging.config`.

    Parameters
    ----------
    level : str
        The least that is written of ours and KServe's, e.g. "INFO".
    fields : str
        What each line has besides, see `JsonFormatter`.
    """
    names = ("cd4ml", "kserve", "uvicorn", "uvicorn.access")
    own = {"level": level, "handlers": ["json"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": f"{__name__}.JsonFormatter", **fields}},
        "handlers": {
            "json": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}
        },
        # KServe writes how long each request took on a logger of its own; /metrics tells that.
        "loggers": dict.fromkeys(names, own) | {"kserve.trace": own | {"level": "WARNING"}},
        "root": {"level": "WARNING", "handlers": ["json"]},
    }


def write_log_config(path: Path, level: str = "INFO", **fields: str) -> None:
    """Write `log_config` as the JSON file that KServe's `--log_config_file` takes."""
    write_json(path, log_config(level, **fields))


_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class RequestIds:
    """ASGI middleware: each request has an id, its log lines carry it, and its answer tells it as `Ce-Id`.

    What is inside finds the id in the request's headers, where one that was made stands too.
    """

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        raw: list[tuple[bytes, bytes]] = list(scope["headers"])
        identity = request_id({name.decode("latin-1"): value.decode("latin-1") for name, value in raw})
        header = (ID_HEADER.encode(), identity.encode())
        scope["headers"] = [pair for pair in raw if pair[0].lower() != header[0]] + [header]

        async def send_with_id(message: _Message) -> None:
            if message["type"] == "http.response.start":
                others = [pair for pair in message.get("headers", ()) if pair[0].lower() != header[0]]
                message["headers"] = [*others, header]
            await send(message)

        with request_scope(identity):
            await self._app(scope, receive, send_with_id)
