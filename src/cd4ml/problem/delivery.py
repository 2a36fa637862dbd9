"""How a new model of a problem takes over."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from cd4ml.problem.quantities import Model, Names

__all__ = ["Rollout"]

Percent = Annotated[float, Field(gt=0, le=100)]


class Rollout(Model):
    """Verified, shadowed, given a growing share of the requests, promoted or taken back by evidence."""

    strategy: Literal["canary", "blue_green"] = "canary"
    """`blue_green` gives it all requests at once after the shadow; the old version stays warm."""
    automatic: bool = True
    """Without it a person approves the promotion when all is proven."""
    sticky: str = Field("", pattern=r"^((header|cookie):[A-Za-z0-9!#$%&'*+.^_`|~-]+)?$")
    """`header:NAME` or `cookie:NAME`: equal values go to the same version. Empty: each request by chance."""
    mirror_percent: float = Field(100, gt=0, le=100)
    """Share of the requests of which the shadow gets a copy."""
    shadow_requests: int = Field(500, ge=0)
    """Least number of requests that the shadow answers; 0 leaves the shadow out."""
    canary_percent: list[Percent] = Field(default_factory=lambda: [5.0, 25.0, 50.0])
    """Growing shares of the requests that the canary answers, each until it is proven safe."""
    min_requests: int = Field(500, ge=1)
    """Least number of requests of both versions in each step."""
    alpha: float = Field(0.05, gt=0, lt=0.5)
    """Probability of taking back what is no worse, in a step, and of promoting what is worse by a margin."""
    max_error_ratio: float = Field(2.0, gt=1)
    """From so many times the errors of the stable version on, it is worse."""
    slow_seconds: float = Field(0.0, ge=0)
    """An answer that takes longer is slow; 0 takes the stable version's 99th percentile at the start."""
    negligible_fraction: float = Field(0.01, gt=0, lt=1)
    """Errors, or slow answers, that are certainly rarer than this fraction of the requests are no ground to
    hold a version back. Without it two versions that never fail could never be told to be equal."""
    max_slow_ratio: float = Field(2.0, gt=1)
    """From so many times the slow answers of the stable version on, it is worse."""
    loss_margin_fraction: float = Field(0.05, gt=0)
    """From so much more loss on labelled pairs of the shadow on, as a fraction, it is worse."""
    outcomes: Literal["watched", "required"] = "watched"
    """`required`: the shadow goes on only when outcomes show its loss to be within the margin. `watched`:
    outcomes that come can take it back, and it does not wait for them."""
    slices: Names = Field(default_factory=list)
    """Columns whose values are watched for harm one by one."""
    step_seconds: float = Field(86_400.0, ge=0)
    """Longest time of a step; 0 sets no end."""
    at_end: Literal["roll_back", "hold"] = "roll_back"
    """What happens when the time of a step is over and nothing is proven."""
    ready_seconds: float = Field(600.0, ge=0)
    """Longest time until the candidate is up; 0 waits for ever."""
    watch_seconds: float = Field(3600.0, ge=0)
    """How long the old version stays warm after the promotion, while late outcomes can still take it back."""

    @field_validator("canary_percent")
    @classmethod
    def _growing(cls, steps: list[float]) -> list[float]:
        if sorted(set(steps)) != steps:
            raise ValueError(f"expected shares that grow, such as [5, 25, 50]; found {steps}")
        return steps

    @property
    def canary_steps(self) -> tuple[float, ...]:
        """The shares of the canary, one a step; none where all requests move at once."""
        return tuple(self.canary_percent) if self.strategy == "canary" else ()
