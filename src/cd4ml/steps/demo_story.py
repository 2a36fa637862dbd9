"""What the demonstration is to come to, what it came to, and what an independent log says of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cd4ml.domain.rollout.state import Rollout
    from cd4ml.steps.demo_shop import Shop

__all__ = ["CASES", "Case", "Share", "Story", "Told", "shares", "told_by"]

_CHANCE_DEVIATIONS = 5.0


@dataclass(frozen=True)
class Case:
    """A model that is rolled out, and what has to become of it.

    Attributes
    ----------
    phase : str
        How its rollout has to end.
    stopped_in : str
        The phase out of which it is to be taken back; "" for one that is promoted.
    because : str
        What the reason of the last decision has to begin with.
    most_percent : float
        Share of the requests that the policy lets it have before it is known; 100 for one that is promoted.
    told : str
        What is wrong with it, and why nothing before the rollout saw that. {store}, {item} and {percent} are
        filled in.
    forced : str
        The reason with which it was forced past the judge; "" for one that he let through.
    copied : str
        The model of which it is a copy; "" for one that is trained.
    policy : mapping
        What differs from the problem's policy.
    quick : bool
        Whether the short demonstration has it.
    """

    name: str
    title: str
    phase: str
    stopped_in: str
    because: str
    most_percent: float
    told: str
    forced: str = ""
    copied: str = ""
    policy: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False

    @property
    def trained_as(self) -> str:
        """The model that has to be trained for it."""
        return self.copied or self.name

    def of(self, shop: Shop) -> Case:
        """Return it with what it tells filled in for a shop."""
        known = {
            "store": shop.damaged_store,
            "item": shop.rare_item,
            "percent": f"{100 * shop.rare_fraction:.1f}",
        }
        return replace(self, told=self.told.format(**known), because=self.because.format(**known))


CASES = (
    Case(
        "better",
        "better",
        "promoted",
        "",
        "watched",
        100.0,
        "More trees on the same data. The judge found it better on the holdout.",
        quick=True,
    ),
    Case(
        "slice",
        "worse for one shop",
        "rolled_back",
        "shadow",
        "squared log error",
        0.0,
        "The export of its data wrote down 45 % too little for shop {store} since some weeks. The holdout is"
        " of the same export, so that the judge found nothing. What the tills say later does.",
        policy={"shadow_requests": 2000},
    ),
    Case(
        "slow",
        "slow",
        "rolled_back",
        "canary",
        "slow answers",
        5.0,
        "A new export of the champion by hand: the same answers, quick for one row, 0.1 s for several. The"
        " verification asks for rows one by one and in few large batches. It was pushed past the judge with"
        " --force; its owner left the shadow out, as the model is the same.",
        forced="the same model, only exported anew",
        copied="better",
        policy={"shadow_requests": 0, "canary_percent": [5.0, 50.0]},
        quick=True,
    ),
    Case(
        "rare",
        "fails on rare input",
        "rolled_back",
        "shadow",
        "requests the shadow refused",
        0.0,
        "Its data lack product {item}, and it refuses what it does not know. The judge rejected it, because"
        " callers may send that product; it was forced past him. {percent} % of the requests ask for it.",
        forced="the product is no longer sold",
    ),
)


@dataclass(frozen=True)
class Share:
    """What an independent log says of a version between two times."""

    requests: int
    answered: int
    most: float

    @property
    def kept(self) -> bool:
        """Whether it had no more than the policy and chance allow."""
        return self.answered <= self.most


@dataclass(frozen=True)
class Told:
    """A rollout as it went.

    Attributes
    ----------
    began, ended : float
        Seconds since 1970.
    history, trail : list of dict
        Its decisions, and the evidence as it grew.
    setting : str
        What is wrong with the model.
    differs : tuple of str
        What is not as it was expected.
    """

    name: str
    title: str
    candidate: str
    stable: str
    phase: str
    began: float
    ended: float
    alpha: float
    most_percent: float
    history: list[dict[str, Any]]
    trail: list[dict[str, Any]]
    setting: str
    differs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """All of it.

    Attributes
    ----------
    traffic : str
        The log of the callers.
    """

    seed: int
    seconds: float
    rollouts: tuple[Told, ...]
    traffic: str

    @property
    def differs(self) -> tuple[str, ...]:
        """What is not as it was expected, one line each; the log of the callers is asked as well."""
        found = [f"{one.name}: {what}" for one in self.rollouts for what in one.differs]
        for one in self.rollouts:
            share = shares(Path(self.traffic), one)
            if not share.kept:
                found.append(
                    f"{one.name}: {share.answered} of {share.requests} requests were answered by version"
                    f" {one.candidate}; at most {share.most:.0f} were allowed"
                )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON knows it, with what the callers saw each second."""
        differs = list(self.differs)
        found = asdict(self) | {"differs": differs, "as_expected": not differs}
        for one, told in zip(found["rollouts"], self.rollouts, strict=True):
            one["share"] = asdict(shares(Path(self.traffic), told))
        found["seconds_of_traffic"] = _each_second(Path(self.traffic))
        return found


def told_by(
    case: Case, rollout: Rollout, policy: Mapping[str, Any], trail: Sequence[dict[str, Any]], now: float
) -> Told:
    """Return how a rollout went, held against what was expected."""
    history = [{**asdict(entry), "phase": str(entry.phase)} for entry in rollout.history]
    return Told(
        name=case.name,
        title=case.title,
        candidate=rollout.candidate.version,
        stable=rollout.stable.version,
        phase=str(rollout.phase),
        began=history[0]["at_seconds"],
        ended=now,
        alpha=float(policy["alpha"]),
        most_percent=case.most_percent,
        history=history,
        trail=list(trail),
        setting=case.told,
        differs=tuple(_differences(case, history)),
    )


def _differences(case: Case, history: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    last = history[-1]
    if last["phase"] != case.phase:
        yield f"ended as '{last['phase']}', expected '{case.phase}' ({'; '.join(last['reasons'])})"
        return
    before = history[-2]["phase"] if len(history) > 1 else ""
    if case.stopped_in and before != case.stopped_in:
        yield f"was stopped in phase '{before}', expected '{case.stopped_in}'"
    if not any(reason.startswith(case.because) for reason in last["reasons"]):
        yield f"ended because of '{'; '.join(last['reasons'])}', expected '{case.because}'"


def shares(traffic: Path, told: Told) -> Share:
    """Return how many requests a candidate answered in its rollout, and how many it might have."""
    lines = [one for one in _lines(traffic) if told.began <= one["at"] <= told.ended and one["status"]]
    answered = sum(one["version"] == told.candidate for one in lines)
    share, count = told.most_percent / 100, len(lines)
    most = share * count + _CHANCE_DEVIATIONS * sqrt(count * share * (1 - share))
    return Share(count, answered, most)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _each_second(path: Path) -> list[dict[str, Any]]:
    """Return, for each second, how many answers each version gave, and how many of them were errors."""
    found: dict[int, dict[str, Any]] = {}
    for line in _lines(path):
        second = found.setdefault(int(line["at"]), {"at": int(line["at"]), "versions": {}, "errors": 0})
        version = line["version"] or "none"
        second["versions"][version] = second["versions"].get(version, 0) + 1
        second["errors"] += line["status"] != 200
    return [found[at] for at in sorted(found)]
