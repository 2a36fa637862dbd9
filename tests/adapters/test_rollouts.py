"""Rollouts in a store: one a service, moved by compare-and-swap, by whoever has the lease."""

from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from cd4ml.adapters.rollouts import RolloutStore
from cd4ml.adapters.storage import open_store
from cd4ml.domain.rollout.state import Phase, Rollout, Target
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, UsageError

FIRST = Rollout("r1", "shop", Target("shop@2", "2", "b" * 64), Target("shop@1", "1", "a" * 64))
POLICY = {"canary_percent": [5]}


@pytest.fixture
def storage(tmp_path: Path):
    return open_store(str(tmp_path))


@pytest.fixture
def store(storage) -> RolloutStore:
    return RolloutStore(storage)


def test_a_rollout_is_started_read_and_moved(store: RolloutStore) -> None:
    begun = store.start(FIRST, POLICY)
    assert store.current("shop") == begun == store.get("shop", "r1")
    moved = store.save(begun, replace(FIRST, phase=Phase.SHADOW))
    assert store.current("shop").rollout.phase is Phase.SHADOW
    assert (moved.policy, store.services(), store.ids("shop")) == (POLICY, ["shop"], ["r1"])


def test_of_two_writers_one_wins(store: RolloutStore) -> None:
    begun = store.start(FIRST, POLICY)
    store.save(begun, replace(FIRST, phase=Phase.SHADOW))
    with pytest.raises(ConflictError):
        store.save(begun, replace(FIRST, phase=Phase.ABORTED))
    assert store.current("shop").rollout.phase is Phase.SHADOW


def test_a_service_has_one_rollout_at_a_time(store: RolloutStore) -> None:
    begun = store.start(FIRST, POLICY)
    other = replace(FIRST, id="r2")
    with pytest.raises(ConflictError, match="phase 'verify'; one goes at a time"):
        store.start(other, POLICY)
    assert store.start(FIRST, POLICY) == begun
    store.save(begun, replace(FIRST, phase=Phase.ABORTED))
    assert store.start(other, POLICY).rollout == other
    assert store.ids("shop") == ["r1", "r2"]


def test_a_start_that_died_half_way_is_taken_up(store: RolloutStore, tmp_path: Path) -> None:
    store.start(FIRST, POLICY)
    (tmp_path / "rollouts/shop/current.json").unlink()
    assert store.start(FIRST, POLICY).rollout == FIRST
    assert store.current("shop").rollout.id == "r1"


def test_of_many_who_start_at_once_one_wins(storage) -> None:
    won: list[str] = []

    def begin(number: int) -> None:
        try:
            RolloutStore(storage).start(replace(FIRST, id=f"r{number}"), POLICY)
            won.append(f"r{number}")
        except ConflictError:
            pass

    threads = [Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [RolloutStore(storage).current("shop").rollout.id]


def test_commands_keep_their_order_whoever_gives_them(store: RolloutStore) -> None:
    store.start(FIRST, POLICY)
    threads = [
        Thread(target=store.ask, args=(FIRST, "pause", f"p{number}", "because", 1.0)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.commands(FIRST)
    assert [one.number for one in found] == list(range(1, 9))
    assert {one.by for one in found} == {f"p{number}" for number in range(8)}
    assert store.commands(FIRST, after=6) == found[6:]


def test_the_lease_has_one_holder_and_its_fence_grows(store: RolloutStore) -> None:
    mine = store.acquire("shop", "a", 100, 10)
    with pytest.raises(ConflictError, match="'a' acts for 'shop' for 5 s more"):
        store.acquire("shop", "b", 105, 10)
    longer = store.acquire("shop", "a", 105, 10)
    assert (mine.fence, longer.fence, longer.expires_at_seconds) == (1, 1, 115)
    theirs = store.acquire("shop", "b", 115, 10)
    assert theirs.fence == 2
    # One who lost it and comes back is another holder.
    assert store.acquire("shop", "a", 130, 10).fence == 3


def test_a_lease_that_ran_out_gets_a_new_fence_for_the_same_holder_too(store: RolloutStore) -> None:
    assert store.acquire("shop", "a", 100, 10).fence == 1
    assert store.acquire("shop", "a", 120, 10).fence == 2


def test_a_released_lease_is_free_at_once(store: RolloutStore) -> None:
    old = store.acquire("shop", "a", 100, 10)
    store.release("shop", old, 101)
    assert store.acquire("shop", "b", 102, 10).holder == "b"
    store.release("shop", old, 103)  # not theirs any more
    with pytest.raises(ConflictError):
        store.acquire("shop", "c", 104, 10)


def test_what_is_not_there_or_damaged_says_so(store: RolloutStore, tmp_path: Path) -> None:
    store.start(FIRST, POLICY)
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        store.current("shob")
    with pytest.raises(NotFoundError, match="no rollout 'r9'"):
        store.get("shop", "r9")
    for name in ("../x", "", "current", "lease", "a/b"):
        with pytest.raises(UsageError, match="expected a name"):
            store.get("shop", name)
    (tmp_path / "rollouts/shop/r1.json").write_text('{"rollout": {}}')
    with pytest.raises(IntegrityError):
        store.current("shop")


def test_a_lease_of_a_clock_that_was_far_ahead_does_not_count(store: RolloutStore) -> None:
    store.acquire("shop", "a", 1e9, 10)
    taken = store.acquire("shop", "b", 100, 10)
    assert (taken.holder, taken.fence) == ("b", 2)


def test_the_fence_goes_on_above_what_a_plane_remembers(store: RolloutStore) -> None:
    store.raise_fence("shop", 7)
    assert store.acquire("shop", "a", 100, 10).fence == 8
    store.raise_fence("shop", 3)
    assert store.acquire("shop", "a", 101, 10).fence == 8
    assert store.lease("shop") == store.acquire("shop", "a", 101, 10)


def test_a_command_that_cannot_be_read_is_none_and_hides_none(store: RolloutStore, storage) -> None:
    store.start(FIRST, POLICY)
    storage.put("rollouts/shop/r1/commands/000001.json", b'{"what": 1}')
    store.ask(FIRST, "abort", "ann", "because", 1.0)
    found = store.commands(FIRST)
    assert [(one.number, one.command) for one in found] == [(1, ""), (2, "abort")]
    assert "cannot be read" in found[0].reason


def test_what_is_kept_for_people_is_read_again(store: RolloutStore) -> None:
    assert store.kept(FIRST, "look") == {}
    store.keep(FIRST, "look", {"requests": 3})
    assert store.kept(FIRST, "look") == {"requests": 3}
