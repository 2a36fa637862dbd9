"""What a command prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TextIO

__all__ = ["emit", "note"]


def emit(value: object, as_json: bool, lines: Iterable[str] = ()) -> bool:
    """Print `value` as JSON, or `lines` for people, on stdout; return whether there is still a reader."""
    if as_json:
        lines = [json.dumps(value, indent=2, sort_keys=True, default=str)]
    try:
        for line in lines:
            _write(sys.stdout, line)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 (until the end)
        return False
    return True


def note(text: str) -> None:
    """Print a remark about progress on stderr."""
    _write(sys.stderr, text)
    sys.stderr.flush()


def _write(stream: TextIO, line: str) -> None:
    """Write a line; what the terminal's encoding lacks becomes "?"."""
    encoding = stream.encoding or "utf-8"
    stream.write(line.encode(encoding, "replace").decode(encoding) + "\n")
