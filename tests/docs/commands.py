"""The `cd4ml` commands that pages tell people to type, held against the commands that there are."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

_OURS = re.compile(r"(?:^|[;&|(])\s*(?:\w+=\S*\s+)*(?:\.venv/bin/)?cd4ml(?=\s)")
_ENDS = ("|", ">", ">>", "<", "&&", "||", "&", ";", ")")


@cache
def _app() -> Any:
    import typer.main

    from cd4ml.cli.main import NOUNS, build

    return typer.main.get_command(build(list(NOUNS)))


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each call of cd4ml in a script, without `cd4ml` itself."""
    for line in text.replace("\\\n", " ").splitlines():
        for found in _OURS.finditer(line):
            lexer = shlex.shlex(line[found.end() :], posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            try:
                for word in lexer:
                    if word in _ENDS:
                        break
                    words.append(word)
            except ValueError:  # a quotation that ends outside of the call
                pass
            yield words


def complaint(words: list[str]) -> str:
    """Return what is wrong with a call; "" when the command and its options exist."""
    command, said = _app(), "cd4ml"
    rest = [word for word in words if word != "--debug"]
    while rest and hasattr(command, "commands"):
        if rest[0].startswith("-"):
            return "" if rest[0] in ("--help", "--version") else f"'{said}' has no option {rest[0]}"
        if rest[0] not in command.commands:
            if said != "cd4ml serve":
                return f"'{said}' has no command '{rest[0]}'"
            command = command.commands["start"]
            break
        said, command = f"{said} {rest[0]}", command.commands[rest[0]]
        rest = rest[1:]
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)} | {"--help"}
    for word in rest:
        option = word.split("=")[0]
        if re.match(r"--?[a-z]", option) and option not in known:
            return f"'{said}' has no option {option}"
    return ""
