"""Tables, figures and sections of a page, and the templates that put them together."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from cd4ml.reports import formats

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = [
    "STATUS_SIGNS",
    "Cell",
    "Code",
    "Estimate",
    "Fact",
    "Figure",
    "Grid",
    "Section",
    "Status",
    "chips",
    "pairs",
    "render",
    "render_script",
]

_IDENTITY = re.compile("[0-9a-f]{32,128}")
STATUS_SIGNS = {"pass": "✓", "fail": "✗", "warn": "!", "skipped": "–"}


@dataclass(frozen=True)
class Status:
    """A table cell or chip that says a status by sign, word and colour."""

    word: str
    said: str = ""
    """Other words for the reader; the status' own by default."""

    @property
    def sign(self) -> str:
        """The sign before the word."""
        return STATUS_SIGNS.get(self.word, "·")

    @property
    def css(self) -> str:
        """The class of its colours; what somebody answers for is a warning."""
        return "warn" if self.word == "waived" else self.word if self.word in STATUS_SIGNS else "skipped"


@dataclass(frozen=True)
class Estimate:
    """A table cell with a number and, below it in small, its interval."""

    said: str
    interval: str = ""


@dataclass(frozen=True)
class Code:
    """A table cell with an id."""

    said: str


Cell = str | Status | Estimate | Code
"""What stands in a table; markup that a Canvas made is a str too."""


@dataclass(frozen=True)
class Fact:
    """One of the few numbers at the top of a page."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """An inline SVG below its title and a note; the table of its numbers is closed at first."""

    svg: Markup
    title: str
    note: str = ""
    table: Grid | None = None


@dataclass(frozen=True)
class Grid:
    """A table. Columns named in `plain` hold text (left), the others numbers (right).

    `folded` is the summary line of a table that is closed at first; a `stacked` one becomes a list of cards
    on a phone.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    plain: frozenset[str] = frozenset()
    folded: str = ""
    stacked: bool = False


@dataclass
class Section:
    """A part of a page with a heading; one without content says what is missing."""

    key: str
    title: str
    intro: list[str] = field(default_factory=list)
    status: Status | None = None
    equation: tuple[str, Status] | None = None
    figures: list[Figure] = field(default_factory=list)
    tables: list[Grid] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    outro: list[str] = field(default_factory=list)
    absent: str = ""
    part: str = ""
    side: bool = False
    """Whether the first table stands beside the last of an odd number of figures, where there is room."""

    @property
    def beside(self) -> Grid | None:
        """The table that stands beside the last figure."""
        return self.tables[0] if self.side and self.tables and len(self.figures) % 2 else None

    @property
    def loose(self) -> list[Grid]:
        """The tables below the figures."""
        return self.tables if self.beside is None else self.tables[1:]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (
            self.intro or self.equation or self.figures or self.tables or self.points or self.commands
        )


def pairs(caption: str, value: Mapping[str, Any] | None, *, folded: str = "") -> list[Grid]:
    """Return a table of the names and values of a nested mapping, or none; what is absent is left out."""
    named = [(name, item) for name, item in formats.flatten(value or {}) if item is not None and item != ""]
    rows: list[list[Cell]] = [[name, _value(item)] for name, item in named]
    head = ("name", "value")
    return [Grid(caption, head, rows, frozenset(head), folded)] if rows else []


def _value(item: object) -> Cell:
    return Code(item) if isinstance(item, str) and _IDENTITY.fullmatch(item) else formats.number(item)


def chips(statuses: Sequence[str]) -> list[str]:
    """Return "2 pass", "1 fail" ... in the order pass, fail, warn, skipped, others."""
    order = [*STATUS_SIGNS, *sorted({word for word in statuses if word not in STATUS_SIGNS})]
    return [f"{statuses.count(word)} {word}" for word in order if word in statuses]


def _breakable(text: str) -> Markup:
    """Return escaped text that may be broken after its colons and underscores."""
    from markupsafe import Markup, escape

    broken = Markup("<wbr>")
    parts = re.split("(?<=[:_])", text)
    return broken.join(escape(part) for part in parts)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Everything is escaped but what drawing.Canvas made; the names end in .html for no other reason.
    made = Environment(
        loader=PackageLoader("cd4ml.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.tests["status"] = lambda value: isinstance(value, Status)
    made.tests["estimate"] = lambda value: isinstance(value, Estimate)
    made.filters["breakable"] = _breakable
    made.tests["code"] = lambda value: isinstance(value, Code)
    return made


@cache
def _inline(*names: str) -> tuple[Markup, str]:
    """Return files of `templates/` as one text, and its hash for the page's Content-Security-Policy."""
    from markupsafe import Markup

    folder = resources.files("cd4ml.reports").joinpath("templates")
    text = "\n" + "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(text), digest  # noqa: S704 (files of this package)


def render(title: str, lead: Sequence[str], sections: Sequence[Section], **more: object) -> str:
    """Return a whole page of sections.

    Parameters
    ----------
    title, lead
        The heading and the lines below it.
    more
        `decision` (status, text) for the headline; `kicker`, a line above the title; `facts`, a sequence of
        Fact below the headline.
    """
    style, digest = _inline("style.css")
    values: dict[str, object] = {"decision": None, "kicker": "", "facts": (), **more}
    values |= {"style": style, "style_hash": digest}
    template = _environment().get_template("page.html")
    return template.render(title=title, lead=list(lead), sections=list(sections), **values)


def render_script(name: str, *, scripts: Sequence[str], data: str, **values: object) -> str:
    """Return the page of `name`.html and `name`.css that runs these scripts of `templates/`, and no others.

    Parameters
    ----------
    data : str
        JSON for the scripts; it is inert whatever it contains.
    values
        What the template asks for besides.
    """
    from markupsafe import Markup

    style, style_hash = _inline("style.css", f"{name}.css")
    script, script_hash = _inline(*scripts)
    inert = Markup(data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))  # noqa: S704 (no "<" is left to end the element)
    assets = {"style": style, "style_hash": style_hash, "script": script, "script_hash": script_hash}
    return _environment().get_template(f"{name}.html").render(**assets, data=inert, **values)
