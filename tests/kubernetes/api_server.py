"""An HTTP stand-in for the Kubernetes API that answers as the real server does.

`test_transcript.py` holds it against what a real one was heard to say. Use it so:

>>> with api_server("folder/of/crds") as server:
...     config = server.kubeconfig(path)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.kubernetes.standin.api import Api
from tests.kubernetes.standin.faults import Call, Faults
from tests.kubernetes.standin.http import HttpServer
from tests.kubernetes.standin.kinds import definitions_of
from tests.kubernetes.standin.store import Store

__all__ = ["ApiServer", "Crds", "api_server"]

Crds = Path | str | Iterable[Path | str | Mapping[str, Any]]


class ApiServer:
    """A running stand-in.

    Attributes
    ----------
    url : str
        Where it listens.
    faults : Faults
        What shall go wrong with the next calls.
    """

    def __init__(self, http: HttpServer) -> None:
        self._http = http
        self.url = f"http://127.0.0.1:{http.server_address[1]}"

    @property
    def faults(self) -> Faults:
        return self._http.faults

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order of arrival."""
        return list(self._http.calls)

    @property
    def store(self) -> Store:
        """What it holds, for looking behind the API."""
        return self._http.api.store

    def deny(self, verb: str = "", group: str = "", resource: str = "", namespace: str = "") -> None:
        """Forbid calls from now on (403), and say so in access reviews; "" means any."""
        self._http.api.deny(verb, group, resource, namespace)

    def compact(self) -> None:
        """Forget the history: watches that start or stand before now get 410 Expired."""
        self.store.compact()

    def bookmark_every(self, seconds: float) -> None:
        """Send bookmarks to watches that allow them so often (the real server: about a minute)."""
        self._http.bookmark_seconds = seconds

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig that leads here and return its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "stand-in", "cluster": {"server": self.url}}],
            "users": [{"name": "cd4ml", "user": {"token": "stand-in"}}],
            "contexts": [{"name": "stand-in", "context": {"cluster": "stand-in", "user": "cd4ml"}}],
            "current-context": "stand-in",
        }
        path.write_text(json.dumps(config))
        return path


@contextmanager
def api_server(
    crds: Crds = (),
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    namespaces: Iterable[str] = ("default", "kube-system"),
    first_version: int = 1,
) -> Iterator[ApiServer]:
    """Run a stand-in that serves the built-in kinds and those of the definitions.

    Parameters
    ----------
    crds : folder, file, or list of files, folders and parsed definitions
        The custom resource definitions, read once a process.
    clock : callable
        The time that the server believes.
    namespaces : iterable of str
        Namespaces that are there from the beginning.
    first_version : int
        Where the counter of resource versions stands before the namespaces are made.
    """
    api = Api(definitions_of(crds), clock, first_version)
    for name in namespaces:
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        api.handle(Call("POST", "/api/v1/namespaces", {}, "application/json", "kube-apiserver", document))
    http = HttpServer(api)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield ApiServer(http)
    finally:
        http.stopping = True
        with api.store.changed:
            api.store.changed.notify_all()
        http.shutdown()
        http.server_close()
        thread.join(timeout=5)
