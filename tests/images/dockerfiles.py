"""Reads Dockerfiles: instructions with their words, and stages."""

from __future__ import annotations

import json
import re
from pathlib import Path

__all__ = ["ROOT", "Instruction", "command", "environment", "instructions", "last_stage"]

ROOT = Path(__file__).parents[2]

Instruction = tuple[str, str]
"""Name and the rest, with continued lines joined."""


def instructions(kind: str) -> list[Instruction]:
    """Return the instructions of an image's Dockerfile, without comments."""
    text = (ROOT / f"images/{kind}/Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined]


def last_stage(kind: str) -> list[Instruction]:
    """Return the instructions after the last FROM."""
    found = instructions(kind)
    last = max(place for place, (name, _) in enumerate(found) if name == "FROM")
    return found[last + 1 :]


def command(kind: str) -> list[str]:
    """Return what the image runs by itself."""
    (found,) = [rest for name, rest in last_stage(kind) if name == "CMD"]
    words = json.loads(found)
    assert isinstance(words, list)
    return words


def environment(kind: str) -> dict[str, str]:
    """Return the variables that the image sets."""
    rests = [rest for name, rest in last_stage(kind) if name == "ENV"]
    return dict(word.split("=", 1) for rest in rests for word in rest.split())
