"""A small problem, and a real HTTP server on this machine that misbehaves as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cd4ml.problem import Problem, Table
from cd4ml.tables.snapshot import validate

NOW = datetime(2026, 1, 1)
COLUMNS = {
    "day": {"type": "date"},
    "shop": {"type": "category", "nulls": True},
    "units": {"type": "integer"},
}


def table(**changes) -> Table:
    return Table.model_validate({"file": "sales.csv", "columns": COLUMNS} | changes)


def problem(*, tables=None, **changes) -> Problem:
    """Return a problem with the one table `sales`, changed, or with these tables."""
    return Problem.model_validate(
        {
            "name": "sales",
            "task": "regression",
            "tables": tables or {"sales": {"file": "sales.csv", "columns": COLUMNS} | changes},
            "facts": "sales",
            "target": {"column": "units"},
            "features": [{"kind": "category", "columns": ["shop"]}],
            "split": {"kind": "random", "holdout": 0.2},
            "candidates": [{"name": "ridge", "family": "ridge"}],
            "metrics": {"primary": "rmse"},
            "baselines": [{"name": "mean", "kind": "mean"}],
        }
    )


def checked(data, **changes) -> tuple[dict, list[str]]:
    """Return the report of the table `sales` and what the contract refuses."""
    found = validate(problem(**changes), str(data), now=NOW)
    return found["tables"]["sales"], found["refused"]


Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers by the server's table of paths; what is not there is 404."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        self.server.answers.get(self.path.partition("?")[0], status(404))(self)

    do_GET = do_HEAD = _answer

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def start(self, code: int, length: int | None, **headers: str) -> None:
        self.send_response(code)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True


def body(data: bytes, **headers: str) -> Answer:
    """Answer with these bytes."""

    def answer(handler: Handler) -> None:
        handler.start(200, len(data), **headers)
        if handler.command == "GET":
            handler.wfile.write(data)

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.start(code, 0)


def for_get_alone(then: Answer, otherwise: int = 405) -> Answer:
    return lambda handler: (then if handler.command == "GET" else status(otherwise))(handler)


def cut(data: bytes, promised: int) -> Answer:
    """Promise more bytes than are sent, then hang up."""

    def answer(handler: Handler) -> None:
        handler.start(200, promised)
        handler.wfile.write(data)
        handler.hang_up()

    return answer


def cut_in_a_chunk(handler: Handler) -> None:
    handler.start(200, None, Transfer_Encoding="chunked")
    handler.wfile.write(b"1000\r\nday,shop,units\n")
    handler.hang_up()


def no_answer(handler: Handler) -> None:
    handler.hang_up()


def silent(handler: Handler) -> None:
    """Say nothing until the test is over."""
    handler.server.over.wait(30)
    handler.hang_up()


def silent_in_the_middle(handler: Handler) -> None:
    handler.start(200, 1000)
    handler.wfile.write(b"day,shop,units\n")
    handler.wfile.flush()
    silent(handler)


class Server(ThreadingHTTPServer):
    def __init__(self, answers: dict[str, Answer]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.requests, self.over = answers, [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def serving(**answers: Answer) -> Iterator[Server]:
    """Serve answers under names; `sales_csv` stands for /sales.csv."""
    server = Server({f"/{name.replace('_', '.')}": answer for name, answer in answers.items()})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
