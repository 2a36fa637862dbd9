"""A stand-in for KServe's controller: watches InferenceServices through the API and writes status and routes.

It follows what the real one was seen to do. The traps are meant: `observedGeneration` is not the generation
of the InferenceService; Ready stays True until the controller looks at a change, and in Standard mode while
new pods fail beside old ones; each mode ignores the other's canary field; its own routes are written back.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kubernetes import client, config
from urllib3.exceptions import HTTPError

from tests.kubernetes.kserve_modes import KnativeMode, Pods, Rules, StandardMode, mode_of

__all__ = ["KServeController", "kserve_controller"]

_MANAGER = "kserve-controller"
_SERVICES = "/apis/serving.kserve.io/v1beta1"
_RESYNC_SECONDS = 0.1
_GROUPS = {
    "httproutes": "gateway.networking.k8s.io/v1",
    "virtualservices": "networking.istio.io/v1",
    "revisions": "serving.knative.dev/v1",
    "services": "v1",
}


class KServeController:
    """The controller of one namespace, as a thread.

    `fail`, `heal`, `slow` and `lag` order what shall happen; `pause` stops it as a crash would.
    """

    def __init__(self, kubeconfig: Path, namespace: str, *, default_mode: str = "Knative") -> None:
        self._api = config.new_client_from_config(str(kubeconfig))
        self._namespace = namespace
        self._default_mode = default_mode
        self.rules = Rules()
        self.errors: list[str] = []
        self._lag_seconds = 0.0
        self._watching: Any = None
        self._modes: dict[str, KnativeMode | StandardMode] = {}
        self._seen: dict[str, tuple[int, float]] = {}
        self._wake, self._stopping, self._running = threading.Event(), threading.Event(), threading.Event()
        self._turn = threading.Lock()
        self._running.set()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._watch, self._work)]

    def fail(self, part: str) -> None:
        """New pods whose location or name holds `part` never become ready."""
        self.rules.failing.add(part)

    def heal(self, part: str) -> None:
        """Let them become ready after all."""
        self.rules.failing.discard(part)
        self._wake.set()

    def slow(self, seconds: float) -> None:
        """New pods take so long to be ready."""
        self.rules.ready_seconds = seconds

    def lag(self, seconds: float) -> None:
        """The controller looks at a change only after so long: until then the old status stands."""
        self._lag_seconds = seconds

    def pause(self) -> None:
        self._running.clear()

    def resume(self) -> None:
        self._running.set()
        self._wake.set()

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Do nothing within the block and all that follows from it at its end: so that runs repeat."""
        with self._turn:
            yield
            for _ in range(4):  # what a round writes is seen by the next
                self._reconcile_all()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._running.set()
        self._wake.set()
        if self._watching is not None:
            with suppress(HTTPError, OSError, ValueError):
                self._watching.shutdown()  # ends the read of a watch on which nothing happens
        for thread in self._threads:
            thread.join(timeout=5)
        self._api.close()

    def pods_started(self, service: str) -> int:
        """How often pods were started for a service: a promotion that starts none shows here."""
        modes = [mode for mode in list(self._modes.values()) if mode.name == service]
        return sum(mode.started for mode in modes)

    def _watch(self) -> None:
        """Wake the work at every change; the work reads for itself."""
        while not self._stopping.is_set():
            query = [("watch", "1"), ("timeoutSeconds", "1")]
            try:
                answer = self._watching = self._request("GET", self._services(), query=query)
                for line in answer:
                    self._wake.set()
                    if json.loads(line)["type"] == "ERROR":
                        break
                answer.release_conn()
            except (client.ApiException, HTTPError, OSError, ValueError):
                self._stopping.wait(0.05)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(_RESYNC_SECONDS)
            self._wake.clear()
            self._running.wait()
            try:
                with self._turn:
                    self._reconcile_all()
            except (client.ApiException, HTTPError, OSError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")

    def _reconcile_all(self) -> None:
        found = self._json("GET", self._services())["items"]
        names = {item["metadata"]["uid"]: item for item in found}
        for uid in set(self._modes) - set(names):
            self._clean_up(self._modes.pop(uid))
        for item in found:
            if self._is_due(item):
                self._settle(item)

    def _settle(self, service: dict[str, Any]) -> None:
        """Reconcile until nothing follows at once; if somebody was quicker, the next round sees that."""
        try:
            while self._reconcile(service):
                service = self._json("GET", self._services(service["metadata"]["name"]))
        except client.ApiException as error:
            if error.status not in (404, 409):
                raise

    def _is_due(self, service: Mapping[str, Any]) -> bool:
        metadata = service["metadata"]
        generation, seen_at = self._seen.get(metadata["uid"], (0, 0.0))
        if generation != metadata["generation"]:
            seen_at = time.monotonic()
            self._seen[metadata["uid"]] = metadata["generation"], seen_at
        return time.monotonic() - seen_at >= self._lag_seconds

    def _reconcile(self, service: Mapping[str, Any]) -> bool:
        metadata = service["metadata"]
        mode = self._modes.get(metadata["uid"])
        if mode is None:
            kind = KnativeMode if mode_of(service, self._default_mode) == "Knative" else StandardMode
            mode = self._modes[metadata["uid"]] = kind(metadata["name"], self._namespace, self.rules)
        status, again = mode.step(service, time.monotonic())
        if isinstance(mode, KnativeMode):
            self._write_knative(mode, service)
        else:
            self._write_standard(mode, service)
        if not _same_status(service.get("status") or {}, status):
            self._write_status(service, status)
        return again

    def _write_status(self, service: Mapping[str, Any], status: dict[str, Any]) -> None:
        old = {item["type"]: item for item in (service.get("status") or {}).get("conditions") or []}
        for condition in status["conditions"]:
            before = old.get(condition["type"], {})
            same = before.get("status") == condition["status"] and "lastTransitionTime" in before
            condition["lastTransitionTime"] = (
                before["lastTransitionTime"] if same else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            )
        name = service["metadata"]["name"]
        self._json("PUT", self._services(name) + "/status", {**service, "status": status})

    def _write_knative(self, mode: KnativeMode, service: Mapping[str, Any]) -> None:
        for number, pods in enumerate(mode.revisions, start=1):
            self._keep("revisions", _revision(mode, pods, number, self._namespace), once=True)
            self._revision_status(mode, pods)
        host = "knative-local-gateway.istio-system.svc.cluster.local"
        http = [{"route": [{"destination": {"host": host, "port": {"number": 80}}}]}]
        spec = {
            "hosts": [f"{mode.name}.{self._namespace}.svc.cluster.local"],
            "gateways": ["mesh"],
            "http": http,
        }
        self._keep("virtualservices", self._object("VirtualService", mode.name, spec, service))

    def _revision_status(self, mode: KnativeMode, pods: Pods) -> None:
        now = time.monotonic()
        ready = pods.ready(self.rules, now)
        word = "True" if ready else "False" if pods.failed(self.rules, now) else "Unknown"
        path = self._path("revisions", pods.name)
        found = self._find(path)
        if found is None or _ready_word(found) == word:
            return
        condition = {"type": "Ready", "status": word}
        self._json("PUT", path + "/status", {**found, "status": {"conditions": [condition]}})

    def _write_standard(self, mode: StandardMode, service: Mapping[str, Any]) -> None:
        for name in mode.deployments:
            spec = {
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
                "selector": {"app": f"isvc.{name}"},
            }
            self._keep("services", self._object("Service", name, spec, service), once=True)
        for item in self._mine("services", mode.name):
            if item["metadata"]["name"] not in mode.deployments:
                self._drop(self._path("services", item["metadata"]["name"]))
        if not self.rules.gateway_api:
            return
        backends = [
            {"name": name, "port": 80, "weight": share}
            for name, share in mode.weights(service["spec"]).items()
        ]
        rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": backends}
        for name in (mode.name, f"{mode.name}-predictor"):
            parents = [{"name": "kserve-ingress-gateway", "namespace": "kserve"}]
            spec = {
                "hostnames": [f"{name}.{self._namespace}.example.com"],
                "parentRefs": parents,
                "rules": [rule],
            }
            self._keep("httproutes", self._object("HTTPRoute", name, spec, service))

    def _object(
        self, kind: str, name: str, spec: dict[str, Any], service: Mapping[str, Any]
    ) -> dict[str, Any]:
        version = next(item for plural, item in _GROUPS.items() if plural == f"{kind.lower()}s")
        metadata = {"name": name, "namespace": self._namespace}
        labels = {"serving.kserve.io/inferenceservice": service["metadata"]["name"]}
        return {"apiVersion": version, "kind": kind, "metadata": metadata | {"labels": labels}, "spec": spec}

    def _keep(self, plural: str, wanted: dict[str, Any], *, once: bool = False) -> None:
        """Create an object of a kind that is served, or write it back when it is no longer as it shall be."""
        path = self._path(plural, wanted["metadata"]["name"])
        found = self._find(path)
        if found is None:
            try:
                self._json("POST", path.rpartition("/")[0], wanted)
            except client.ApiException as error:
                if error.status != 404:
                    raise
        elif not once and not _holds(found["spec"], wanted["spec"]):
            self._json("PUT", path, {**found, "spec": wanted["spec"]})

    def _clean_up(self, mode: KnativeMode | StandardMode) -> None:
        for plural in _GROUPS:
            for item in self._mine(plural, mode.name):
                self._drop(self._path(plural, item["metadata"]["name"]))

    def _mine(self, plural: str, service: str) -> list[dict[str, Any]]:
        query = [("labelSelector", f"serving.kserve.io/inferenceservice={service}")]
        path = self._path(plural, "").rstrip("/")
        try:
            return json.loads(self._request("GET", path, query=query).data)["items"]
        except client.ApiException as error:
            if error.status != 404:
                raise
            return []

    def _drop(self, path: str) -> None:
        if self._find(path) is not None:
            self._json("DELETE", path)

    def _services(self, name: str = "") -> str:
        path = f"{_SERVICES}/namespaces/{self._namespace}/inferenceservices"
        return f"{path}/{name}" if name else path

    def _path(self, plural: str, name: str) -> str:
        version = _GROUPS[plural]
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        return f"{prefix}/namespaces/{self._namespace}/{plural}/{name}"

    def _find(self, path: str) -> dict[str, Any] | None:
        try:
            return self._json("GET", path)
        except client.ApiException as error:
            if error.status != 404:
                raise
            return None

    def _json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        query = [] if method == "GET" else [("fieldManager", _MANAGER)]
        return json.loads(self._request(method, path, body, query).data)

    def _request(
        self, method: str, path: str, body: Any = None, query: Sequence[tuple[str, str]] = ()
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return self._api.call_api(
            path,
            method,
            query_params=list(query),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _return_http_data_only=True,
            _request_timeout=10,
        )


def _revision(mode: KnativeMode, pods: Pods, number: int, namespace: str) -> dict[str, Any]:
    source = {"internal.serving.kserve.io/storage-initializer-sourceuri": pods.location}
    labels = {
        "serving.knative.dev/configuration": f"{mode.name}-predictor",
        "serving.knative.dev/configurationGeneration": str(number),
        "serving.knative.dev/service": f"{mode.name}-predictor",
        "serving.kserve.io/inferenceservice": mode.name,
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": pods.name,
            "namespace": namespace,
            "labels": pods.template["labels"] | labels,
            "annotations": pods.template["annotations"] | source,
        },
        "spec": {"containers": [{"name": "kserve-container", "image": "example.com/runtime:1"}]},
    }


def _ready_word(document: Mapping[str, Any]) -> str:
    conditions = (document.get("status") or {}).get("conditions") or []
    return next((item["status"] for item in conditions if item["type"] == "Ready"), "")


def _same_status(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two statuses differ at most in the times of their conditions."""

    def timeless(status: Mapping[str, Any]) -> dict[str, Any]:
        conditions = [
            {key: item for key, item in condition.items() if key != "lastTransitionTime"}
            for condition in status.get("conditions") or []
        ]
        return {**status, "conditions": conditions}

    return timeless(old) == timeless(new)


def _holds(found: Any, wanted: Any) -> bool:
    """Whether an object still says what was written; what the server filled in beside it does not count."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(_holds(found.get(key), item) for key, item in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(found, list) and len(found) == len(wanted)
        return same_length and all(_holds(one, other) for one, other in zip(found, wanted, strict=True))
    return bool(found == wanted)


@contextmanager
def kserve_controller(
    kubeconfig: Path,
    namespace: str,
    *,
    default_mode: str = "Knative",
    gateway_api: bool = True,
    splits: bool = True,
) -> Iterator[KServeController]:
    """Run the controller for one namespace.

    Parameters
    ----------
    default_mode : str
        The mode of services without the annotation.
    gateway_api : bool
        Whether KServe was told to make HTTPRoutes; without them there are no weights.
    splits : bool
        False for v0.20.0, which makes a canary's pods and gives them no traffic.
    """
    controller = KServeController(kubeconfig, namespace, default_mode=default_mode)
    controller.rules.gateway_api, controller.rules.splits = gateway_api, splits
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()
