"""Logs of simulated traffic, in the formats of the gateway and of the model servers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters.outcome_log import Outcome, OutcomeLog
from cd4ml.delivery.evidence.local import LocalEvidence, outcomes_folder
from cd4ml.delivery.evidence.losses import Quality
from cd4ml.delivery.evidence.source import Collected
from cd4ml.domain.rollout.state import Phase, Rollout, Target
from cd4ml.domain.sequential.verdict import Evidence, Judgement, Rules, judge
from cd4ml.problem import Rollout as Policy
from cd4ml.serving.events import PredictionEvent

SERVICE = "shop"
BEGAN = 1_000_000.0
STABLE, CANDIDATE = Target("shop@1", "1", "b1"), Target("shop@2", "2", "b2")
VERSIONS = {"stable": "1", "canary": "2", "shadow": "2"}


def rollout(phase: Phase = Phase.CANARY, step: int = 0, began: float = BEGAN, name: str = "r1") -> Rollout:
    return Rollout(name, SERVICE, CANDIDATE, STABLE, phase, step, converged_at_seconds=began)


def policy(**more: Any) -> Policy:
    return Policy(**{"canary_percent": [50.0], "min_requests": 100, **more})


def judged(found: Collected, wanted: Policy, least: int = 100) -> Judgement:
    return judge(found.evidence, Rules(wanted.alpha, least), 0.0)


def named(found: Collected, name: str) -> Evidence:
    exact = [one for one in found.evidence if one.name == name]
    [one] = exact or [one for one in found.evidence if one.name.startswith(name)]
    return one


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass
class Traffic:
    """Writes the logs of a plane in `root`."""

    root: Path
    at: float = BEGAN + 1
    number: int = 0
    lines: list[str] = field(default_factory=list)
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))

    @property
    def access(self) -> Path:
        return self.root / "logs" / "access.jsonl"

    def source(self, quality: Quality | None = None) -> LocalEvidence:
        return LocalEvidence(self.root, quality)

    def request(self, variant: str = "stable", status: int = 200, seconds: float = 0.01, **more: Any) -> str:
        """Log one request 10 ms after the one before; return its id."""
        self.number += 1
        self.at += 0.01
        name = more.pop("id", f"q{self.number}")
        version = "" if status in (0, 503, 504) else VERSIONS[variant]
        line = {
            "time": _stamp(more.pop("at", self.at)),
            "id": name,
            "request_id": name,
            "method": "POST",
            "path": f"/v1/models/{SERVICE}:predict",
            "status": status,
            "details": "via_upstream",
            "flags": None,
            "cluster": f"{SERVICE}|{variant}",
            "route": None,
            "unit": None,
            "variant": variant if version else None,
            "version": version or None,
            "attempts": 1,
            "milliseconds": seconds * 1000,
            **more,
        }
        self.lines.append(json.dumps(line) + "\n")
        return name

    def event(
        self,
        name: str,
        variant: str,
        values: list[float],
        inputs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Write the prediction event of a request."""
        version = more.pop("version", VERSIONS[variant])
        rows = [dict(inputs or {"city": "Quito"}) for _ in values]
        at = more.pop("at", self.at)
        event = PredictionEvent(name, SERVICE, version, variant, "v1", rows, {"prediction": values}, at)
        self._append(self.root / "events" / SERVICE / variant / "events-1.open", "".join(event.lines()))

    def both(self, variant: str = "stable", values: float = 1.0, **more: Any) -> str:
        """Log a request and its event."""
        name = self.request(variant, **more)
        if more.get("status", 200) == 200:
            self.event(name, variant, [values])
        return name

    def failure(self, name: str, status: int) -> None:
        """Write what the shadow's server says of a prediction that failed."""
        said = {"message": "prediction", "request_id": name, "status": status, "time": _stamp(self.at)}
        self._append(self.root / "logs" / f"{SERVICE}.shadow.log", json.dumps(said) + "\nINFO other\n")

    def outcomes(self, *found: Outcome, at: float | None = None) -> None:
        OutcomeLog(outcomes_folder(self.root, SERVICE)).append(found, self.at if at is None else at)

    def flush(self) -> None:
        self._append(self.access, "".join(self.lines))
        self.lines.clear()

    @staticmethod
    def _append(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)

    def look(self, source: LocalEvidence, wanted: Policy, step: Rollout | None = None) -> Collected:
        """Flush, and collect a minute after the last request."""
        self.flush()
        return source.collect(step or rollout(), wanted, self.at + 60)

    def canary(self, count: int, share: float = 0.5, **rates: Any) -> None:
        """Log requests with rates of `errors`, `slow`, `refused` of (stable, canary)."""
        arms = self.rng.random(count) < share
        draws = self.rng.random((count, 3))
        for arm, (failed, late, refuse) in zip(arms.tolist(), draws.tolist(), strict=True):
            none = (0.0, 0.0)
            status = 500 if failed < rates.get("errors", none)[arm] else 200
            status = 400 if refuse < rates.get("refused", none)[arm] else status
            seconds = 0.5 if late < rates.get("slow", (0.01, 0.01))[arm] else 0.01
            self.both("canary" if arm else "stable", status=status, seconds=seconds)
