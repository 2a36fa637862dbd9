"""`cd4ml models verify`: is a bundle what was made, and an endpoint what was judged?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import bundle_folder
from cd4ml.errors import GateRejected

if TYPE_CHECKING:
    from cd4ml.adapters.inference import Protocol
    from cd4ml.models.endpoint import EndpointReport

__all__ = ["verify"]


def verify(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME@champion, NAME@3, or the folder of a bundle.")
    ],
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Also replay the holdout against this server, or its /v1/models/NAME."
        ),
    ] = None,
    protocol: Annotated[str, typer.Option(help="Of the endpoint: v1 or v2.")] = "v1",
    batch_rows: Annotated[
        int | None,
        typer.Option(min=1, help="Rows of a batch; 500 by default, if the contract takes so many."),
    ] = None,
    timeout_seconds: Annotated[float, typer.Option(help="For each request to the endpoint.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Check each file against the manifest, and the manifest against its signature.

    With CD4ML_VERIFY_KEY set, a bundle that none of its keys signed is refused. With --endpoint each holdout
    row is asked for, alone and in batches, and must come back within 1e-5 of max(1, |y|) as it was judged;
    otherwise the exit code is 3 and the first row that differs is named, or the bundle that came instead.
    CD4ML_ENDPOINT_HOST and CD4ML_ENDPOINT_TOKEN give the header Host and a bearer token.

    Example: cd4ml models verify out/bundle --endpoint http://localhost:8080
    """
    from cd4ml.adapters.manifest import bundle_id, verify_manifest
    from cd4ml.adapters.signing import require_signature
    from cd4ml.models.endpoint import compare_endpoint

    with bundle_folder(model) as bundle:
        files = verify_manifest(bundle)["files"]
        signature = require_signature(bundle)
        identity = bundle_id(bundle)
        if signature.warning:
            note(f"warning: {signature.warning}")
        report = (
            compare_endpoint(
                endpoint,
                bundle,
                protocol=cast("Protocol", protocol),
                batch_rows=batch_rows,
                timeout_seconds=timeout_seconds,
            )
            if endpoint is not None
            else None
        )
    value = {
        "bundle": identity,
        "files": len(files),
        "signature": signature.state,
        "key_id": signature.key_id,
    }
    line = f"{model}: whole. {len(files)} files, bundle {identity[:12]}, signature: {signature.state}"
    _say(value, line, report, as_json)


def _say(value: dict[str, Any], line: str, report: EndpointReport | None, as_json: bool) -> None:
    if report is None:
        emit(value, as_json, [line])
        return
    emit(
        {**value, "endpoint": report.to_dict()},
        as_json,
        [line, *([report.sentence] if report.agrees else [])],
    )
    if not report.agrees:
        raise GateRejected(report.sentence)
