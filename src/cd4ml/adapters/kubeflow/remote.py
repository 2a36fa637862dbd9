"""Hand a compiled pipeline to a Kubeflow Pipelines API server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cd4ml.adapters.kubeflow.compiled import check_arguments, documents, require_kfp
from cd4ml.errors import Cd4mlError, ServiceError, UsageError

__all__ = ["TOKEN_VARIABLE", "submit"]

TOKEN_VARIABLE = "CD4ML_KFP_TOKEN"  # noqa: S105 - the variable's name, not a token
"""Environment variable that holds the bearer token of the API server, when it wants one."""


def _reason(body: object) -> str:
    """Return what the server said, in one line."""
    try:
        said = json.loads(str(body))
    except ValueError:
        said = {}
    text = said.get("message") or said.get("error") if isinstance(said, dict) else None
    return " ".join(str(text or body or "no reason").split())[:400]


@contextlib.contextmanager
def _errors_translated(host: str) -> Iterator[None]:
    """Turn what kfp's client raises into a `ServiceError`, or a `UsageError` when the request was wrong."""
    import kfp_server_api  # type: ignore[import-untyped]
    import urllib3

    try:
        yield
    except kfp_server_api.ApiException as error:
        refused: type[Cd4mlError] = UsageError if error.status in (400, 404, 409, 422) else ServiceError
        raise refused(
            f"the Kubeflow Pipelines server at {host} answered {error.status}: {_reason(error.body)}"
        ) from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise ServiceError(
            f"expected a Kubeflow Pipelines server at {host}, could not reach it ({type(error).__name__}); "
            "check the address or forward its port: kubectl -n kubeflow port-forward svc/ml-pipeline 8888"
        ) from None


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Wait no longer than this for each answer: kfp's client has no such setting and would wait for ever."""
    from kfp_server_api.rest import RESTClientObject  # type: ignore[import-untyped]

    patient_for_ever = RESTClientObject.request

    def request(self: Any, *arguments: Any, **options: Any) -> Any:
        return patient_for_ever(self, *arguments, **{**options, "_request_timeout": (seconds, seconds)})

    RESTClientObject.request = request
    try:
        yield
    finally:
        RESTClientObject.request = patient_for_ever


def _client(host: str, namespace: str) -> Any:
    import kfp

    return kfp.Client(
        host=host, namespace=namespace or "kubeflow", existing_token=os.environ.get(TOKEN_VARIABLE)
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client's own words and warnings off our output."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def submit(
    package: Path,
    arguments: Mapping[str, object],
    *,
    host: str,
    namespace: str = "",
    experiment: str = "cd4ml",
    run_name: str = "",
    service_account: str = "",
    timeout_seconds: float = 10.0,
) -> dict[str, str]:
    """Start a run of a compiled pipeline on a Kubeflow Pipelines server; does not wait for its end.

    Parameters
    ----------
    package, arguments : Path, mapping of str to JSON value
        The compiled YAML and its parameters. Secrets do not belong here: see the Secret `cd4ml-store`.
    host : str
        URL of the API server, e.g. "http://localhost:8888".
    namespace : str
        The profile's, in a multi-user installation; "" in a single-user one.
    timeout_seconds : float
        How long to wait for each answer of the server; it is asked up to four times.

    Returns
    -------
    dict
        `run_id`, `experiment_id`, `name` and `url` (of the dashboard, at `host`).

    Raises
    ------
    UsageError
        When the server refuses the request, `host` is no URL, or the arguments are not the pipeline's.
    SourceError
        When `package` is no compiled pipeline.
    ServiceError
        When the server cannot be reached, refuses the caller or fails.
    """
    if not host.startswith(("http://", "https://")):
        raise UsageError(f"host must be a URL such as http://localhost:8888; got '{host}'")
    require_kfp()
    check_arguments(documents(package)[0], arguments)
    host = host.rstrip("/")
    with _patience(timeout_seconds), _errors_translated(host), _quiet():
        run = (
            _client(host, namespace)
            .create_run_from_pipeline_package(
                str(package),
                arguments=dict(arguments),
                run_name=run_name or f"{package.stem}-{arguments.get('problem', 'run')}",
                experiment_name=experiment,
                namespace=namespace or None,
                service_account=service_account or None,
            )
            .run_info
        )
    names = {"run_id": run.run_id, "experiment_id": run.experiment_id, "name": run.display_name}
    found = {name: str(value) for name, value in names.items()}
    return found | {"url": f"{host}/#/runs/details/{run.run_id}"}
