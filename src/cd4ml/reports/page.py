"""Tables, figures and sections of a page, and the templates that put them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from cd4ml.reports import formats

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["STATUS_SIGNS", "Figure", "Grid", "Section", "Status", "chips", "pairs", "render"]

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


@dataclass(frozen=True)
class Figure:
    """An inline SVG with its caption."""

    svg: Markup
    caption: str


@dataclass(frozen=True)
class Grid:
    """A table. Columns named in `plain` hold text (left), the others numbers (right).

    `folded` is the summary line of a table that is closed at first; a `stacked` one becomes a list of cards
    on a phone.
    """

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Status]]
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
    absent: str = ""
    part: str = ""
    side: bool = False
    """Whether the first table stands beside a single figure, where there is room."""

    @property
    def beside(self) -> Grid | None:
        """The table that stands beside a single figure."""
        return self.tables[0] if self.side and self.tables and len(self.figures) == 1 else None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (
            self.intro or self.equation or self.figures or self.tables or self.points or self.commands
        )


def pairs(caption: str, value: Mapping[str, Any] | None, *, folded: str = "") -> list[Grid]:
    """Return a table of the names and values of a nested mapping, or none when it is empty."""
    rows = [[name, formats.number(item)] for name, item in formats.flatten(value or {})]
    head = ("name", "value")
    return [Grid(caption, head, rows, frozenset(head), folded)] if rows else []


def chips(statuses: Sequence[str]) -> list[str]:
    """Return "2 pass", "1 fail" ... in the order pass, fail, warn, skipped, others."""
    order = [*STATUS_SIGNS, *sorted({word for word in statuses if word not in STATUS_SIGNS})]
    return [f"{statuses.count(word)} {word}" for word in order if word in statuses]


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
    return made


def render(title: str, lead: Sequence[str], sections: Sequence[Section], **more: object) -> str:
    """Return a whole page of sections.

    Parameters
    ----------
    title, lead
        The heading and the lines below it.
    more
        `decision` (status word, text) for the headline; `kicker`, a line above the title.
    """
    values: dict[str, object] = {"decision": None, "kicker": "", **more}
    template = _environment().get_template("page.html")
    return template.render(title=title, lead=list(lead), sections=list(sections), **values)
