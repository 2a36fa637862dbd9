"""`cd4ml models reproduce`: the same bytes again?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cd4ml.cli.console import emit, note
from cd4ml.cli.model_reference import bundle_folder
from cd4ml.cli.table import table
from cd4ml.errors import GateRejected, UsageError

if TYPE_CHECKING:
    from cd4ml.steps.reproduce import Comparison, Reproduction

__all__ = ["reproduce"]


def reproduce(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="NAME, NAME@champion, NAME@3, or the folder of a bundle.")
    ],
    search: Annotated[
        bool, typer.Option("--search", help="Repeat the whole search too, not the final fit alone.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Keep snapshot, dataset and model here: a new or empty folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")] = False,
) -> None:
    """Make a model again from its snapshot, parameters and seed, and compare the bytes of the ONNX.

    The snapshot comes from the store. Exit code 0 says that every byte is the same; 3 that it is not, and
    which of library versions, code and data differ from those that made the model.

    Example: cd4ml models reproduce bike-demand@champion
    """
    from cd4ml.adapters.manifest import verify_manifest
    from cd4ml.adapters.storage import open_store
    from cd4ml.steps.reproduce import reproduce as again

    with bundle_folder(model) as bundle, _workplace(out) as folder:
        verify_manifest(bundle)
        found = again(bundle, open_store(), folder, search=search, progress=note)
    emit({"model": model, **found.to_dict()}, as_json, _lines(model, found))
    if not found.same:
        raise GateRejected(f"{model} did not come out the same; {_reason(found)}")


@contextmanager
def _workplace(out: Path | None) -> Iterator[Path]:
    if out is None:
        with tempfile.TemporaryDirectory(prefix="cd4ml-") as folder:
            yield Path(folder)
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out must be a new or empty folder; '{out}' is not")
    yield out


def _lines(model: str, found: Reproduction) -> Iterator[str]:
    if found.same:
        yield f"{model}: the same, byte for byte"
    else:
        distance = found.largest_difference
        apart = (
            "it takes other features"
            if distance is None
            else f"its predictions differ by up to {distance:.3g}"
        )
        yield f"{model}: NOT the same; {apart}"
    rows = [("same" if one.same else "other", one.name, one.recorded, one.found) for one in found.models]
    if found.search:
        rows.append(
            ("same" if found.search.same else "other", "winner of the search", *_winners(found.search))
        )
    for axis in found.axes:
        rows += [(axis, one.name, one.recorded, one.found) for one in getattr(found, axis)]
    yield from table(("", "what", "recorded", "now"), rows)


def _winners(search: Comparison) -> tuple[str, str]:
    """Return the candidates' names, and what of their parameters is not the same."""
    from cd4ml.adapters.differences import differences

    then, now = search.recorded, search.found
    other = differences([then["parameters"], now["parameters"]])
    texts = [", ".join(f"{row.name}={row.values[place]}" for row in other) for place in (0, 1)]
    return f"{then['name']} {texts[0]}".strip(), f"{now['name']} {texts[1]}".strip()


def _reason(found: Reproduction) -> str:
    if found.axes:
        return f"{', '.join(found.axes)} differ from what made it"
    return (
        "versions, code and data are what made it, so the machine is left: another processor, or another"
        " number of threads (set OMP_NUM_THREADS as it was)"
    )
