from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.delivery.plane import DesiredService, ObservedService, ObservedVariant, Variant
from cd4ml.errors import IntegrityError, UsageError

A, B = Variant("m@1", "1", "a" * 64, "/a"), Variant("m@2", "2", "b" * 64, "/b")


@pytest.mark.parametrize("percent", [-0.01, 100.01, 0.005, float("nan"), float("inf")])
def test_a_share_is_a_percentage_in_hundredths(percent: float) -> None:
    with pytest.raises(UsageError, match=r"steps of 0\.01"):
        DesiredService("m", A, canary=B, canary_percent=percent)
    with pytest.raises(UsageError, match=r"steps of 0\.01"):
        DesiredService("m", A, shadow=B, mirror_percent=percent)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=50)
def test_each_hundredth_is_a_share(hundredths: int) -> None:
    found = DesiredService("m", A, canary=B, canary_percent=hundredths / 100)
    assert round(found.canary_percent * 100) == hundredths


def test_a_share_needs_somebody_who_gets_it() -> None:
    with pytest.raises(UsageError, match="the canary of 'm' shall get 10 %"):
        DesiredService("m", A, canary_percent=10)
    with pytest.raises(UsageError, match="the shadow of 'm'"):
        DesiredService("m", A, mirror_percent=1)


@pytest.mark.parametrize("sticky", ["user", "header:", "body:id", "cookie:a b", "cookie:a;b", "header:é"])
def test_stickiness_names_a_header_or_a_cookie(sticky: str) -> None:
    with pytest.raises(UsageError, match="header:NAME"):
        DesiredService("m", A, sticky=sticky)


def test_states_come_back_from_json_as_they_were() -> None:
    wanted = DesiredService("m", A, B, None, 12.34, 0.0, "cookie:who", "salt")
    assert DesiredService.from_dict(wanted.to_dict()) == wanted
    assert list(wanted.variants) == ["stable", "canary"]
    seen = ObservedService(
        "m", 3, True, "http://x", 1.0, 2.0, (ObservedVariant("stable", restarts=2),), ("p",)
    )
    assert ObservedService.from_dict(seen.to_dict()) == seen
    assert seen.variant("stable") == ObservedVariant("stable", restarts=2)
    assert seen.variant("canary") is None


@pytest.mark.parametrize(
    "document", [{}, {"service": "m"}, {"service": "m", "stable": {"x": 1}}, {"other": 1}]
)
def test_what_is_no_state_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError):
        DesiredService.from_dict(document)
