"""The command blocks of all pages, and what is said of each on the line before it.

A fenced block is run by `make test-docs`, unless an HTML comment stands on the line before it:

- `<!-- not run: REASON -->`: it cannot be run here.
- `<!-- run by: tests/FILE.py -->`: another test runs it; that file names the page.
- `<!-- run until: TEXT -->`: it runs on until it is stopped; TEXT is what it prints when it is ready.
- `<!-- exit code: NUMBER -->`: it ends so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ELSEWHERE = {
    "README.md": "tests/test_readme.py",
    "docs/calling.md": "tests/serving/test_calling_docs.py",
}
"""Pages of which another test runs each block."""
MARKS = ("not run", "run by", "run until", "exit code")
SHELLS = ("sh", "bash", "console")
_OTHER_SHELLS = ("shell", "zsh", "fish", "terminal", "shell-session")
_COMMANDS = re.compile(
    r"(\$ |(\.venv/bin/)?(cd4ml|python3?|pip|make|kubectl|docker|podman|curl|git|uv|helm)\s)"
)
_FENCE = re.compile(r"^(\s*)(`{3,})\s*([\w-]*)")
_MARK = re.compile(r"^\s*<!-- ([a-z ]+): (.+) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block of commands.

    Attributes
    ----------
    page : str
        Path from the root.
    line : int
        Of its fence, from 1.
    mark, said : str
        One of `MARKS` and what follows it; "" for none.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    said: str = ""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        return f"{self.page}:{self.line}"

    @property
    def runs_here(self) -> bool:
        """Whether `make test-docs` runs it."""
        return self.mark not in ("not run", "run by") and self.page not in ELSEWHERE


def pages() -> list[str]:
    """Return all pages that tell people what to type, sorted."""
    found = [ROOT / "README.md"]
    for folder in ("docs", "components", "images", "manifests"):
        found += (ROOT / folder).rglob("*.md")
    return sorted(page.relative_to(ROOT).as_posix() for page in found)


def blocks(page: str, text: str | None = None) -> Iterator[Block]:
    """Yield the command blocks of a page, in their order."""
    lines = ((ROOT / page).read_text(encoding="utf-8") if text is None else text).splitlines()
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened:
            end = _end(lines, number, opened[2])
            inner = "\n".join(line.removeprefix(opened[1]) for line in lines[number + 1 : end])
            if opened[3] in (*SHELLS, *_OTHER_SHELLS) or (not opened[3] and _COMMANDS.match(inner)):
                mark = _MARK.match(lines[number - 1]) if number else None
                yield Block(page, number + 1, opened[3], inner, *(mark.groups() if mark else ("", "")))
            number = end
        number += 1


def _end(lines: list[str], start: int, fence: str) -> int:
    for number in range(start + 1, len(lines)):
        if lines[number].strip() == fence:
            return number
    raise ValueError(f"the fence of line {start + 1} is not closed")


def all_blocks() -> list[Block]:
    """Return the command blocks of all pages."""
    return [block for page in pages() for block in blocks(page)]
