"""A container engine that answers as docker's API does, and runs each container as a process."""

import json
import os
import re
import struct
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.adapters.s3_server import environment

IMAGE = "example.org/cd4ml-python:1"


@dataclass
class Container:
    asked: dict[str, Any]
    process: subprocess.Popen[bytes] | None = None


@dataclass
class State:
    containers: dict[str, Container] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    pulled: list[str] = field(default_factory=list)
    images: set[str] = field(default_factory=lambda: {IMAGE})


class Engine(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.state = State()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def host(self) -> str:
        return f"tcp://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Engine

    def reply(self, value: object, status: int = 200) -> None:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self) -> None:
        address = urlsplit(self.path)
        path = re.sub(r"^/v[\d.]+", "", unquote(address.path))
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        found = re.fullmatch(r"/containers/(\w{32})(?:/(\w+))?", path)
        if found:
            self.container(found[1], found[2] or self.command)
        elif path == "/containers/create":
            self.create(body)
        elif path == "/containers/json":
            (label,) = json.loads(parse_qs(address.query)["filters"][0])["label"]
            name, _, value = label.partition("=")
            all_of = self.server.state.containers.items()
            self.reply([{"Id": key} for key, one in all_of if one.asked["Labels"].get(name) == value])
        elif path == "/images/create":
            asked = parse_qs(address.query)
            self.server.state.pulled.append(f"{asked['fromImage'][0]}:{asked['tag'][0]}")
            self.server.state.images.add(self.server.state.pulled[-1])
            self.reply(b"")
        elif path.startswith("/images/"):
            name = path.removeprefix("/images/").removesuffix("/json")
            known = name in self.server.state.images
            self.reply({"Id": name} if known else {"message": "No such image"}, 200 if known else 404)
        else:
            self.reply({"ApiVersion": "1.45", "SecurityOptions": []})

    def create(self, asked: dict[str, Any]) -> None:
        key = uuid.uuid4().hex
        self.server.state.created.append(asked)
        self.server.state.containers[key] = Container(asked)
        self.reply({"Id": key, "Warnings": []}, 201)

    def container(self, key: str, verb: str) -> None:
        one = self.server.state.containers[key]
        if verb == "start":
            given = dict(item.split("=", 1) for item in one.asked["Env"])
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            one.process = subprocess.Popen(
                one.asked["Cmd"],
                env={**given, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.reply(b"", 204)
        elif verb == "logs":
            assert one.process is not None and one.process.stdout is not None
            said = one.process.stdout.read()
            self.reply(struct.pack(">BxxxI", 1, len(said)) + said if said else b"")
        elif verb == "wait":
            assert one.process is not None
            self.reply({"StatusCode": one.process.wait()})
        elif verb == "DELETE":
            del self.server.state.containers[key]
            if one.process is not None:
                one.process.kill()
                one.process.wait()
            self.server.state.removed.append(key)
            self.reply(b"", 204)
        else:
            self.reply({"Id": key, "Config": {"Tty": False}})

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def engine() -> Iterator[Engine]:
    """Yield an engine; DOCKER_HOST names it within the block."""
    server = Engine()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with environment(DOCKER_HOST=server.host):
            yield server
    finally:
        server.shutdown()
        server.server_close()
