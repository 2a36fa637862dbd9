"""HTML and SVG as values: what is no Markup is escaped, so that text from outside stays text."""

from __future__ import annotations

from html import escape

__all__ = ["Content", "Markup", "join", "tag"]

_VOID = frozenset({"meta", "link", "input", "br", "hr"})


class Markup(str):
    """Text that is markup already; only `tag` and `join` make it."""

    __slots__ = ()


Content = str | None
"""Text, markup, or nothing."""
Attribute = str | int | float | bool | None


def join(*parts: Content) -> Markup:
    """Return the parts as one; text is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts if part))


def tag(name: str, /, *children: Content, **attributes: Attribute) -> Markup:
    """Return an element.

    Parameters
    ----------
    **attributes
        `class_` is class, `aria_label` is aria-label; True gives the name alone, False and None nothing.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
