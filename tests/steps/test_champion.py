"""The champion is read from its alias, scored on the challenger's rows, and beaten, equalled or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from cd4ml.domain.judge import decide
from cd4ml.domain.ratchet_gates import Ratchet, ratchet_gates
from cd4ml.errors import IntegrityError, ServiceError
from cd4ml.steps.champion import compare_champion, score_champion
from cd4ml.steps.documents import read
from tests.adapters.s3_server import environment
from tests.steps.champions import BAKERY, Place, changed, prepare, region

# The models are made once: all of these tests go to one worker.
pytestmark = pytest.mark.xdist_group("champion")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Return a dataset with four trained models: two good ones, one bad in r1, one bad in r0 and r2."""
    folder = tmp_path_factory.mktemp("bakery")
    place = prepare(folder / "run", folder / "unused")
    place.train("good")
    place.train("good again")
    place.train("poor", lambda data: data.y * 1.15)
    place.train("poor in r1", lambda data: np.where(region(data, "r1"), data.y * 1.3, data.y))
    place.train("poor elsewhere", lambda data: np.where(region(data, "r1"), data.y, data.y * 1.3))
    return place


@pytest.fixture
def place(made: Place, tmp_path: Path) -> Place:
    """Return the same with a store of its own."""
    return Place(made.folder, tmp_path / "store")


def score(place: Place, out: Path) -> dict[str, Any]:
    return score_champion(place.problem, place.snapshot, place.dataset, str(place.store), out)


def held_against(place: Place, challenger: str, out: Path) -> Ratchet:
    """Score the champion and hold a trained model against it."""
    score(place, out / "champion")
    evaluation = place.folder / challenger
    return compare_champion(place.problem, place.dataset, evaluation, out / "champion", out / "ratchet.json")


def decision(found: Ratchet) -> str:
    return decide(ratchet_gates(found), "only_if_warn")


def failed(found: Ratchet) -> list[str]:
    return [gate.name for gate in ratchet_gates(found) if gate.status == "fail"]


def test_an_equal_challenger_is_accepted_and_leaves_the_limit(place: Place, tmp_path: Path) -> None:
    place.crown(place.folder / "good")
    found = held_against(place, "good again", tmp_path)
    assert decision(found) == "accept"
    assert [gate.status for gate in ratchet_gates(found)] == ["pass", "pass", "pass"]
    assert not found.tightened
    assert Ratchet.from_dict(read(tmp_path / "ratchet.json")) == found


def test_the_champion_predicts_what_was_judged_when_it_was_trained(place: Place, tmp_path: Path) -> None:
    version = place.crown(place.folder / "good")
    told = score(place, tmp_path / "champion")
    assert (told["status"], told["version"], told["bundle"]) == ("scored", 1, version.bundle)
    assert told["warning"] == ""
    found = np.load(tmp_path / "champion/predictions.npy")
    assert found.dtype == np.float64
    assert found.size == told["rows"] == 336
    assert np.allclose(found, np.load(place.folder / "good/predictions.npy"), rtol=1e-5)
    for file in ("contract.json", "lineage.json", "problem.json"):
        assert (tmp_path / "champion" / file).read_bytes() == (
            place.folder / "good/bundle" / file
        ).read_bytes()
    assert not (tmp_path / "champion/decisions.npy").exists()


def test_worse_on_one_slice_alone_is_rejected_and_names_it(place: Place, tmp_path: Path) -> None:
    place.crown(place.folder / "poor elsewhere")
    found = held_against(place, "poor in r1", tmp_path)
    assert failed(found) == ["ratchet:wape:region"]
    (gate,) = (gate for gate in ratchet_gates(found) if gate.status == "fail")
    assert "wape of region 'r1' is" in gate.reason
    assert "1 of 3 slices fail" in gate.reason
    assert found.comparison is not None
    assert found.comparison.overall.status == "pass"
    assert decision(found) == "reject"


def test_better_everywhere_is_accepted_and_tightens_the_limit(place: Place, tmp_path: Path) -> None:
    carried = {"wape": {"value": 0.2, "score": 0.2}}
    place.crown(place.folder / "poor", carried)
    found = held_against(place, "good", tmp_path)
    assert decision(found) == "accept"
    assert found.tightened
    now = read(tmp_path / "champion/champion.json")["limits"]["wape"]
    assert now == carried["wape"]
    assert found.comparison is not None
    assert found.limits["wape"].value < found.comparison.overall.champion  # type: ignore[operator]
    assert found.limits["wape"].score == found.comparison.overall.challenger


def test_worse_everywhere_is_rejected(place: Place, tmp_path: Path) -> None:
    place.crown(place.folder / "good")
    assert failed(held_against(place, "poor", tmp_path))[0] == "ratchet:wape"


def test_a_limit_that_is_used_up_is_held_though_the_champion_is_no_better(
    place: Place, tmp_path: Path
) -> None:
    place.train("little worse", lambda data: data.y * 1.04)
    place.crown(place.folder / "good")
    free = held_against(place, "little worse", tmp_path / "free").comparison
    other = Place(place.folder, tmp_path / "other")
    other.crown(place.folder / "good", {"wape": {"value": 0.08, "score": 0.0851}})
    tight = held_against(other, "little worse", tmp_path / "tight").comparison
    assert free is not None
    assert tight is not None
    assert (free.overall.limit, tight.overall.limit) == (1.02, 1.0)
    assert tight.overall.adjusted_p < free.overall.adjusted_p  # type: ignore[operator]


def test_without_a_champion_it_is_the_first_release_and_sets_the_limit(place: Place, tmp_path: Path) -> None:
    found = held_against(place, "good", tmp_path)
    (gate,) = ratchet_gates(found)
    assert (found.status, gate.status, decision(found)) == ("first_release", "skipped", "accept")
    assert "first release: no version of 'bakery' is named 'champion'" in gate.reason
    metrics = read(place.folder / "good/metrics.json")["holdout"]["wape"]["estimate"]
    assert found.limits["wape"].value == pytest.approx(1.02 * metrics)
    assert not (tmp_path / "champion/predictions.npy").exists()


def test_a_champion_that_somebody_took_away_needs_a_person(place: Place, tmp_path: Path) -> None:
    place.crown(place.folder / "good")
    registry = Registry(open_store(str(place.store)))
    registry.set_alias("bakery", "champion", None, reason="new target", by="ann")
    found = held_against(place, "good", tmp_path)
    (gate,) = ratchet_gates(found)
    assert (found.status, gate.status, decision(found)) == ("first_release", "warn", "needs_approval")
    assert "version 1 was, until the alias was removed" in gate.reason
    assert "by ann (new target)" in gate.reason


def _one_byte(bundle: Path) -> None:
    data = bytearray((bundle / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(bytes(data))


def _of_another(bundle: Path) -> None:
    """Alter a file and write a manifest that agrees with it."""
    from cd4ml.adapters.manifest import write_manifest

    (bundle / "card.md").write_text("better")
    write_manifest(bundle, format="1", problem="bakery")


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "altered": (_one_byte, "model.onnx"),
    "missing a file": (lambda bundle: (bundle / "problem.json").unlink(), "problem.json"),
    "without its manifest": (lambda bundle: (bundle / "manifest.json").unlink(), "has no whole bundle"),
    "with a manifest of its own": (_of_another, "where the registry promised"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_champion_that_is_not_what_was_registered_fails_closed(
    place: Place, tmp_path: Path, kind: str
) -> None:
    version = place.crown(place.folder / "good")
    spoil, word = SPOILT[kind]
    spoil(place.store / "bundles" / version.bundle)
    found = held_against(place, "good again", tmp_path)
    (gate,) = ratchet_gates(found)
    assert (found.status, gate.status, decision(found)) == ("unreadable", "fail", "reject")
    assert word in gate.reason
    assert "/tmp" not in gate.reason.replace(str(place.store), ""), "no path that is gone"
    assert "cd4ml models alias bakery champion --remove" in gate.reason
    assert found.limits == {}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("aliases.json", "{"),
        ("aliases.json", '{"aliases": {"champion": 7}, "history": []}'),
        ("versions/1.json", '{"version": 1}'),
        ("versions/1.json", '{"version": 1, "bundle": "b", "limits": {"wape": {"value": "low"}}}'),
    ],
)
def test_a_registry_that_is_unsound_fails_closed(place: Place, tmp_path: Path, file: str, text: str) -> None:
    place.crown(place.folder / "good")
    (place.store / "models/bakery" / file).write_text(text)
    assert decision(held_against(place, "good again", tmp_path)) == "reject"
    assert read(tmp_path / "champion/champion.json")["status"] == "unreadable"


def test_an_unsigned_champion_is_refused_where_keys_are_asked_for(place: Place, tmp_path: Path) -> None:
    from cd4ml.adapters.signing import generate_keypair

    _, public = generate_keypair()
    place.crown(place.folder / "good")
    with environment(CD4ML_VERIFY_KEY=public):
        told = score(place, tmp_path / "champion")
    assert told["status"] == "unreadable"
    assert "bundle 'bakery@champion' was refused" in told["reason"]
    assert "CD4ML_VERIFY_KEY" in told["reason"]


def test_a_store_that_cannot_be_reached_is_no_verdict(place: Place, tmp_path: Path) -> None:
    with (
        environment(CD4ML_S3_ENDPOINT="http://127.0.0.1:9", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y"),
        pytest.raises(ServiceError),
    ):
        score_champion(place.problem, place.snapshot, place.dataset, "s3://bucket/x", tmp_path / "champion")
    assert not (tmp_path / "champion").exists()


def test_predictions_of_other_rows_are_refused(place: Place, tmp_path: Path) -> None:
    place.crown(place.folder / "good")
    score(place, tmp_path / "champion")
    arguments = (place.problem, place.dataset, place.folder / "good", tmp_path / "champion", tmp_path / "r")
    np.save(tmp_path / "champion/predictions.npy", np.ones(5))
    with pytest.raises(IntegrityError, match=r"expected 336 predictions.*found shape \(5,\)"):
        compare_champion(*arguments)
    (tmp_path / "champion/predictions.npy").write_bytes(b"no array")
    with pytest.raises(IntegrityError, match=r"expected predictions.npy in .*champion"):
        compare_champion(*arguments)
    assert not (tmp_path / "r").exists()


def test_a_snapshot_that_is_not_the_datasets_is_refused(place: Place, tmp_path: Path) -> None:
    other = prepare(tmp_path / "other", tmp_path / "store", changed(BAKERY, ("28d", "14d")))
    place.crown(place.folder / "good")
    sales = other.folder / "sources/sales.csv"
    sales.write_text("\n".join(sales.read_text().splitlines()[:-5]) + "\n")
    fewer = prepare(tmp_path / "fewer", place.store, BAKERY, other.folder / "sources")
    with pytest.raises(IntegrityError, match="the dataset has 1200 rows, the snapshot gives 1195"):
        score_champion(place.problem, fewer.snapshot, place.dataset, str(place.store), tmp_path / "champion")


def test_a_released_version_carries_the_limits_to_the_next(place: Place, tmp_path: Path) -> None:
    from cd4ml.adapters.manifest import bundle_id
    from cd4ml.adapters.storage.atomic import write_json
    from cd4ml.steps.register import register_model

    held_against(place, "good", tmp_path)
    bundle = place.folder / "good/bundle"
    write_json(tmp_path / "verdict.json", {"decision": "accept", "subject": {"bundle": bundle_id(bundle)}})
    told = (place.problem, bundle, tmp_path / "verdict.json", place.folder / "good", str(place.store))
    register_model(*told, tmp_path / "ratchet.json")
    registry = Registry(open_store(str(place.store)))
    registry.set_alias("bakery", "champion", 1)
    limits = read(tmp_path / "ratchet.json")["limits"]
    assert registry.get("bakery", "champion").limits == limits
    assert score(place, tmp_path / "champion")["limits"] == limits
