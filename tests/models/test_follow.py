"""A model as data: followed, verified, swapped while it predicts, and taken back."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair, sign
from cd4ml.adapters.storage import S3Storage
from cd4ml.errors import IntegrityError, NotFoundError, RowError, UsageError
from cd4ml.models.follow import ModelFollower, events_address
from cd4ml.models.follow_status import Timing
from tests.adapters.s3_server import environment
from tests.models.follow_samples import damage, expected, misjudged, registry_with, rows, until, variant

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def registry(store: Path) -> Registry:
    return registry_with(store, variant(15), variant(5))


def follower(store: Path, **more: Any) -> ModelFollower:
    more.setdefault("folder", store.parent / "kept")
    more.setdefault("poll_seconds", 0.02)
    return ModelFollower("shop@champion", store=str(store), timing=Timing(clock=lambda: NOON), **more)


def test_it_predicts_with_what_the_alias_names_and_follows_its_moves(registry: Registry, store: Path) -> None:
    swaps: list[Any] = []
    with follower(store, on_swap=lambda new, old: swaps.append((new.version, old and old.version))) as model:
        answer = model.predict(rows())
        assert answer.prediction.tolist() == expected(15)
        assert (answer.version, answer.bundle) == (1, registry.get("shop", 1).bundle)
        assert model.previous is None
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.current.version == 2)
        assert model.predict(rows()).prediction.tolist() == expected(5)
        assert model.previous is not None
        assert model.previous.version == 1
        until(lambda: swaps == [(1, None), (2, 1)])
        status = model.status()
        assert (status.version, status.previous, status.newest, status.problem) == (2, 1, 2, "")
        assert status.since == NOON.isoformat(timespec="seconds")
        assert status.stale_seconds is not None
        assert status.stale_seconds < 10
        assert json.loads(json.dumps(status.to_dict()))["stream"] == "off"


def test_rows_columns_and_arrays_give_the_same_answer(registry: Registry, store: Path) -> None:
    asked = rows()
    columns: dict[str, Any] = {name: [row.get(name) for row in asked] for name in asked[0]}
    with follower(store) as model:
        found = model.predict(columns)
        assert found.prediction.tolist() == model.predict(asked).prediction.tolist() == expected(15)
        assert found.outputs.keys() == {"prediction", "quantile"}
        arrays = {**columns, "visitors": np.array(columns["visitors"])}
        assert model.predict(arrays).prediction.tolist() == expected(15)
        with pytest.raises(UsageError, match="one length"):
            model.predict({**columns, "visitors": [1]})
        with pytest.raises(RowError, match="unknown field 'visitor'"):
            model.predict([{**asked[0], "visitor": 3}])


@pytest.mark.serving
def test_two_threads_predict_while_the_alias_moves_twenty_times(registry: Registry, store: Path) -> None:
    right = {1: expected(15), 2: expected(5)}
    answers: list[list[int]] = [[], []]
    wrong: list[Any] = []
    done = threading.Event()
    with follower(store) as model:

        def ask(mine: list[int]) -> None:
            while not done.is_set():
                try:
                    found = model.predict(rows())
                    if found.prediction.tolist() != right[found.version]:
                        wrong.append(found)
                    mine.append(found.version)
                except Exception as error:
                    wrong.append(error)

        threads = [threading.Thread(target=ask, args=(mine,)) for mine in answers]
        for thread in threads:
            thread.start()
        for number in range(20):
            wanted = 2 if number % 2 == 0 else 1
            registry.set_alias("shop", "champion", wanted)
            until(lambda wanted=wanted: model.current.version == wanted)
            before = [len(mine) for mine in answers]
            until(lambda before=before: all(len(m) > b for m, b in zip(answers, before, strict=True)))
            assert model.previous is not None
            assert model.previous.version == 3 - wanted
        done.set()
        for thread in threads:
            thread.join(10)
        assert model.status().swaps == 21
    assert wrong == []
    for mine in answers:
        assert sum(a != b for a, b in itertools.pairwise(mine)) == 20, "each saw each swap once"


def test_going_back_holds_whatever_the_alias_does_until_it_is_resumed(
    registry: Registry, store: Path
) -> None:
    with follower(store) as model:
        with pytest.raises(UsageError, match="no previous version"):
            model.go_back("too high")
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.current.version == 2)
        with pytest.raises(UsageError, match="needs a reason"):
            model.go_back(" ")
        assert model.go_back("too high on Mondays").version == 1
        assert model.predict(rows()).prediction.tolist() == expected(15)
        with pytest.raises(UsageError, match="went back already"):
            model.go_back("again")
        registry.push(variant(25), "shop", "accept")
        registry.set_alias("shop", "champion", 3)
        until(lambda: model.status().newest == 3)
        assert (model.current.version, model.status().pinned) == (1, "too high on Mondays")
    with follower(store) as again:
        assert (again.current.version, again.status().pinned) == (1, "too high on Mondays")
        again.resume()
        until(lambda: again.current.version == 3)
        assert again.status().pinned == ""


def test_a_damaged_bundle_is_refused_by_name_and_taken_when_it_is_mended(
    registry: Registry, store: Path
) -> None:
    key, data = damage(registry, 2)
    problems: list[str] = []
    with follower(store, on_problem=problems.append) as model:
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.status().refusals >= 2)
        assert model.predict(rows()).version == 1
        assert len(problems) == 1, "said once, not at each attempt"
        assert "version 2 was refused" in problems[0]
        assert "model.onnx" in problems[0]
        registry.storage.put(key, data)
        until(lambda: model.current.version == 2)
        until(lambda: model.status().problem == "")


def test_a_version_that_predicts_not_what_was_judged_is_refused(
    registry: Registry, store: Path, tmp_path: Path
) -> None:
    registry.push(misjudged(tmp_path / "misjudged"), "shop", "accept")
    registry.set_alias("shop", "champion", 3)
    with pytest.raises(IntegrityError, match=r"not predict here what was judged: prediction of .* row 0"):
        follower(store).__enter__()
    with follower(store, smoke_rows=0) as model:
        assert model.current.version == 3


def test_a_version_that_refuses_what_the_old_one_took_is_refused(registry: Registry, store: Path) -> None:
    registry.push(variant(15, strict=True), "shop", "accept")
    with follower(store) as model:
        registry.set_alias("shop", "champion", 3)
        until(lambda: model.status().problem)
        assert "input 'price' may no longer be null" in model.status().problem
        assert model.predict(rows()).version == 1
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.current.version == 2)
        assert model.status().problem == ""
    registry.set_alias("shop", "champion", 3)
    with follower(store, any_contract=True) as model:
        until(lambda: model.current.version == 3)


def test_an_unsigned_version_is_refused_where_a_key_is_asked_for(
    registry: Registry, store: Path, tmp_path: Path
) -> None:
    private, public = generate_keypair()
    with environment(**{SIGNING_KEY: private, VERIFY_KEY: public}):
        signed = Path(shutil.copytree(variant(15), tmp_path / "signed"))
        sign(signed)
        registry.push(signed, "shop", "accept")
        with follower(store) as model:
            registry.set_alias("shop", "champion", 2)
            until(lambda: model.status().problem)
            assert "UNSIGNED" in model.status().problem
            assert model.current.version == 1


def test_while_the_store_is_away_the_old_version_answers_and_staleness_grows(
    registry: Registry, store: Path
) -> None:
    with follower(store) as model:
        store.rename(store.parent / "away")
        until(lambda: "is the store away?" in model.status().problem)
        first = model.status().stale_seconds
        assert model.predict(rows()).prediction.tolist() == expected(15)
        until(lambda: (model.status().stale_seconds or 0) > (first or 0))
        (store.parent / "away").rename(store)
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.current.version == 2)
        assert model.status().problem == ""
    assert model.predict(rows()).version == 2, "what was loaded predicts after the end, too"


def test_a_start_without_network_takes_the_last_verified_bundle(registry: Registry, store: Path) -> None:
    with follower(store):
        pass
    nobody = S3Storage("models", endpoint="http://127.0.0.1:9")
    with (
        environment(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b"),
        ModelFollower(
            "shop@champion", store=nobody, folder=store.parent / "kept", timing=Timing(start_seconds=0.1)
        ) as model,
    ):
        assert model.predict(rows()).prediction.tolist() == expected(15)
        assert model.status().stale_seconds is None
    (path,) = (store.parent / "kept/bundles").iterdir()
    data = (path / "model.onnx").read_bytes()
    (path / "model.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    problems: list[str] = []
    with follower(store, on_problem=problems.append) as model:
        assert model.current.version == 1, "fetched anew"
    assert "on disk is not used" in problems[0]
    assert "model.onnx" in problems[0]


def test_a_damaged_bundle_on_disk_and_no_store_is_an_error_and_no_answer(
    registry: Registry, store: Path
) -> None:
    with follower(store):
        pass
    (path,) = (store.parent / "kept/bundles").iterdir()
    (path / "contract.json").write_text("{}")
    shutil.rmtree(store)
    with pytest.raises(NotFoundError, match="no model 'shop'"), follower(store):
        pass


def test_only_so_many_bundles_stay_on_disk_and_the_last_ones_are_known_after_a_restart(
    registry: Registry, store: Path
) -> None:
    registry.push(variant(25), "shop", "accept")
    bundles = store.parent / "kept/bundles"
    with follower(store, keep=2) as model:
        for number in (2, 3):
            registry.set_alias("shop", "champion", number)
            until(lambda number=number: model.current.version == number)
        wanted = {registry.get("shop", number).bundle for number in (2, 3)}
        until(lambda: {path.name for path in bundles.iterdir()} == wanted)
    with follower(store, keep=2) as again:
        until(lambda: again.previous is not None)
        assert again.go_back("as before").version == 2


def test_a_removed_alias_keeps_the_version_and_is_reported(registry: Registry, store: Path) -> None:
    with follower(store) as model:
        registry.set_alias("shop", "champion", None)
        until(lambda: "no version 'champion'" in model.status().problem)
        assert model.predict(rows()).version == 1


def test_what_a_callback_raises_harms_nothing(registry: Registry, store: Path) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug of the caller")

    with follower(store, on_swap=fail, on_problem=fail) as model:
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.current.version == 2)
        registry.set_alias("shop", "champion", None)
        until(lambda: model.status().problem)
        registry.set_alias("shop", "champion", 1)
        until(lambda: model.current.version == 1)


def test_going_back_works_when_the_disk_does_not(registry: Registry, store: Path) -> None:
    with follower(store) as model:
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.current.version == 2 and model.previous)
        record = store.parent / "kept/followed.json"
        until(lambda: '"version": 2' in record.read_text())
        shutil.rmtree(store.parent / "kept")
        assert model.go_back("bad").version == 1
        assert "a restart would not know" in model.status().problem
        assert model.predict(rows()).version == 1


def test_nothing_runs_on_after_the_end(registry: Registry, store: Path) -> None:
    with follower(store, events_url="http://127.0.0.1:9"):
        names = {thread.name for thread in threading.enumerate()}
        assert {"cd4ml-follow-_watch", "cd4ml-follow-_listen"} <= names
    assert not any(thread.name.startswith("cd4ml-follow") for thread in threading.enumerate())


def test_a_forked_process_is_told_to_open_its_own(registry: Registry, store: Path) -> None:
    script = """if True:
        import os, sys
        from cd4ml.errors import UsageError
        from cd4ml.models.follow import ModelFollower
        with ModelFollower("shop@champion", store=sys.argv[1], folder=sys.argv[2]) as model:
            if os.fork() == 0:
                try:
                    model.predict([])
                except UsageError as error:
                    os.write(1, str(error).encode())
                os._exit(0)
            os.wait()
    """
    command = [sys.executable, "-c", script, str(store), str(store.parent / "kept")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "does not survive a fork" in found.stdout


def test_followers_of_one_folder_share_what_they_fetch(registry: Registry, store: Path) -> None:
    with follower(store) as one, follower(store) as other:
        registry.set_alias("shop", "champion", 2)
        until(lambda: one.current.version == other.current.version == 2)
        assert one.predict(rows()).prediction.tolist() == other.predict(rows()).prediction.tolist()
        assert len(list((store.parent / "kept/bundles").iterdir())) == 2


def test_a_folder_keeps_to_its_alias_and_leaves_other_files_alone(registry: Registry, store: Path) -> None:
    with follower(store):
        pass
    with pytest.raises(UsageError, match="follows 'shop@champion'"):
        ModelFollower("shop@challenger", store=str(store), folder=store.parent / "kept")
    (store.parent / "mine").mkdir()
    (store.parent / "mine/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files in it"):
        follower(store, folder=store.parent / "mine")
    (store.parent / "kept/followed.json").write_text("{")
    with follower(store) as model:
        assert model.current.version == 1, "a damaged record is made anew"


@pytest.mark.parametrize("reference", ["", "@champion", "shop@", "a/b@champion"])
def test_a_reference_that_is_none_is_refused(reference: str, store: Path) -> None:
    with pytest.raises(UsageError, match="NAME@alias"):
        ModelFollower(reference, store=str(store), folder=store / "x")


def test_what_cannot_be_is_said_at_once(store: Path) -> None:
    with pytest.raises(UsageError, match="more than 0 seconds"):
        follower(store, poll_seconds=0)
    with pytest.raises(UsageError, match="2 bundles or more"):
        follower(store, keep=1)
    with pytest.raises(UsageError, match="once it was started"):
        follower(store).predict(rows())


def test_where_the_events_of_a_model_are() -> None:
    assert events_address(None, "shop") is None
    assert events_address("http://h:1/", "shop") == "http://h:1/models/shop/events"
    assert events_address("http://h:1/models/x/events", "shop") == "http://h:1/models/x/events"


def test_pauses_grow_and_differ_by_chance() -> None:
    low, high = Timing(uniform=lambda: 0.0), Timing(uniform=lambda: 1.0)
    assert (low.pause(), high.pause()) == (pytest.approx(4.0), pytest.approx(6.0))
    assert low.pause(1) == pytest.approx(8.0)
    assert high.pause(1000) == pytest.approx(72.0), "not without end"


def test_a_pinned_version_that_is_damaged_on_disk_is_fetched_anew(registry: Registry, store: Path) -> None:
    with follower(store) as model:
        registry.set_alias("shop", "champion", 2)
        until(lambda: model.current.version == 2)
        model.go_back("too high")
    contract = store.parent / "kept/bundles" / registry.get("shop", 1).bundle / "contract.json"
    contract.write_text("{}")
    with follower(store) as model:
        assert (model.current.version, model.status().pinned) == (1, "too high")


def test_a_bundle_on_disk_that_lost_its_manifest_is_made_anew(registry: Registry, store: Path) -> None:
    with follower(store):
        pass
    (store.parent / "kept/bundles" / registry.get("shop", 1).bundle / "manifest.json").unlink()
    with follower(store) as model:
        assert model.predict(rows()).prediction.tolist() == expected(15)
