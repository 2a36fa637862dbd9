"""A store in S3 whose network and server misbehave: nothing half-written is read, and errors are true."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cd4ml.adapters.storage import S3Storage
from cd4ml.errors import Cd4mlError, ConflictError, IntegrityError, NotFoundError, ServiceError
from tests.adapters.fault_proxy import (
    Exchange,
    Fault,
    FaultProxy,
    alter_answer,
    answering,
    cut_answer,
    cut_request,
    fault_proxy,
    lose_answer,
    lose_request,
    silent_after,
    silent_before,
    trickle,
)
from tests.adapters.s3_server import new_bucket

pytestmark = pytest.mark.s3

ALWAYS = 1000
OLD, NEW = b"old" * 100_000, b"new!" * 100_000
BIG = os.urandom(1 << 20) * 12


@dataclass
class Scene:
    """The same store through the proxy, in a hurry too, and past it."""

    proxy: FaultProxy
    store: S3Storage
    hasty: S3Storage
    direct: S3Storage


@pytest.fixture
def scene(endpoint: str) -> Iterator[Scene]:
    direct = new_bucket(endpoint)
    with fault_proxy(endpoint) as proxy:
        store, hasty = (S3Storage(direct.bucket, direct.prefix, proxy.endpoint, wait) for wait in (20.0, 1.0))
        yield Scene(proxy, store, hasty, direct)


def folder_with(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/f").write_bytes(data)
    return tmp_path / "in"


def unfinished(store: S3Storage) -> int:
    """Return how many uploads in parts were begun and neither ended nor given up."""
    found = store._client._list_multipart_uploads(store.bucket, prefix=store.prefix)
    return len(found.uploads)


WORK: dict[str, Callable[[S3Storage], object]] = {
    "get": lambda store: store.get("k"),
    "put": lambda store: store.put("k", NEW),
    "exists": lambda store: store.exists("k"),
    "list": lambda store: store.list(""),
    "read": lambda store: store.read_versioned("k"),
    "swap": lambda store: store.compare_and_swap("new", b"1", None),
    "delete": lambda store: store.delete("k"),
}


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize(
    "fault",
    [answering(503, "SlowDown", Retry_After="3600"), answering(500, "InternalError"), answering(502)],
    ids=["slow-down", "internal-error", "gateway"],
)
def test_a_server_that_fails_twice_is_asked_again(scene: Scene, work: str, fault: Fault) -> None:
    scene.direct.put("k", OLD)
    scene.store.compare_and_swap("probed", b"", None)
    scene.proxy.on("", "", fault, times=2)
    found = WORK[work](scene.store)
    if work in {"get", "exists", "list", "read"}:
        assert found == WORK[work](scene.direct)
    if work == "put":
        assert scene.direct.get("k") == NEW
    if work == "swap":
        assert scene.direct.read_versioned("new") == (b"1", found)
    assert scene.direct.exists("k") == (work != "delete")


@pytest.mark.parametrize("work", ["get", "put", "list", "swap"])
def test_a_server_that_stays_busy_is_given_up_within_seconds(scene: Scene, work: str) -> None:
    scene.direct.put("k", OLD)
    scene.store.compare_and_swap("probed", b"", None)
    scene.proxy.requests.clear()
    scene.proxy.on("", "", answering(503, "SlowDown", Retry_After="3600"), times=ALWAYS)
    start = time.monotonic()
    with pytest.raises(ServiceError, match=r"is too busy \(.*HTTP 503\) and stayed so"):
        WORK[work](scene.store)
    assert time.monotonic() - start < 15
    assert scene.direct.get("k") == OLD
    assert not scene.direct.exists("new")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (answering(502), r"keeps failing \(HTTP 502\)"),
        (lose_request, r"cannot be reached \(ProtocolError\)"),
    ],
)
def test_what_goes_wrong_at_every_attempt_is_told_and_the_attempts_are_counted(
    scene: Scene, fault: Fault, said: str
) -> None:
    token = scene.store.compare_and_swap("k", b"0", None)
    scene.proxy.requests.clear()
    scene.proxy.on("PUT", "", fault, times=ALWAYS)
    with pytest.raises(ServiceError, match=said):
        scene.store.put("p", NEW)
    assert scene.proxy.count("PUT", "/p") == (2 if fault is lose_request else 5)
    with pytest.raises(ServiceError, match=rf"not be written at 5 attempts: .*{said}") as caught:
        scene.store.compare_and_swap("k", b"1", token)
    assert scene.proxy.count("PUT", "/k") == 5
    assert not isinstance(caught.value, ConflictError)
    assert scene.direct.read_versioned("k") == (b"0", token)


def test_a_put_that_is_cut_off_in_the_middle_leaves_the_old_content(scene: Scene) -> None:
    scene.direct.put("k", OLD)
    scene.proxy.on("PUT", "/k", cut_request, times=ALWAYS)
    with pytest.raises(ServiceError, match="cannot be reached"):
        scene.store.put("k", NEW)
    assert scene.direct.get("k") == OLD
    scene.proxy.heal()
    scene.proxy.on("PUT", "/k", cut_request)
    scene.store.put("k", NEW)
    assert scene.direct.get("k") == NEW


def test_a_put_whose_answers_are_lost_was_done_all_the_same(scene: Scene) -> None:
    scene.proxy.on("PUT", "/k", lose_answer, times=ALWAYS)
    scene.store.put("k", NEW)
    assert scene.direct.get("k") == NEW


def test_a_large_upload_that_is_cut_off_shows_nothing_and_is_given_up(scene: Scene, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, BIG)
    scene.proxy.on("PUT", "partNumber=2", cut_request, times=ALWAYS)
    with pytest.raises(ServiceError):
        scene.store.upload(folder, "d")
    assert scene.direct.list("") == []
    assert scene.direct.read_versioned("d/f") is None
    assert scene.proxy.count("DELETE", "uploadId") == 1
    assert unfinished(scene.direct) == 0
    scene.proxy.heal()
    scene.proxy.on("PUT", "partNumber=2", cut_request)
    assert scene.store.upload(folder, "d") == 1
    assert scene.direct.get("d/f") == BIG


def test_a_large_upload_that_replaces_an_object_leaves_the_old_one_until_its_end(
    scene: Scene, tmp_path: Path
) -> None:
    scene.direct.put("d/f", OLD)
    seen = []

    def look_and_cut(exchange: Exchange) -> None:
        seen.append(scene.direct.get("d/f") == OLD)
        lose_request(exchange)

    scene.proxy.on("POST", "uploadId", look_and_cut, times=ALWAYS)
    with pytest.raises(ServiceError):
        scene.store.upload(folder_with(tmp_path, BIG), "d")
    assert seen
    assert all(seen)
    assert scene.direct.get("d/f") == OLD
    assert unfinished(scene.direct) == 0


def test_a_large_upload_whose_last_answer_is_lost_is_found_to_be_done(scene: Scene, tmp_path: Path) -> None:
    scene.proxy.on("POST", "uploadId", lose_answer, times=ALWAYS)
    assert scene.store.upload(folder_with(tmp_path, BIG), "d") == 1
    assert scene.direct.get("d/f") == BIG


def test_a_large_upload_that_ends_with_an_error_within_a_200_is_an_error(
    scene: Scene, tmp_path: Path
) -> None:
    scene.proxy.on("POST", "uploadId", answering(200, "InternalError"), times=ALWAYS)
    with pytest.raises(ServiceError, match="did not put the parts of"):
        scene.store.upload(folder_with(tmp_path, BIG), "d")
    assert not scene.direct.exists("d/f")


@pytest.mark.parametrize("fault", [answering(503, "SlowDown"), lose_request], ids=["busy", "cut"])
def test_every_request_of_a_large_upload_is_sent_again(scene: Scene, tmp_path: Path, fault: Fault) -> None:
    for method, path in (("HEAD", "/f"), ("POST", "uploads"), ("PUT", "partNumber=1"), ("POST", "uploadId")):
        scene.proxy.on(method, path, fault)
    assert scene.store.upload(folder_with(tmp_path, BIG), "d") == 1
    assert scene.direct.get("d/f") == BIG


def test_a_download_that_is_cut_off_begins_anew_and_leaves_no_part(scene: Scene, tmp_path: Path) -> None:
    scene.direct.put("d/f", BIG)
    scene.proxy.on("GET", "/d/f", cut_answer, times=2)
    assert scene.store.download("d", tmp_path / "one") == 1
    assert (tmp_path / "one/f").read_bytes() == BIG
    scene.proxy.on("GET", "/d/f", cut_answer, times=ALWAYS)
    with pytest.raises(ServiceError, match="broke off in the middle"):
        scene.store.download("d", tmp_path / "two")
    assert not [path for path in (tmp_path / "two").rglob("*") if path.is_file()]


def flip(body: bytes) -> bytes:
    return body[:1000] + bytes([body[1000] ^ 1]) + body[1001:]


@pytest.mark.parametrize("change", [lambda body: body[: len(body) // 2], lambda _: b"", flip])
def test_a_body_that_is_shorter_or_other_than_what_was_stored_is_refused(
    scene: Scene, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    scene.direct.put("d/f", OLD)
    scene.proxy.on("GET", "/d/f", alter_answer(change), times=ALWAYS)
    works: list[Callable[[], object]] = [
        lambda: scene.store.get("d/f"),
        lambda: scene.store.read_versioned("d/f"),
        lambda: scene.store.download("d", tmp_path / "t"),
    ]
    for work in works:
        with pytest.raises(IntegrityError, match=r"d/f' was stored with SHA-256 .* arrived with") as caught:
            work()
        assert caught.value.exit_code == 4
    assert not [path for path in (tmp_path / "t").rglob("*") if path.is_file()]


def test_a_body_that_is_changed_on_its_way_is_not_stored(scene: Scene, real_endpoint: str) -> None:
    scene.direct.put("k", OLD)
    scene.proxy.on("PUT", "/k", lambda exchange: exchange.reply(exchange.forward(flip(exchange.body()))))
    with pytest.raises(ServiceError):
        scene.store.put("k", NEW)
    assert scene.direct.get("k") == OLD


def test_a_slow_answer_is_waited_for_and_a_silent_server_is_not(scene: Scene) -> None:
    scene.direct.put("k", OLD)
    scene.proxy.on("GET", "/k", trickle(0.15))
    assert scene.hasty.get("k") == OLD, "1.5 s in all, and never 1 s without a byte"
    scene.proxy.on("", "", silent_before(30), times=ALWAYS)
    start = time.monotonic()
    with pytest.raises(ServiceError, match=r"cannot be reached \(ReadTimeoutError\)"):
        scene.hasty.get("k")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("fault", [lose_answer, silent_after(30)], ids=["lost", "silent"])
def test_a_swap_that_was_done_and_not_answered_is_found_by_reading(scene: Scene, fault: Fault) -> None:
    scene.store.compare_and_swap("probed", b"", None)
    scene.proxy.on("PUT", "/k", fault)
    first = scene.hasty.compare_and_swap("k", b"1", None)
    assert scene.direct.read_versioned("k") == (b"1", first)
    scene.proxy.on("PUT", "/k", fault)
    second = scene.hasty.compare_and_swap("k", b"2", first)
    assert scene.direct.read_versioned("k") == (b"2", second)
    assert scene.proxy.count("PUT", "/k$") == 2, "none was sent twice"


def test_a_swap_that_was_done_not_answered_and_followed_by_another_is_a_conflict(scene: Scene) -> None:
    token = scene.store.compare_and_swap("k", b"0", None)

    def overtaken(exchange: Exchange) -> None:
        lose_answer(exchange)
        found = scene.direct.read_versioned("k")
        assert found
        scene.direct.compare_and_swap("k", found[0] + b" other", found[1])

    scene.proxy.on("PUT", "/k", overtaken)
    with pytest.raises(ConflictError, match="read it again"):
        scene.store.compare_and_swap("k", b"mine", token)
    assert b"other" in scene.direct.get("k")


def test_a_swap_that_did_not_arrive_is_sent_again_and_loses_to_who_came_first(scene: Scene) -> None:
    token = scene.store.compare_and_swap("k", b"0", None)
    scene.proxy.on("PUT", "/k", cut_request)
    token = scene.store.compare_and_swap("k", b"1", token)
    assert scene.direct.read_versioned("k") == (b"1", token)

    def beaten(exchange: Exchange) -> None:
        scene.direct.compare_and_swap("k", b"other", token)
        lose_request(exchange)

    scene.proxy.on("PUT", "/k", beaten)
    with pytest.raises(ConflictError):
        scene.store.compare_and_swap("k", b"2", token)
    assert scene.direct.get("k") == b"other"


def test_a_swap_that_nobody_answers_and_that_was_not_done_is_no_conflict(scene: Scene) -> None:
    token = scene.store.compare_and_swap("k", b"0", None)
    scene.proxy.on("PUT", "/k", silent_before(30), times=ALWAYS)
    with pytest.raises(ServiceError, match="ReadTimeoutError") as caught:
        scene.hasty.compare_and_swap("k", b"1", token)
    assert not isinstance(caught.value, ConflictError)
    assert scene.direct.read_versioned("k") == (b"0", token)


def test_swaps_through_a_bad_network_lose_and_repeat_nothing(scene: Scene) -> None:
    """Four writers count while one answer in five is lost and one request in five does not arrive."""
    scene.store.compare_and_swap("n", b"0", None)
    for number in range(0, 200, 5):
        scene.proxy.on("PUT", "/n$", lose_answer, skip=number)
        scene.proxy.on("PUT", "/n$", answering(503, "SlowDown"), skip=number + 2)
    counted, unsure = [], []

    def count() -> None:
        done = 0
        while done < 5:
            found = scene.store.read_versioned("n")
            assert found
            try:
                scene.store.compare_and_swap("n", str(int(found[0]) + 1).encode(), found[1])
            except ConflictError as error:
                # Lost, or done and overtaken before it could be seen: then the answer was lost.
                if error.__cause__ is not None and not hasattr(error.__cause__, "code"):
                    unsure.append(1)
                continue
            done += 1
        counted.append(done)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == [5] * 4
    assert 20 <= int(scene.direct.get("n")) <= 20 + len(unsure)


def test_a_list_of_pages_is_whole_or_an_error(scene: Scene) -> None:
    from concurrent.futures import ThreadPoolExecutor

    keys = sorted(f"many/{number:04d} ü+" for number in range(1100))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: scene.direct.put(key, b""), keys))
    assert scene.direct.list("many/") == scene.store.list("many/") == keys
    for fault in (answering(503, "SlowDown"), cut_answer, lose_answer, alter_answer(lambda body: body[:-40])):
        scene.proxy.on("GET", "continuation-token=", fault)
        assert scene.store.list("many/") == keys
        scene.proxy.on("GET", "continuation-token=", fault, times=ALWAYS)
        with pytest.raises(ServiceError):
            scene.store.list("many/")
        scene.proxy.heal()


def remove_bucket(store: S3Storage) -> None:
    for item in store._client.list_objects(store.bucket, recursive=True):
        store._client.remove_object(store.bucket, str(item.object_name))
    store._client.remove_bucket(store.bucket)


@pytest.mark.parametrize("work", WORK)
def test_a_bucket_that_disappeared_is_told_by_each_call(scene: Scene, work: str) -> None:
    scene.store.compare_and_swap("probed", b"", None)
    remove_bucket(scene.direct)
    with pytest.raises(ServiceError, match=f"the bucket '{scene.direct.bucket}' does not exist"):
        WORK[work](scene.store)


def test_a_bucket_that_disappears_in_the_middle_of_an_upload_is_told(scene: Scene, tmp_path: Path) -> None:
    folder = folder_with(tmp_path, BIG)
    (folder / "a").write_bytes(b"a")

    def gone(exchange: Exchange) -> None:
        remove_bucket(scene.direct)
        exchange.reply(exchange.forward())

    scene.proxy.on("POST", "uploads", gone)
    with pytest.raises(ServiceError, match=r"does not exist .* create it \('aws s3 mb"):
        scene.store.upload(folder, "d")


def test_a_key_that_is_deleted_between_list_and_fetch_is_an_error(scene: Scene, tmp_path: Path) -> None:
    scene.direct.put("d/a", b"a")
    scene.direct.put("d/b", b"b")
    scene.proxy.on("GET", "/d/b", lambda exchange: (scene.direct.delete("d/b"), lose_request(exchange))[1])
    with pytest.raises((NotFoundError, ServiceError)) as caught:
        scene.store.download("d", tmp_path / "t")
    assert isinstance(caught.value, Cd4mlError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "t/b").exists()
