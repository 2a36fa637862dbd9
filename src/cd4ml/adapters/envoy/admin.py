"""Ask a running Envoy, through its admin interface."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from cd4ml.errors import ServiceError

__all__ = ["Admin"]


class Admin:
    """The admin interface of one Envoy.

    Parameters
    ----------
    address : str
        "127.0.0.1:PORT", as Envoy wrote it to the file of `--admin-address-path`.
    timeout_seconds : float
        For each question.
    """

    def __init__(self, address: str, timeout_seconds: float = 2.0) -> None:
        self.address = address
        self._timeout_seconds = timeout_seconds

    def ready(self) -> bool:
        """Tell whether Envoy takes requests."""
        try:
            return self._ask("/ready").strip() == b"LIVE"
        except ServiceError:
            return False

    def versions(self) -> tuple[str, str]:
        """Return which version of the clusters and of the routes Envoy has taken; "" for none."""
        found = self._stats(r"(cds|rds\..*)\.version_text$")
        texts = {name.split(".")[-2] if ".rds." not in name else "rds": text for name, text in found.items()}
        return str(texts.get("cds", "")), str(texts.get("rds", ""))

    def rejected(self) -> int:
        """Return how many configurations Envoy refused since it began."""
        return sum(int(value) for value in self._stats(r"(cds|rds\..*)\.update_rejected$").values())

    def active(self, cluster: str) -> int:
        """Return how many requests a cluster has under way; 0 for one that is not there."""
        found = json.loads(self._ask("/clusters?format=json")).get("cluster_statuses", ())
        hosts = [host for one in found if one["name"] == cluster for host in one.get("host_statuses", ())]
        stats = [stat for host in hosts for stat in host.get("stats", ()) if stat["name"] == "rq_active"]
        return sum(int(stat.get("value", 0)) for stat in stats)

    def callers_active(self, listener: str) -> int:
        """Return how many requests callers have under way."""
        return sum(int(v) for v in self._stats(rf"^http\.{listener}\.downstream_rq_active$").values())

    def counters(self, pattern: str) -> dict[str, Any]:
        """Return the statistics whose name fits a regular expression."""
        return self._stats(pattern)

    def drain(self) -> None:
        """Take no new connections, and tell callers to close the ones that they have."""
        self._ask("/healthcheck/fail", post=True)
        self._ask("/drain_listeners", post=True)

    def reopen_logs(self) -> None:
        """Write logs to new files, after the old ones were renamed."""
        self._ask("/reopen_logs", post=True)

    def _stats(self, pattern: str) -> dict[str, Any]:
        answer = json.loads(self._ask(f"/stats?format=json&filter={quote(pattern, safe='')}"))
        return {stat["name"]: stat.get("value") for stat in answer.get("stats", ()) if "name" in stat}

    def _ask(self, path: str, post: bool = False) -> bytes:
        request = urllib.request.Request(f"http://{self.address}{path}", method="POST" if post else "GET")
        # Never through a proxy of the environment: this is a process beside us.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=self._timeout_seconds) as response:
                found: bytes = response.read()
                return found
        except (OSError, urllib.error.HTTPError) as error:
            raise ServiceError(f"the gateway does not answer at {self.address}{path}: {error}") from error
