"""Events of the registry: nothing is lost, nothing comes twice, whoever writes at the same moment."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.registry_events import START, Cursor, ModelFeed, RegistryEvent, events_since
from cd4ml.adapters.storage import FolderStorage, Storage
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, ServiceError, UsageError
from tests.adapters.samples import at_once, make_bundle, opened, where


class Clock:
    """A minute later at each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return Registry(storage, Clock())


def push(registry: Registry, folder: Path, count: int = 1) -> None:
    for number in range(count):
        registry.push(make_bundle(folder / f"b{number}", f"model {number}"), "shop", "accept")


def told(events: list[RegistryEvent]) -> list[str]:
    return [event.id for event in events]


def test_versions_and_moves_come_in_the_order_of_their_times(registry: Registry, tmp_path: Path) -> None:
    push(registry, tmp_path / "a", 2)
    registry.set_alias("shop", "champion", 1, reason="secret plan", by="ann")
    push(registry, tmp_path / "b" / "c", 3)  # two of them are known
    registry.set_alias("shop", "champion", 3)
    events, cursor = events_since(registry, "shop")
    assert told(events) == ["version-1", "version-2", "alias-1", "version-3", "alias-2"]
    assert str(cursor) == "3.2"
    assert [event.cursor.sequence for event in events] == [1, 2, 3, 4, 5]
    assert events[2].facts["to"] == 1
    assert events[3].facts["bundle"] == registry.get("shop", 3).bundle
    assert events_since(registry, "shop", cursor) == ([], cursor)


def test_an_event_says_no_more_than_the_list_of_models_does(registry: Registry, tmp_path: Path) -> None:
    push(registry, tmp_path)
    registry.set_alias("shop", "champion", 1, reason="secret plan", by="ann")
    text = json.dumps([event.to_dict() for event in events_since(registry, "shop")[0]])
    assert "secret plan" not in text
    assert "ann" not in text
    assert "wape" not in text
    assert '"cursor": "1.1"' in text


def test_a_version_comes_before_a_move_to_it_even_by_a_wrong_clock(storage: Storage, tmp_path: Path) -> None:
    late = Registry(storage, lambda: datetime(2030, 1, 1, tzinfo=UTC))
    push(late, tmp_path)
    Registry(storage, lambda: datetime(2020, 1, 1, tzinfo=UTC)).set_alias("shop", "champion", 1)
    assert told(events_since(late, "shop")[0]) == ["version-1", "alias-1"]


def test_a_look_at_an_unchanged_model_reads_no_version(registry: Registry, tmp_path: Path) -> None:
    push(registry, tmp_path, 2)
    registry.set_alias("shop", "champion", 1)
    feed = ModelFeed(registry, "shop")
    assert feed.poll()
    registry.storage.put("models/shop/versions/1.json", b"damaged: whoever reads it says so")
    assert not feed.poll()
    assert feed.resolve("champion") == 1
    with pytest.raises(IntegrityError, match=r"versions/1\.json"):
        feed.since(START)
    assert told(feed.since(Cursor(2, 0))) == ["alias-1"]


def test_a_feed_sees_what_came_since_and_resolves_names(registry: Registry, tmp_path: Path) -> None:
    feed = ModelFeed(registry, "shop")
    assert not feed.poll(), "there is no such model yet"
    with pytest.raises(NotFoundError, match="no model 'shop'"):
        feed.resolve("latest")
    push(registry, tmp_path, 2)
    assert feed.poll()
    assert (feed.resolve("latest"), feed.resolve("1"), feed.aliases) == (2, 1, {})
    with pytest.raises(NotFoundError, match="no version 'champoin'"):
        feed.resolve("champoin")
    with pytest.raises(NotFoundError, match="no version '3'"):
        feed.resolve("3")
    registry.set_alias("shop", "champion", 2)
    assert feed.poll()
    assert feed.resolve("champion") == 2
    assert str(feed.cursor) == "2.1"


def test_few_at_a_time_give_the_same_as_all_at_once(registry: Registry, tmp_path: Path) -> None:
    push(registry, tmp_path, 3)
    for number in (1, 2, 3, 1):
        registry.set_alias("shop", "champion", number)
    whole, _ = events_since(registry, "shop")
    found: list[RegistryEvent] = []
    cursor = START
    while part := events_since(registry, "shop", cursor, limit=2)[0]:
        assert len(part) <= 2
        found, cursor = found + part, part[-1].cursor
    assert sorted(told(found)) == sorted(told(whole))
    assert len(found) == 7


def move(storage: Storage, mine: int) -> int:
    """Move the champion back and forth ten times, against another one who does the same."""
    registry, moves = Registry(storage), 0
    while moves < 10:
        now = registry.aliases("shop").get("champion")
        try:
            registry.set_alias("shop", "champion", 1 if now == mine else mine, expected=now)
        except ConflictError:
            continue
        moves += 1
    return moves


def read_all(storage: Storage, wanted: int) -> list[tuple[str, Any, Any]]:
    """Read events while others write, one look after the other."""
    feed, cursor, found = ModelFeed(Registry(storage), "shop"), START, []
    while cursor.moves < wanted:
        feed.poll()
        for event in feed.since(cursor, limit=3):
            found.append((event.id, event.facts.get("from"), event.facts.get("to")))
            cursor = event.cursor
    return found


def work(storage: Storage, what: str, number: int) -> Any:
    return move(storage, number) if what == "move" else read_all(storage, number)


def test_two_who_move_aliases_at_once_and_readers_who_miss_nothing(storage: Storage, tmp_path: Path) -> None:
    push(Registry(storage), tmp_path, 3)
    found = at_once(storage, work, [("move", 2), ("move", 3), ("read", 20), ("read", 20)])
    assert found[:2] == [10, 10]
    for seen in found[2:]:
        moves = [event for event in seen if event[0].startswith("alias")]
        assert [event[0] for event in moves] == [f"alias-{number}" for number in range(1, 21)]
        assert [event[1] for event in moves[1:]] == [event[2] for event in moves[:-1]], (
            "each from the last to"
        )
        assert sorted(event[0] for event in seen if event not in moves) == [
            "version-1",
            "version-2",
            "version-3",
        ]


@settings(deadline=None, max_examples=15)
@given(steps=st.lists(st.sampled_from(["push", "move", "read"]), max_size=12))
def test_a_reader_who_looks_at_any_moment_gets_each_event_once(
    steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("events")
    registry = Registry(FolderStorage(folder / "store"), Clock())
    seen: list[str] = []
    cursor, versions, moves = START, 0, 0
    for number, step in enumerate([*steps, "read"]):
        if step == "push":
            versions += 1
            registry.push(make_bundle(folder / f"b{number}", f"model {number}"), "shop")
        elif step == "move" and versions:
            moves += registry.aliases("shop").get("champion") != 1 + number % versions
            registry.set_alias("shop", "champion", 1 + number % versions)
        elif step == "read":
            events, cursor = events_since(registry, "shop", cursor)
            seen += told(events)
    expected = [f"version-{n + 1}" for n in range(versions)] + [f"alias-{n + 1}" for n in range(moves)]
    assert sorted(seen) == sorted(expected)


def test_a_store_that_is_away_is_no_store_without_moves(registry: Registry, tmp_path: Path) -> None:
    if not isinstance(registry.storage, FolderStorage):
        pytest.skip("a folder can be renamed")
    push(registry, tmp_path)
    registry.set_alias("shop", "champion", 1)
    feed = ModelFeed(registry, "shop")
    feed.poll()
    root = Path(where(registry.storage)[0])
    root.rename(tmp_path / "away")
    with pytest.raises(ServiceError, match=r"is the store away\?"):
        feed.poll()
    assert feed.resolve("champion") == 1
    (tmp_path / "away").rename(root)
    assert not feed.poll()
    assert opened(where(registry.storage)).exists("models/shop/aliases.json")


@pytest.mark.parametrize("text", ["", "1", "1.", "-1.0", "1.0.0", "a.b", "9999999999.0", "1.0\n\n1"])
def test_a_text_that_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a cursor is"):
        Cursor.parse(text)


def test_a_cursor_ahead_of_a_restored_registry_is_said(registry: Registry, tmp_path: Path) -> None:
    push(registry, tmp_path)
    assert str(Cursor.parse(" 12.7 ")) == "12.7"
    for cursor in (Cursor(2, 0), Cursor(1, 1)):
        with pytest.raises(UsageError, match="restored from an older copy"):
            events_since(registry, "shop", cursor)
