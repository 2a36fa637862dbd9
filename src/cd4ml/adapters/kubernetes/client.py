"""A client of the Kubernetes API that says what it may, may not, and lost to whom."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cd4ml.adapters.kubernetes.failures import failure, passes
from cd4ml.adapters.kubernetes.kinds import Kind, kind_of
from cd4ml.errors import NotFoundError, ServiceError, UsageError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

__all__ = ["FIELD_MANAGER", "KubernetesClient", "connect"]

FIELD_MANAGER = "cd4ml"
_STRICT = ("fieldValidation", "Strict")
_APPLY, _MERGE = "application/apply-patch+yaml", "application/merge-patch+json"
_JSON_PATCH, _JSON = "application/json-patch+json", "application/json"
_PAGE = 250


def connect(
    kubeconfig: Path | None = None, context: str = "", timeout_seconds: float = 20, attempts: int = 4
) -> KubernetesClient:
    """Return a client: of a kubeconfig's cluster, else of the pod's own, else of the usual kubeconfig.

    Raises
    ------
    UsageError
        If there is no cluster to be found, or the library is not installed.
    """
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise UsageError("a cluster needs the extra: pip install 'cd4ml[cluster]'") from error
    settings = client.Configuration()
    try:
        if kubeconfig is None and not context:
            try:
                config.load_incluster_config(client_configuration=settings)
            except config.ConfigException:
                config.load_kube_config(client_configuration=settings)
        else:
            file = str(kubeconfig) if kubeconfig else None
            config.load_kube_config(file, context=context or None, client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        where = f"in {kubeconfig}" if kubeconfig else "in a pod or in KUBECONFIG"
        raise UsageError(f"no cluster is configured {where}: {error}") from error
    settings.retries = False
    return KubernetesClient(client.ApiClient(settings), timeout_seconds, attempts)


_Body = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class KubernetesClient:
    """What cd4ml asks of a cluster; every refusal is one of our errors.

    Calls that may be repeated are, up to `attempts` times with growing pauses, where the server is busy or
    silent. It needs no right to discover kinds and keeps no cache on disk.

    Parameters
    ----------
    timeout_seconds : float
        Of one call.
    attempts : int
        How often one call is tried.
    pause_seconds : float
        Before the second attempt; twice that before the third, and so on.
    sleep : callable
        Waits.
    """

    def __init__(
        self,
        api: ApiClient,
        timeout_seconds: float = 20,
        attempts: int = 4,
        pause_seconds: float = 0.2,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        from kubernetes.dynamic import DynamicClient

        # The dynamic client's own discovery reads and trusts a file at a predictable place in /tmp.
        self._api = DynamicClient(api, discoverer=lambda client, cache_file: None)
        self._close = api.close
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._pause_seconds = pause_seconds
        self._sleep = sleep

    def close(self) -> None:
        """Give its connections back."""
        self._close()

    def version(self) -> str:
        """Return the version of the API server, e.g. "v1.31.0"; every caller who is known may ask."""
        return str(self._call("get", "/version", "its version").get("gitVersion") or "")

    def get(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any]:
        """Return an object; raises NotFoundError where there is none."""
        return self._call("get", _path(kind, namespace, name), _what(kind, name, namespace))

    def find(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any] | None:
        """Return an object, or None where there is none (or no such kind)."""
        try:
            return self.get(kind, name, namespace)
        except NotFoundError:
            return None

    def list(self, kind: Kind, namespace: str = "", labels: str = "") -> list[dict[str, Any]]:
        """Return all objects of a kind, of all namespaces if none is named."""
        found: list[dict[str, Any]] = []
        query = [("limit", str(_PAGE))] + ([("labelSelector", labels)] if labels else [])
        more = ""
        while True:
            asked = query + ([("continue", more)] if more else [])
            page = self._call("list", _path(kind, namespace), _what(kind, "", namespace), query=asked)
            named = {"apiVersion": kind.api_version, "kind": kind.kind}
            found += [named | item for item in page.get("items", ())]
            more = (page.get("metadata") or {}).get("continue") or ""
            if not more:
                return found

    def apply(self, document: Mapping[str, Any], force: bool = False) -> dict[str, Any]:
        """Make an object hold what `document` says, and drop what an earlier call said and this does not.

        Parameters
        ----------
        document : mapping
            Our fields alone. With `metadata.resourceVersion` it is refused if the object changed meanwhile.
        force : bool
            Take fields over from other managers; without it they are named.

        Raises
        ------
        ConflictError
            If others own a field with another value, or the object changed.
        UsageError
            If a field is unknown or wrong, or the caller may not.
        """
        kind, name, namespace = _named(document)
        query = [("fieldManager", FIELD_MANAGER), _STRICT] + ([("force", "true")] if force else [])
        path = _path(kind, namespace, name)
        return self._call("patch", path, _what(kind, name, namespace), document, _APPLY, query)

    def create(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object; raises ConflictError if it is there. It is never tried twice."""
        kind, name, namespace = _named(document)
        query = [("fieldManager", FIELD_MANAGER), _STRICT]
        path = _path(kind, namespace)
        return self._call("create", path, _what(kind, name, namespace), document, _JSON, query, attempts=1)

    def replace(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Exchange an object; with `metadata.resourceVersion` only the one that was read."""
        kind, name, namespace = _named(document)
        query = [("fieldManager", FIELD_MANAGER), _STRICT]
        path = _path(kind, namespace, name)
        return self._call("update", path, _what(kind, name, namespace), document, _JSON, query)

    def patch(self, kind: Kind, name: str, namespace: str, change: _Body) -> dict[str, Any]:
        """Change an object by a merge patch (null removes a field) or, given a list, by a JSON patch."""
        form = _MERGE if isinstance(change, Mapping) else _JSON_PATCH
        query = [("fieldManager", FIELD_MANAGER), _STRICT]
        path = _path(kind, namespace, name)
        # Operations on lists are not the same when done twice.
        attempts = 1 if form == _JSON_PATCH else self._attempts
        return self._call("patch", path, _what(kind, name, namespace), change, form, query, attempts=attempts)

    def delete(
        self, kind: Kind, name: str, namespace: str, uid: str = "", resource_version: str = ""
    ) -> bool:
        """Delete an object, if it is still the one that was seen; False where there was none.

        Raises
        ------
        ConflictError
            If it is another one, or changed.
        """
        seen = {"uid": uid, "resourceVersion": resource_version}
        conditions = {key: value for key, value in seen.items() if value}
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
        }
        if conditions:
            options["preconditions"] = conditions
        try:
            path = _path(kind, namespace, name)
            self._call("delete", path, _what(kind, name, namespace), options, _JSON)
        except NotFoundError:
            return False
        return True

    def may(self, verb: str, kind: Kind, namespace: str = "", name: str = "") -> bool:
        """Tell whether the caller may do something to a kind of objects, or to the one of that name."""
        asked = {"verb": verb, "group": kind.group, "resource": kind.plural}
        if name:
            asked["name"] = name
        if namespace and kind.namespaced:
            asked["namespace"] = namespace
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._call("create", path, "selfsubjectaccessreviews.authorization.k8s.io", review, _JSON)
        return bool((answer.get("status") or {}).get("allowed"))

    def _call(
        self,
        verb: str,
        path: str,
        what: str,
        body: _Body | None = None,
        form: str = "",
        query: Sequence[tuple[str, str]] = (),
        attempts: int = 0,
    ) -> dict[str, Any]:
        attempts = attempts or self._attempts
        for attempt in range(1, attempts + 1):
            status, text = self._once(_METHODS[verb], path, body, form, query)
            if 200 <= status < 300:
                return _object(text, verb, what)
            if attempt < attempts and passes(status, text):
                self._sleep(self._pause_seconds * 2 ** (attempt - 1))
                continue
            raise failure(status, text, verb, what)
        raise AssertionError("unreachable")

    def _once(
        self, method: str, path: str, body: Any, form: str, query: Sequence[tuple[str, str]]
    ) -> tuple[int, str]:
        from kubernetes.client.rest import ApiException
        from urllib3.exceptions import HTTPError

        extra = {"content_type": form} if form else {}
        try:
            answer = self._api.request(
                method,
                path,
                body=body,
                query_params=list(query),
                serialize=False,
                _request_timeout=self._timeout_seconds,
                **extra,
            )
        except ApiException as error:
            text = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body or ""
            return int(error.status or 0), text or str(error.reason or "")
        except (HTTPError, OSError) as error:
            return 0, str(error)
        return int(answer.status), answer.data.decode()


_METHODS = {
    "get": "get",
    "list": "get",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
}


def _path(kind: Kind, namespace: str, name: str = "") -> str:
    from urllib.parse import quote

    parts = ["apis", kind.group, kind.version] if kind.group else ["api", kind.version]
    if namespace and kind.namespaced:
        parts += ["namespaces", quote(namespace, safe="")]
    return "/" + "/".join([*parts, kind.plural] + ([quote(name, safe="")] if name else []))


def _what(kind: Kind, name: str, namespace: str) -> str:
    named = f" '{name}'" if name else ""
    where = f" in namespace '{namespace}'" if namespace and kind.namespaced else ""
    return f"{kind.qualified}{named}{where}"


def _named(document: Mapping[str, Any]) -> tuple[Kind, str, str]:
    metadata = document["metadata"]
    return kind_of(document), metadata["name"], metadata.get("namespace", "")


def _object(text: str, verb: str, what: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ServiceError(f"the answer to {verb} {what} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise ServiceError(f"the answer to {verb} {what} is no object")
    return found
