"""What a champion does to the runs after it: equal passes, worse is rejected, unreadable fails closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.loop.small_shop import command, registered, run, write_shop

pytestmark = [pytest.mark.loop, pytest.mark.timeout(600), pytest.mark.xdist_group("champions")]


def _gates(out: Path) -> dict[str, dict]:
    verdict = json.loads((out / "verdict.json").read_text(encoding="utf-8"))
    return {gate["name"]: gate for gate in verdict["gates"]}


def _problem(shop: Path, *changes: tuple[str, str]) -> None:
    text = (shop / "problem.yaml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (shop / "problem.yaml").write_text(text)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """A shop and a store whose first version is the champion."""
    place = tmp_path_factory.mktemp("champions")
    shop = write_shop(place / "shop")
    done = run(shop, place / "out", place / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert _gates(place / "out")["champion"]["status"] == "skipped"
    assert "first release" in _gates(place / "out")["champion"]["reason"]
    moved = command("models", "alias", "small-shop@1", "champion", store=place / "store")
    assert moved.returncode == 0, moved.stderr
    return shop, place / "store"


def test_an_equal_challenger_is_accepted_and_told_to_be_compared(released, tmp_path):
    shop, store = released
    done = run(shop, tmp_path / "out", store)
    assert done.returncode == 0, done.stdout + done.stderr
    gates = _gates(tmp_path / "out")
    assert gates["champion"]["status"] == "pass"
    assert gates["ratchet:mae"]["status"] == "pass"
    assert gates["ratchet:mae"]["measured"] == pytest.approx(1)
    assert [one["version"] for one in registered(store)] == [1]
    # Nobody told it of a last run: it differs from the champion in nothing.
    assert json.loads((tmp_path / "out/verdict.json").read_text())["changed"] == []


def test_a_worse_challenger_is_rejected_though_it_beats_its_baseline(released, tmp_path):
    shop, store = released
    worse = write_shop(tmp_path / "shop")
    (worse / "sales.csv").write_bytes((shop / "sales.csv").read_bytes())
    _problem(
        worse,
        ("parameters: {max_iter: 20}", "parameters: {max_iter: 2}"),
        ("  - {name: linear, family: ridge, search: {alpha: [1.0, 10.0]}, tries: 2}\n", ""),
        ("baseline_margin_fraction: 0.02", "baseline_margin_fraction: -5"),
    )
    done = run(worse, tmp_path / "out", store)
    gates = _gates(tmp_path / "out")
    assert done.returncode == 3, done.stdout
    assert gates["ratchet:mae"]["status"] == "fail"
    assert json.loads((tmp_path / "out/verdict.json").read_text())["changed"] == ["code", "model"]
    assert "the champion's" in gates["ratchet:mae"]["reason"]
    assert [one["version"] for one in registered(store)] == [1]


def test_a_champion_that_cannot_be_read_fails_closed(tmp_path):
    shop, store = write_shop(tmp_path / "shop"), tmp_path / "store"
    assert run(shop, tmp_path / "first", store).returncode == 0
    assert command("models", "alias", "small-shop@1", "champion", store=store).returncode == 0
    (model,) = store.rglob("model.onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    done = run(shop, tmp_path / "second", store)
    assert done.returncode == 3, done.stdout + done.stderr
    gate = _gates(tmp_path / "second")["champion"]
    assert gate["status"] == "fail"
    assert "cannot be compared with" in gate["reason"]
