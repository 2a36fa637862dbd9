"""The part of the Common Expression Language that validation rules of the definitions use.

A rule is parsed once into nested functions of the environment and kept. What this part does not know raises
CelError, so that a rule is never taken for granted.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

__all__ = ["CelError", "holds"]

Node = Callable[[Mapping[str, Any]], Any]
_TOKENS = re.compile(
    r'\s*(?:(?P<raw>r"""(?:.|\n)*?"""|r"[^"]*"|r\'[^\']*\')|(?P<text>"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\')'
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%!<>?:.,()\[\]{}]))"
)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_LEVELS: list[dict[str, Callable[[Any, Any], Any]]] = [
    {"==": operator.eq, "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "<": operator.lt,
     ">": operator.gt, "in": lambda item, many: item in many},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv, "%": operator.mod},
]  # fmt: skip


class CelError(Exception):
    """A rule that this part of the language cannot read or evaluate."""


def holds(rule: str, self_value: Any, old_value: Any = None) -> bool:
    """Whether the rule is true of a value; raises CelError."""
    try:
        return bool(_parsed(rule)({"self": self_value, "oldSelf": old_value}))
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise CelError(f"{type(error).__name__}: {error}") from error


@cache
def _parsed(rule: str) -> Node:
    parser = _Parser(_tokens(rule))
    node = parser.ternary()
    if parser.peek() != "":
        raise CelError(f"'{parser.peek()}' is not understood in: {rule}")
    return node


def _tokens(rule: str) -> list[tuple[str, str]]:
    found, place, rule = [], 0, rule.rstrip()
    while place < len(rule):
        match = _TOKENS.match(rule, place)
        if match is None:
            raise CelError(f"cannot read: {rule[place:]}")
        found.append((str(match.lastgroup), match.group(str(match.lastgroup))))
        place = match.end()
    return found


def _seconds(text: str) -> float:
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+-"):
        raise CelError(f"no duration: {text}")
    return (-1 if text.startswith("-") else 1) * sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _is_url(text: str) -> bool:
    parts = urlsplit(text)
    return bool(parts.scheme) and (bool(parts.netloc) or parts.path.startswith("/"))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "size": len,
    "int": int,
    "string": str,
    "duration": _seconds,
    "isURL": _is_url,
    "url": urlsplit,
}
_METHODS: dict[str, Callable[..., Any]] = {
    "size": len,
    "contains": lambda text, part: part in text,
    "startsWith": lambda text, part: text.startswith(part),
    "endsWith": lambda text, part: text.endswith(part),
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "split": lambda text, by: text.split(by),
    "substring": lambda text, start, end=None: text[start:end],
    "lowerAscii": lambda text: text.lower(),
    "getScheme": lambda parts: parts.scheme,
    "getHost": lambda parts: parts.netloc,
}
_MACROS: dict[str, Callable[[list[tuple[Any, Any]]], Any]] = {
    "all": lambda pairs: all(result for _, result in pairs),
    "exists": lambda pairs: any(result for _, result in pairs),
    "exists_one": lambda pairs: sum(bool(result) for _, result in pairs) == 1,
    "filter": lambda pairs: [item for item, result in pairs if result],
    "map": lambda pairs: [result for _, result in pairs],
}


def _field_name(name: str) -> str:
    """Reserved words are written with underscores around them: __namespace__."""
    found = re.fullmatch(r"__(.+)__", name)
    return found[1] if found else name


class _Parser:
    """Precedence climbing over the tokens of one rule."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0

    def peek(self) -> str:
        if self._place >= len(self._tokens):
            return ""
        kind, text = self._tokens[self._place]
        return text if kind in ("sign", "name") else f"<{kind}>"

    def _take(self) -> tuple[str, str]:
        if self._place >= len(self._tokens):
            raise CelError("the rule ends too soon")
        self._place += 1
        return self._tokens[self._place - 1]

    def _eat(self, text: str) -> bool:
        if self.peek() != text:
            return False
        self._place += 1
        return True

    def _need(self, text: str) -> None:
        if not self._eat(text):
            raise CelError(f"expected '{text}', found '{self.peek()}'")

    def ternary(self) -> Node:
        test = self._either()
        if not self._eat("?"):
            return test
        yes = self.ternary()
        self._need(":")
        no = self.ternary()
        return lambda env: yes(env) if test(env) else no(env)

    def _either(self) -> Node:
        node = self._both()
        while self._eat("||"):
            node = _or(node, self._both())
        return node

    def _both(self) -> Node:
        node = self._level(0)
        while self._eat("&&"):
            node = _and(node, self._level(0))
        return node

    def _level(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self._unary()
        node = self._level(level + 1)
        while (sign := self.peek()) in _LEVELS[level]:
            self._place += 1
            node = _binary(_LEVELS[level][sign], node, self._level(level + 1))
        return node

    def _unary(self) -> Node:
        if self._eat("!"):
            inner = self._unary()
            return lambda env: not inner(env)
        if self._eat("-"):
            inner = self._unary()
            return lambda env: -inner(env)
        return self._members(self._primary())

    def _members(self, node: Node) -> Node:
        while True:
            if self._eat("."):
                node = self._member(node, self._take()[1])
            elif self._eat("["):
                index = self.ternary()
                self._need("]")
                node = _binary(operator.getitem, node, index)
            else:
                return node

    def _member(self, node: Node, name: str) -> Node:
        if not self._eat("("):
            return _select(node, _field_name(name))
        if name in _MACROS:
            variable = self._take()[1]
            self._need(",")
            body = self.ternary()
            self._need(")")
            return _macro(_MACROS[name], node, variable, body)
        if name not in _METHODS:
            raise CelError(f"unknown method {name}")
        return _call(_METHODS[name], [node, *self._list(")")])

    def _list(self, end: str) -> list[Node]:
        found: list[Node] = []
        while not self._eat(end):
            found.append(self.ternary())
            if self.peek() != end:
                self._need(",")
        return found

    def _primary(self) -> Node:
        kind, text = self._take()
        if kind in ("raw", "text", "number"):
            value = _literal(kind, text)
            return lambda env: value
        if kind == "name":
            return self._named(text)
        if text == "(":
            node = self.ternary()
            self._need(")")
            return node
        if text == "[":
            items = self._list("]")
            return lambda env: [item(env) for item in items]
        if text == "{" and self._eat("}"):
            return lambda env: {}
        raise CelError(f"unexpected '{text}'")

    def _named(self, name: str) -> Node:
        if name in ("true", "false", "null"):
            value = {"true": True, "false": False, "null": None}[name]
            return lambda env: value
        if not self._eat("("):
            return lambda env: env[name]
        if name == "has":
            return self._has()
        if name not in _FUNCTIONS:
            raise CelError(f"unknown function {name}")
        return _call(_FUNCTIONS[name], self._list(")"))

    def _has(self) -> Node:
        """`has(a.b[0].c)`: whether the last field is there; what stands before it must be."""
        node, last = self._primary(), ""
        while self.peek() in (".", "["):
            node = _select(node, last) if last else node
            if self._eat("["):
                node, last = _binary(operator.getitem, node, self.ternary()), ""
                self._need("]")
            elif self._eat("."):
                last = _field_name(self._take()[1])
        self._need(")")
        if not last:
            raise CelError("has() needs a field")
        return lambda env: last in node(env)


def _literal(kind: str, text: str) -> Any:
    if kind == "number":
        return float(text) if "." in text else int(text)
    if kind == "raw":
        return text[4:-3] if text.startswith('r"""') else text[2:-1]
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _or(left: Node, right: Node) -> Node:
    return lambda env: bool(left(env)) or bool(right(env))


def _and(left: Node, right: Node) -> Node:
    return lambda env: bool(left(env)) and bool(right(env))


def _binary(function: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    return lambda env: function(left(env), right(env))


def _select(node: Node, name: str) -> Node:
    return lambda env: node(env)[name]


def _call(function: Callable[..., Any], arguments: list[Node]) -> Node:
    return lambda env: function(*(argument(env) for argument in arguments))


def _macro(fold: Callable[[list[tuple[Any, Any]]], Any], node: Node, variable: str, body: Node) -> Node:
    return lambda env: fold([(item, body({**env, variable: item})) for item in node(env)])
