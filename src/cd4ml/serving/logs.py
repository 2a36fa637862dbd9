"""Structured logs: one JSON object a line, with the id of the request that it is about.

KServe's own lines and uvicorn's go the same way: give `log_config` to `kserve.logging.configure_logging`,
or, as its spawned workers configure theirs from a file, `--log_config_file` the file of `write_log_config`.
"""

from __future__ import annotations

import json
import logging
import logging.config
import re
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cd4ml.adapters.storage.atomic import write_json

__all__ = [
    "ID_HEADER",
    "MADE_ID",
    "JsonFormatter",
    "RequestIds",
    "current_request_id",
    "given_id",
    "log_as_json",
    "log_config",
    "new_id",
    "request_id",
    "request_scope",
    "usable_id",
    "write_log_config",
]

ID_HEADER = "ce-id"
"""KServe's logger takes the id of its events from it, so both logs join on it."""
_OTHER_HEADER = "x-request-id"
_ID_BYTES, _OTHER_BYTES = ID_HEADER.encode(), _OTHER_HEADER.encode()
MADE_ID = "cd4ml.made_id"
"""Key of the scope of a request that came without an id."""
_ID = re.compile(r"[!-~]{1,200}")
"""Printable ASCII: an id goes into logs and headers, where a line break would forge a line."""

_current: ContextVar[str] = ContextVar("cd4ml_request_id", default="")


def usable_id(text: str) -> str:
    """Return an id that can go into logs and headers as it is, and "" for another."""
    return text if _ID.fullmatch(text) else ""


def given_id(headers: Mapping[str, str]) -> str:
    """Return the id that a request came with, its `Ce-Id` or else its `X-Request-Id`; "" for none.

    Parameters
    ----------
    headers : mapping
        By names in lower case.
    """
    return usable_id(headers.get(ID_HEADER) or "") or usable_id(headers.get(_OTHER_HEADER) or "")


def new_id() -> str:
    """Return an id that nobody has."""
    return str(uuid.uuid4())


def request_id(headers: Mapping[str, str] | None) -> str:
    """Return the id of a request: its `Ce-Id`, else its `X-Request-Id`, else a new one.

    Names may be in any case. An id that is longer than 200 characters, or not of printable ASCII without
    spaces, is replaced by a new one.
    """
    return given_id({name.lower(): value for name, value in (headers or {}).items()}) or new_id()


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
            line.setdefault("request_id", identity)
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


def log_as_json(level: str = "INFO") -> None:
    """Have this process write all its lines as JSON on standard error, Python's warnings among them."""
    logging.config.dictConfig(log_config(level))
    logging.captureWarnings(True)
    # What KServe and FastAPI think of each other's ways is nothing that whoever serves a model can mend.
    warnings.filterwarnings("ignore", module=r"(fastapi|kserve|starlette)\b")


def write_log_config(path: Path, level: str = "INFO", **fields: str) -> None:
    """Write `log_config` as the JSON file that KServe's `--log_config_file` takes."""
    write_json(path, log_config(level, **fields))


_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def _known_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, bytes]:
    return {name.decode("latin-1"): value for name, value in raw if name in (_ID_BYTES, _OTHER_BYTES)}


class RequestIds:
    """ASGI middleware: each request has an id, its log lines carry it, and its answer tells it as `Ce-Id`.

    What is inside finds the id in the request's headers, where one that was made stands too; `scope[MADE_ID]`
    tells that it was. What is inside may know a better id, of the body: an answer with a `Ce-Id` keeps it.
    """

    def __init__(self, app: _App) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        raw: list[tuple[bytes, bytes]] = [(name.lower(), value) for name, value in scope["headers"]]
        given = given_id({name: value.decode("latin-1") for name, value in _known_headers(raw).items()})
        identity = given or new_id()
        header = (_ID_BYTES, identity.encode())
        scope["headers"] = [pair for pair in raw if pair[0] != _ID_BYTES] + [header]
        if not given:
            scope[MADE_ID] = identity

        async def send_with_id(message: _Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                if not any(name.lower() == _ID_BYTES for name, _ in headers):
                    message["headers"] = [*headers, header]
            await send(message)

        with request_scope(identity):
            await self._app(scope, receive, send_with_id)
