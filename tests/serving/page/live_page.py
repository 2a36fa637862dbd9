"""The page as a real server in a thread of the test."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn


@contextmanager
def live(app: Any) -> Iterator[httpx.Client]:
    """Serve an application on a free port of the loopback and yield a client of it."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    # The client may be quicker than the server's thread: a socket that listens already keeps it waiting.
    listener.listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=address, follow_redirects=True, trust_env=False, timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def origin(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")
