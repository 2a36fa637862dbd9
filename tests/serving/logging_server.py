"""Run as a process: a real server behind the middleware, logging as KServe's does; tells its port first."""

import logging
import socket
import sys
from pathlib import Path

import uvicorn
from kserve.logging import configure_logging

from cd4ml.serving.logs import RequestIds, current_request_id, write_log_config

log = logging.getLogger("cd4ml.serving")


async def answer(scope, receive, send):
    headers = dict(scope["headers"])
    log.info("predicted", extra={"rows": 2})
    body = f"{headers[b'ce-id'].decode()} {current_request_id()}".encode()
    await send({"type": "http.response.start", "status": 422, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


def main(folder: Path) -> None:
    path = folder / "logging.json"
    write_log_config(path, model="shop", version="7")
    configure_logging(str(path))
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    server = uvicorn.Server(uvicorn.Config(RequestIds(answer), log_config=None, lifespan="off"))
    server.run(sockets=[listening])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
