"""`cd4ml models predict`: predictions for a file of rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import bundle_folder

__all__ = ["predict"]


def predict(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME@champion, NAME@3, or the folder of a bundle.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Rows to predict for: .csv, .csv.gz or .parquet.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where predictions go: .csv or .parquet.")],
    history: Annotated[
        Path | None, typer.Option("--history", help="Folder of a history table, see `cd4ml models history`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Predict for each row of a file; its columns are written as they are, followed by the predictions.

    A CSV file has a header and is otherwise written as the problem's own. A row that breaks the model's
    contract is named, the exit code is 4, and nothing is written. Memory does not grow with the file.

    Example: cd4ml models predict bike-demand@champion --data tomorrow.csv --out predictions.csv
    """
    from cd4ml.adapters.signing import verify_signature
    from cd4ml.steps.predict import predict_file

    with bundle_folder(model) as bundle:
        found = predict_file(bundle, data, out, history=history)
        if warning := verify_signature(bundle).warning:
            note(f"warning: {warning}")
    rows = int(found.pop("rows"))
    means = ", ".join(f"{name.replace('_', ' ')} {value:.6g}" for name, value in found.items())
    emit({"model": model, "out": str(out), "rows": rows, **found}, as_json, [f"{out}: {rows} rows, {means}"])
