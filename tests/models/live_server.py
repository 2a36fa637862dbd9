"""A server on loopback that answers V1 and V2 with a bundle, and can be told to err."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from cd4ml.errors import DataError
from cd4ml.models.runtime import Bundle

Outputs = dict[str, list[float]]
Spoil = Callable[[Sequence[Mapping[str, Any]], Outputs], Outputs]


class Live:
    """What a server does, and what it was asked.

    Attributes
    ----------
    spoil : callable
        Changes the outputs for some rows.
    status : int
        0 for the right one.
    raw : bytes
        The body of every answer, where it is not b"".
    says : mapping
        The V2 metadata; 404 where it is empty.
    headers : list
        Of each request.
    hang_up_after : int
        Close each connection after so many answers, without telling; 0 never.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.spoil: Spoil = lambda _, outputs: outputs
        self.status, self.raw, self.hang_up_after = 0, b"", 0
        self.says: Mapping[str, Any] = {}
        self.headers: list[dict[str, str]] = []
        self.asked: list[tuple[str, int]] = []
        self.tensors: list[dict[str, Any]] = []
        self.url = ""

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        name = self.bundle.problem.name
        document = json.loads(body)
        if path == f"/v1/models/{name}:predict":
            rows = document["instances"]
        elif path == f"/v2/models/{name}/infer":
            self.tensors = document["inputs"]
            rows = _rows(document["inputs"])
        else:
            return 404, {"error": f"no model at {path}"}
        self.asked.append((path, len(rows)))
        try:
            found = self.bundle.predict_rows(rows)
        except DataError as error:
            return 400, {"error": str(error)}
        outputs = self.spoil(rows, {key: values.tolist() for key, values in found.items()})
        return 200, _v1(outputs) if path.startswith("/v1") else _v2(name, outputs)


def _rows(tensors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    (count,) = {tensor["shape"][0] for tensor in tensors}
    for tensor in tensors:
        assert len(tensor["data"]) == count
        kinds = {"INT64": int, "FP64": int | float, "BOOL": bool, "BYTES": str}
        assert all(one is None or isinstance(one, kinds[tensor["datatype"]]) for one in tensor["data"])
    return [{tensor["name"]: tensor["data"][i] for tensor in tensors} for i in range(count)]


def _v1(outputs: Outputs) -> dict[str, Any]:
    return {f"{name}s": values for name, values in outputs.items()}


def _v2(name: str, outputs: Outputs) -> dict[str, Any]:
    tensors = [
        {"name": key, "shape": [len(values)], "datatype": "FP64", "data": values}
        for key, values in outputs.items()
    ]
    return {"model_name": name, "id": "1", "outputs": tensors}


@contextmanager
def serve(folder: Path) -> Iterator[Live]:
    """Serve a bundle on a free port until the block ends."""
    live = Live(Bundle.load(folder))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answers = 0

        def do_GET(self) -> None:
            live.headers.append(dict(self.headers))
            named = self.path == f"/v2/models/{live.bundle.problem.name}" and live.says
            content = json.dumps(live.says if named else {"error": "nothing here"}).encode()
            self.send_response(200 if named else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            live.headers.append(dict(self.headers))
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, document = live.answer(self.path, body)
            content = live.raw or json.dumps(document).encode()
            self.send_response(live.status or status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.answers += 1
            self.close_connection = self.answers == live.hang_up_after

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    Handler.disable_nagle_algorithm = True
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    live.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield live
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
