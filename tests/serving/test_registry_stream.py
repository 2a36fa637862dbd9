"""The registry's events over HTTP: a server in a process of its own, on the loopback."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from cd4ml.adapters.event_stream import EventStream, StreamEvent
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.registry_events import events_since
from cd4ml.adapters.registry_records import AliasChange, alias_key, moved
from cd4ml.adapters.storage.documents import encode
from cd4ml.errors import ServiceError, UsageError
from cd4ml.models.follow import ModelFollower
from cd4ml.serving.registry_stream import StreamLimits, listening_socket, serve_events
from tests.adapters.samples import make_bundle
from tests.models.follow_samples import (
    EventServer,
    event_server,
    expected,
    registry_with,
    rows,
    until,
    variant,
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def registry(store: Path, tmp_path: Path) -> Registry:
    return registry_with(store, *(make_bundle(tmp_path / f"b{n}", f"model {n}") for n in (1, 2)))


@pytest.fixture
def server(registry: Registry, store: Path) -> Iterator[EventServer]:
    with event_server(store) as found:
        yield found


def address(server: EventServer, more: str = "") -> str:
    return f"{server.url}/models/shop/events{more}"


def read(url: str, count: int, last_id: str = "") -> list[StreamEvent]:
    """Return the first events of a stream."""
    found: list[StreamEvent] = []
    with EventStream(url, last_id, silence_seconds=10) as stream:
        for event in stream:
            found.append(event)
            if len(found) == count:
                return found
    return found


def flip(registry: Registry, times: int = 1) -> None:
    for _ in range(times):
        registry.set_alias("shop", "champion", 3 - registry.aliases("shop")["champion"])


def test_a_stream_begins_with_the_state_and_goes_on_with_what_happens(
    registry: Registry, server: EventServer
) -> None:
    with EventStream(address(server), silence_seconds=10) as stream:
        events = iter(stream)
        first = next(events)
        assert (first.id, first.kind) == ("2.1", "state")
        assert json.loads(first.data) == {
            "aliases": {"champion": 1},
            "cursor": "2.1",
            "model": "shop",
            "versions": 2,
        }
        registry.set_alias("shop", "champion", 2, reason="secret", by="ann")
        second = next(events)
    assert (second.id, second.kind) == ("2.2", "alias")
    told = json.loads(second.data)
    assert (told["from"], told["to"], told["id"]) == (1, 2, "alias-2")
    assert "secret" not in second.data
    assert told == events_since(registry, "shop")[0][-1].to_dict(), "as `models events` says it"


def test_who_comes_back_with_the_last_id_misses_nothing_and_gets_nothing_twice(
    registry: Registry, server: EventServer
) -> None:
    ids, last = list[str](), read(address(server), 1)[0].id
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            flip(registry)
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    for count in (1, 3, 7, 2, 11):  # a connection is lost after so many
        found = read(address(server), count, last)
        ids += [json.loads(event.data)["id"] for event in found]
        last = found[-1].id
    stop.set()
    writer.join(10)
    assert ids == [f"alias-{number}" for number in range(2, 2 + len(ids))]
    assert len(ids) == 24


def test_all_that_ever_happened_can_be_asked_for(registry: Registry, server: EventServer) -> None:
    found = read(address(server, "?since=0.0"), 3)
    assert [event.kind for event in found] == ["version", "version", "alias"]
    assert found[-1].id == "2.1"


def test_a_cursor_ahead_of_a_restored_store_gets_the_state(server: EventServer) -> None:
    assert [event.kind for event in read(address(server), 1, "9.9")] == ["state"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/models/shopp/events", 404, "no model 'shopp'"),
        ("/models/..%2F/events", 404, ""),
        ("/models/-x/events", 404, "a model's name"),
        ("/models/shop/events?since=x", 400, "a cursor is"),
        ("/", 404, ""),
    ],
)
def test_what_cannot_be_is_refused_with_a_status_and_a_reason(
    server: EventServer, path: str, status: int, said: str
) -> None:
    found = requests.get(server.url + path, timeout=10)
    assert found.status_code == status
    assert said in found.text
    assert "Traceback" not in found.text
    assert requests.post(address(server), timeout=10).status_code == 405, "read-only"


def test_many_subscribers_share_one_look_and_all_get_each_event(
    registry: Registry, server: EventServer
) -> None:
    found: list[list[str]] = []
    ready = threading.Barrier(21)

    def listen() -> None:
        with EventStream(address(server), silence_seconds=10) as stream:
            events = iter(stream)
            next(events)
            ready.wait(20)
            found.append([next(events).id for _ in range(5)])

    threads = [threading.Thread(target=listen) for _ in range(20)]
    for thread in threads:
        thread.start()
    ready.wait(20)
    health = requests.get(server.url + "/healthz", timeout=10).json()
    assert health["subscribers"] == 20
    assert list(health["models"]) == ["shop"]
    flip(registry, 5)
    for thread in threads:
        thread.join(20)
    assert found == [["2.2", "2.3", "2.4", "2.5", "2.6"]] * 20
    until(lambda: requests.get(server.url + "/healthz", timeout=10).json()["subscribers"] == 0)


def test_when_the_store_is_away_subscribers_are_sent_away_and_come_back(
    registry: Registry, server: EventServer, store: Path
) -> None:
    with EventStream(address(server), silence_seconds=10) as stream:
        events = iter(stream)
        last = next(events).id
        store.rename(store.parent / "away")
        assert list(events) == [], "the stream ends"
    store.mkdir()
    (store / "models").write_text("a file where a folder is wanted")
    assert requests.get(address(server), timeout=10).status_code in (404, 503)
    (store / "models").unlink()
    store.rmdir()
    (store.parent / "away").rename(store)
    flip(registry)
    assert [event.id for event in read(address(server), 1, last)] == ["2.2"]


def test_it_ends_at_once_when_told_though_somebody_listens(server: EventServer) -> None:
    with EventStream(address(server), silence_seconds=10) as stream:
        events = iter(stream)
        next(events)
        begun = time.monotonic()
        assert "Traceback" not in server.end(signal.SIGTERM)
        assert time.monotonic() - begun < 3
        assert list(events) == []


def serve(registry: Registry, limits: StreamLimits) -> str:
    """Serve in a thread, for what needs other limits; daemon, since only a signal ends Uvicorn."""
    listener = listening_socket("127.0.0.1", 0, limits.stall_seconds)
    threading.Thread(target=serve_events, args=(registry, listener, limits), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_heartbeats_come_and_more_than_so_many_subscribers_do_not(registry: Registry) -> None:
    url = serve(registry, StreamLimits(poll_seconds=0.05, heartbeat_seconds=0.1, subscribers=1))
    with requests.get(f"{url}/models/shop/events", stream=True, timeout=10) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith(b":")) == b": still here"
        refused = requests.get(f"{url}/models/shop/events", timeout=10)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")


def test_who_takes_nothing_is_cut_off_and_resumes_where_he_was(registry: Registry, store: Path) -> None:
    document = {"aliases": {"champion": 1}, "history": []}
    changes = [AliasChange("champion", 1, 2, "2026-01-01T00:00:00+00:00", "", "x") for _ in range(20_000)]
    document["history"] = [moved({"aliases": {}, "history": []}, one)["history"][0] for one in changes]
    registry.storage.put(alias_key("shop"), encode(document))
    url = serve(registry, StreamLimits(poll_seconds=0.05, stall_seconds=0.3))
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((host, int(port)))
        slow.sendall(b"GET /models/shop/events?since=0.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: requests.get(f"{url}/healthz", timeout=10).json()["dropped"] == 1)
        assert requests.get(f"{url}/healthz", timeout=10).json()["subscribers"] == 0
    assert [event.id for event in read(f"{url}/models/shop/events", 3, "2.7")] == ["2.8", "2.9", "2.10"]


def test_an_address_that_is_taken_is_said() -> None:
    with listening_socket("127.0.0.1", 0) as taken, pytest.raises(UsageError, match="cannot listen on"):
        listening_socket("127.0.0.1", taken.getsockname()[1])


def test_a_reader_of_events_says_what_is_wrong_with_an_address(server: EventServer) -> None:
    with pytest.raises(UsageError, match="http://host:port"):
        EventStream("ftp://x")
    with pytest.raises(ServiceError, match="found none"), EventStream("http://127.0.0.1:9/x"):
        pass
    with pytest.raises(ServiceError, match="found 200"), EventStream(server.url + "/healthz"):
        pass


def test_a_damaged_registry_is_said_and_ends_streams(registry: Registry) -> None:
    url = serve(registry, StreamLimits(poll_seconds=0.02, heartbeat_seconds=0.1))
    sound = registry.storage.get(alias_key("shop"))
    with EventStream(f"{url}/models/shop/events", silence_seconds=10) as stream:
        events = iter(stream)
        last = next(events).id
        registry.storage.put(alias_key("shop"), b"{")
        assert list(events) == []
    refused = requests.get(f"{url}/models/shop/events", timeout=10)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert "must be JSON" in refused.json()["error"]
    registry.storage.put(alias_key("shop"), sound)
    registry.storage.put("models/shop/versions/3.json", b"{")  # is there, and cannot be read
    assert read(f"{url}/models/shop/events", 1, last) == [], "ends, and says nothing wrong"
    registry.storage.delete("models/shop/versions/3.json")
    flip(registry)
    assert [event.id for event in read(f"{url}/models/shop/events", 1, last)] == ["2.2"]


@pytest.mark.serving
def test_a_follower_listens_polls_while_the_server_is_away_and_listens_again(
    store: Path, tmp_path: Path
) -> None:
    registry = registry_with(store, variant(15), variant(5))
    with (
        event_server(store) as server,
        ModelFollower(
            "shop@champion",
            store=str(store),
            folder=tmp_path / "kept",
            events_url=server.url,
            poll_seconds=0.5,
        ) as model,
    ):
        until(lambda: model.status().stream == "connected")
        time.sleep(0.7)  # a look that was under way when the stream came
        begun = time.monotonic()
        flip(registry)
        until(lambda: model.current.version == 2)
        assert time.monotonic() - begun < 4, "by an event: without one it looks each 6 seconds now"
        server.end(signal.SIGKILL)
        until(lambda: model.status().stream == "broken")
        flip(registry)
        until(lambda: model.current.version == 1)
        assert model.predict(rows()).prediction.tolist() == expected(15)
        assert model.status().problem == "", "a stream that is away is no problem"
        with event_server(store, server.port):
            until(lambda: model.status().stream == "connected", 30)
            flip(registry)
            until(lambda: model.current.version == 2)
