"""A Kubeflow Pipelines server: each call has an end, and each refusal becomes one of our errors."""

from __future__ import annotations

import contextlib
import io
import json
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cd4ml.adapters.kubeflow.compiled import require_kfp
from cd4ml.adapters.kubeflow.remote_access import COOKIE_VARIABLE, TOKEN_VARIABLE, access
from cd4ml.errors import Cd4mlError, NotFoundError, ServiceError, UsageError

__all__ = ["Server", "connect", "equals", "quiet", "refused"]

_PAGE = 100
_PAUSES_SECONDS = (0.2, 0.5)
"""Before the second and the third look at a server that did not answer."""


@dataclass(frozen=True)
class Server:
    """A Kubeflow Pipelines server.

    Attributes
    ----------
    host : str
        Its URL, without a slash at the end.
    namespace : str
        The profile's, in a multi-user installation; "" in a single-user one.
    client : kfp.Client
        Its generated calls are in `client.runs`, `client.pipelines` and so on.
    """

    host: str
    namespace: str
    client: Any

    def ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make one call; what changes nothing is asked again when the server does not answer.

        Raises
        ------
        NotFoundError, UsageError
            When the server refuses the request.
        ServiceError
            When it cannot be reached, refuses the caller or fails.
        """
        reads = call.__name__.rpartition("_service_")[2].startswith(("get_", "list_"))
        for pause in _PAUSES_SECONDS if reads else ():
            try:
                return self._once(call, *arguments, **options)
            except ServiceError as error:
                if refused(error):
                    raise
                time.sleep(pause)
        return self._once(call, *arguments, **options)

    def _once(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        with _translated(self.host), quiet():
            return call(*arguments, **options)

    def pages(self, call: Callable[..., Any], field: str, **options: Any) -> Iterator[Any]:
        """Yield all items of a list, page after page."""
        token = ""
        while True:
            page = self.ask(call, page_token=token, page_size=_PAGE, **options)
            yield from getattr(page, field) or ()
            token = page.next_page_token or ""
            if not token:
                return

    def text(self, path: str) -> str:
        """Return what the server has at a path that its client has no call for.

        Raises
        ------
        NotFoundError, UsageError, ServiceError
            As `ask`.
        """
        api = self.client.runs.run_service_get_run.__self__.api_client
        with _translated(self.host), quiet():
            found = api.call_api(
                path,
                "GET",
                header_params={"Accept": "text/plain"},
                auth_settings=["Bearer"],
                _preload_content=False,
                _return_http_data_only=True,
            )
        return bytes(found.data).decode("utf-8", "replace")


def connect(host: str, namespace: str = "", timeout_seconds: float = 10.0) -> Server:
    """Return a server; nothing is sent yet.

    Parameters
    ----------
    host : str
        URL of the API server, e.g. "http://localhost:8888".
    namespace : str
        The profile's, in a multi-user installation; "" in a single-user one.
    timeout_seconds : float
        How long to wait for each answer.

    Raises
    ------
    UsageError
        When `host` is no URL, or kfp is not installed.
    """
    if not host.startswith(("http://", "https://")):
        raise UsageError(f"host must be a URL such as http://localhost:8888; got '{host}'")
    require_kfp()
    import kfp

    class Client(kfp.Client):  # type: ignore[misc]
        def get_kfp_healthz(self, sleep_duration: int = 5) -> Any:
            # Its constructor would ask, wait 25 s for a server that refuses, and write into the home folder.
            return types.SimpleNamespace(multi_user=False)

    host = host.rstrip("/")
    with quiet():
        client = Client(host=host, namespace=namespace or "kubeflow", **access())
    rest = client.runs.run_service_get_run.__self__.api_client.rest_client
    rest.request = _patient(rest.request, timeout_seconds, host)
    return Server(host, namespace, client)


def equals(**values: str) -> str:
    """Return the filter for items whose fields have these values (the server does not mind the case)."""
    found = [{"operation": "EQUALS", "key": key, "stringValue": value} for key, value in values.items()]
    return json.dumps({"predicates": found})


def refused(error: ServiceError) -> bool:
    """Return whether the server does not want this caller: asking again does not help."""
    return getattr(error.__cause__, "status", 0) in (401, 403)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the client's own words and warnings off our output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _patient(request: Callable[..., Any], seconds: float, host: str) -> Callable[..., Any]:
    """Return `request` with an end: kfp's client has no such setting and would wait for ever."""

    def ended(*arguments: Any, **options: Any) -> Any:
        found = request(*arguments, **{**options, "_request_timeout": (seconds, seconds)})
        headers = getattr(found, "urllib3_response", found).headers
        if str(headers.get("content-type", "")).startswith("text/html"):
            raise ServiceError(
                f"expected the Kubeflow Pipelines API at {host}, found a web page, such as a login: give a "
                f"session in {COOKIE_VARIABLE} or a token in {TOKEN_VARIABLE}, or add /pipeline to the host"
            )
        return found

    return ended


@contextlib.contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turn what kfp's client raises into one of our errors, with that as its cause."""
    import kfp_server_api
    import urllib3

    try:
        yield
    except kfp_server_api.ApiException as error:
        raise _refusal(host, int(error.status or 0), _reason(error.body or error.reason)) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ServiceError(
            f"expected a Kubeflow Pipelines server at {host}, could not reach it ({type(error).__name__}); "
            "check the address or forward its port: kubectl -n kubeflow port-forward svc/ml-pipeline 8888"
        ) from error


def _refusal(host: str, status: int, reason: str) -> Cd4mlError:
    kind: type[Cd4mlError] = UsageError if status in (400, 409, 413, 422) else ServiceError
    kind = NotFoundError if status == 404 else kind
    advice = ""
    if status == 401:
        advice = f"; give a token in {TOKEN_VARIABLE} or a session in {COOKIE_VARIABLE}"
    elif status == 403:
        advice = "; the caller is known and may not do this: ask for the role, or name another namespace"
    return kind(f"the Kubeflow Pipelines server at {host} answered {status}: {reason}{advice}")


def _reason(body: object) -> str:
    """Return what the server said, in one line: as google.rpc.Status, or as its upload calls say it."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, dict):
        text = str(said.get("message") or said.get("error_message") or said.get("error") or text)
    return " ".join((text or "no reason").split())[:400]
