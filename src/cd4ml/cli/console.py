"""What a command prints: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable

__all__ = ["emit", "note"]


def emit(value: object, as_json: bool, lines: Iterable[str] = ()) -> None:
    """Print `value` as JSON, or `lines` for people, on stdout."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a remark about progress on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
