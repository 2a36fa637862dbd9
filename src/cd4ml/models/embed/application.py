"""The smallest application of an embedded model: JSON lines in, JSON lines out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cd4ml.errors import Cd4mlError, DataError, RowError
from cd4ml.models.embed.embedded import Embedded

__all__ = ["answer", "main"]

_READ_BYTES = 1 << 20


def main(model: Embedded, arguments: Sequence[str] | None = None) -> int:
    """Run `python -m PACKAGE` and return its exit code.

    Reads one row a line from standard input and writes one line for each: its outputs, or `error` with the
    field. What is there is predicted together, so that a pipe is answered at once and a file is quick.

    Returns
    -------
    int
        0; 3 when `--verify` finds other predictions; 4 when a row was refused or a file was changed.
    """
    parser = argparse.ArgumentParser(description="Predict for rows: JSON lines in, JSON lines out.")
    parser.add_argument("--contract", action="store_true", help="print what a row must have, as JSON")
    parser.add_argument("--verify", action="store_true", help="predict the holdout again and compare")
    parser.add_argument("--version", action="store_true", help="print the version and the bundle's id")
    options = parser.parse_args(arguments)
    if options.version:
        sys.stdout.write(f"{model.version} (bundle {model.bundle_id})\n")
        return 0
    try:
        model.load()
        if options.contract:
            _write([model.contract()])
        elif options.verify:
            _write([model.verify().to_dict()])
        else:
            return _stream(model)
    except Cd4mlError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def answer(model: Embedded, lines: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return one object a line: the outputs, or `error` (and `field`) for a line that is refused."""
    rows: list[Any] = []
    found: list[dict[str, Any]] = [{} for _ in lines]
    places = []
    for place, line in enumerate(lines):
        try:
            rows.append(json.loads(line))
            places.append(place)
        except (ValueError, RecursionError):
            found[place] = {"error": "expected a line of JSON", "field": ""}
    if rows:
        for place, made in zip(places, _predicted(model, rows), strict=True):
            found[place] = made
    return found


def _predicted(model: Embedded, rows: list[Any]) -> list[dict[str, Any]]:
    try:
        outputs = model.outputs(rows)
    except DataError as error:
        if len(rows) > 1:
            return [made for row in rows for made in _predicted(model, [row])]
        field = error.field if isinstance(error, RowError) else ""
        return [{"error": str(error).removeprefix("row 0: "), "field": field}]
    return [{name: float(values[i]) for name, values in outputs.items()} for i in range(len(rows))]


def _stream(model: Embedded) -> int:
    refused = False
    for lines in _blocks():
        found = answer(model, lines)
        refused = refused or any("error" in made for made in found)
        _write(found)
    return DataError.exit_code if refused else 0


def _blocks() -> Iterator[list[bytes]]:
    """Yield whole lines as they come; what was written at once comes together."""
    rest = b""
    while piece := os.read(sys.stdin.fileno(), _READ_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        if kept := [line for line in lines if line.strip()]:
            yield kept
    if rest.strip():
        yield [rest]


def _write(found: Sequence[dict[str, Any]]) -> None:
    sys.stdout.write("".join(json.dumps(made) + "\n" for made in found))
    sys.stdout.flush()
