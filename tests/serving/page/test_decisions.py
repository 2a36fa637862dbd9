"""The log of decisions: one line each, never two, whole after a crash."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cd4ml.errors import ServiceError
from cd4ml.serving.page.decisions import FILE, AlreadyDecided, Decision, DecisionLog


def decision(identity: str = "a", **more: object) -> Decision:
    made = Decision(
        identity, "shop", "3", "stable", {"store": "östlich"}, {"prediction": 2.0}, "accepted", 2.0
    )
    return replace(made, **more)  # type: ignore[arg-type]


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / FILE).read_bytes().splitlines()]


def test_a_decision_is_written_once(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    assert log.record(decision()) is True
    assert log.record(decision(time="later")) is False
    assert len(lines(tmp_path)) == 1 and log.find("a") == decision(time=lines(tmp_path)[0]["time"])
    assert log.find("b") is None


def test_another_decision_of_the_same_forecast_is_refused_and_tells_the_first(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    log.record(decision())
    with pytest.raises(AlreadyDecided, match="was accepted") as refused:
        log.record(decision(decision="overridden", value=3.0))
    assert refused.value.first.value == 2.0 and len(lines(tmp_path)) == 1


def test_a_log_that_is_opened_again_goes_on(tmp_path: Path) -> None:
    DecisionLog(tmp_path).record(decision("a"))
    again = DecisionLog(tmp_path)
    assert again.record(decision("a")) is False and again.record(decision("b")) is True
    assert [line["id"] for line in lines(tmp_path)] == ["a", "b"]


def test_two_that_are_open_at_once_know_each_others_decisions(tmp_path: Path) -> None:
    first, second = DecisionLog(tmp_path), DecisionLog(tmp_path)
    first.record(decision("a"))
    assert second.record(decision("a")) is False
    assert second.find("a") is not None and first.record(decision("b"))
    assert second.find("b") is not None


def test_many_at_once_write_each_decision_once(tmp_path: Path) -> None:
    logs = [DecisionLog(tmp_path) for _ in range(4)]
    written: list[bool] = []

    def work(log: DecisionLog) -> None:
        written.extend(log.record(decision(str(number))) for number in range(20))

    threads = [threading.Thread(target=work, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(written) == 20 and sorted(int(str(line["id"])) for line in lines(tmp_path)) == list(range(20))


def test_a_line_that_was_cut_off_by_a_crash_goes_away_and_can_be_written_again(tmp_path: Path) -> None:
    DecisionLog(tmp_path).record(decision("a"))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + decision("b").line()[:-9])

    log = DecisionLog(tmp_path)
    assert log.find("b") is None and (tmp_path / FILE).read_bytes() == whole
    assert log.record(decision("b")) and len(lines(tmp_path)) == 2


def test_lines_of_another_hand_decide_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"id": "a"}\nno json\n[]\n')
    log = DecisionLog(tmp_path)
    assert log.find("a") is None and log.record(decision("a"))


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="expected a folder for decisions"):
        DecisionLog(tmp_path / "file" / "log")


def test_a_full_disk_is_told_and_nothing_counts_as_decided(tmp_path: Path) -> None:
    (tmp_path / FILE).symlink_to("/dev/full")
    log = DecisionLog(tmp_path)
    with pytest.raises(ServiceError, match="could not be written"):
        log.record(decision())
    assert log.find("a") is None
