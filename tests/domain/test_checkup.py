"""What is needed and does not work decides, and whether trying again may help."""

import pytest

from cd4ml.domain.checkup import Answer, Finding, fail, ok, skipped, summary, warn


def findings(*pairs: tuple[Answer, bool]) -> list[Finding]:
    return [
        Finding.of("area", str(place), answer, needed, 0.1) for place, (answer, needed) in enumerate(pairs)
    ]


AWAY = fail("nobody answers", exit_code=6)


@pytest.mark.parametrize(
    ("pairs", "blocking", "code"),
    [
        ([(ok("1"), True), (warn("slow"), True)], (), 0),
        ([(ok("1"), True), (fail("gone"), False), (skipped("no cluster"), False)], (), 0),
        ([(fail("gone"), True), (ok("1"), True)], ("area/0",), 2),
        ([(AWAY, True), (ok("1"), True)], ("area/0",), 6),
        ([(AWAY, True), (skipped("nobody answers"), True)], ("area/0", "area/1"), 6),
        ([(AWAY, True), (fail("gone"), True)], ("area/0", "area/1"), 2),
        ([(skipped("nobody said where"), True)], ("area/0",), 2),
        ([(AWAY, False), (fail("gone"), True)], ("area/1",), 2),
        ([], (), 0),
    ],
)
def test_only_what_is_needed_blocks_and_only_what_is_away_may_come_back(pairs, blocking, code) -> None:
    found = summary("laptop", findings(*pairs))
    assert (found.blocking, found.exit_code) == (blocking, code)
    assert all(one in found.sentence for one in blocking)


def test_a_use_that_needs_nothing_of_this_says_so() -> None:
    assert "nothing of this is needed" in summary("ci", findings((fail("x"), False))).sentence
    assert "all works" in summary("ci", findings((ok("x"), True))).sentence
