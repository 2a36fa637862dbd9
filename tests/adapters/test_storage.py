"""The contract of a store, against each backend."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cd4ml.adapters.storage import FolderStorage, Storage, open_store
from cd4ml.errors import ConflictError, NotFoundError, UsageError
from tests.adapters.s3_server import environment
from tests.adapters.samples import Where, opened, where


def increment(place: Where, times: int) -> None:
    storage = opened(place)
    for _ in range(times):
        while True:
            found = storage.read_versioned("counter")
            assert found
            try:
                storage.compare_and_swap("counter", str(int(found[0]) + 1).encode(), found[1])
            except ConflictError:
                continue
            break


def test_what_was_put_is_what_get_returns(storage: Storage) -> None:
    storage.put("a/b c%é.txt", b"\x00one")
    assert storage.get("a/b c%é.txt") == b"\x00one"
    storage.put("a/b c%é.txt", b"")
    assert storage.get("a/b c%é.txt") == b""
    assert storage.exists("a/b c%é.txt")


def test_a_key_that_is_not_there_is_an_error_that_names_it(storage: Storage) -> None:
    with pytest.raises(NotFoundError, match="nowhere/x"):
        storage.get("nowhere/x")
    assert not storage.exists("nowhere/x")
    assert storage.read_versioned("nowhere/x") is None


def test_list_takes_a_string_and_sorts(storage: Storage) -> None:
    for key in ("b/2", "b/1", "bc", "a/x/y", "b-/z"):
        storage.put(key, b".")
    assert storage.list("") == ["a/x/y", "b-/z", "b/1", "b/2", "bc"]
    assert storage.list("b/") == ["b/1", "b/2"]
    assert storage.list("b") == ["b-/z", "b/1", "b/2", "bc"]
    assert storage.list("a/x") == ["a/x/y"]
    assert storage.list("none/") == []


def test_a_name_that_has_the_mark_of_an_unfinished_file_within_is_an_ordinary_one(storage: Storage) -> None:
    storage.put("a/b.incomplete-x", b"1")
    assert storage.list("a/") == ["a/b.incomplete-x"]


def test_delete_removes_one_key_and_is_silent_the_second_time(storage: Storage) -> None:
    storage.put("a/1", b"1")
    storage.put("a/2", b"2")
    storage.delete("a/1")
    storage.delete("a/1")
    assert storage.list("") == ["a/2"]


def test_a_swap_with_the_version_that_was_read_wins_and_gives_the_next_version(storage: Storage) -> None:
    first = storage.compare_and_swap("k", b"1", None)
    assert storage.read_versioned("k") == (b"1", first)
    second = storage.compare_and_swap("k", b"2", first)
    assert storage.read_versioned("k") == (b"2", second)
    assert first != second


def test_a_swap_with_an_old_version_is_refused_and_writes_nothing(storage: Storage) -> None:
    first = storage.compare_and_swap("k", b"1", None)
    storage.compare_and_swap("k", b"2", first)
    with pytest.raises(ConflictError, match="another writer"):
        storage.compare_and_swap("k", b"3", first)
    assert storage.get("k") == b"2"


def test_creating_what_exists_and_changing_what_does_not_are_refused(storage: Storage) -> None:
    token = storage.compare_and_swap("k", b"1", None)
    with pytest.raises(ConflictError):
        storage.compare_and_swap("k", b"2", None)
    storage.delete("k")
    with pytest.raises(ConflictError):
        storage.compare_and_swap("k", b"2", token)
    assert not storage.exists("k")


def test_four_processes_that_count_lose_nothing(storage: Storage) -> None:
    storage.put("counter", b"0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=increment, args=(where(storage), 15)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert storage.get("counter") == b"60"


def folder_of(tmp_path: Path, name: str = "source") -> Path:
    folder = tmp_path / name
    (folder / "deep/er").mkdir(parents=True)
    (folder / "a.txt").write_bytes(b"a")
    (folder / "deep/er/b.bin").write_bytes(bytes(range(256)) * 9000)
    (folder / ".incomplete-c").write_bytes(b"half")
    return folder


def test_upload_and_download_carry_a_folder_and_skip_what_is_there(storage: Storage, tmp_path: Path) -> None:
    source, target = folder_of(tmp_path), tmp_path / "target"
    assert storage.upload(source, "up/x") == 2
    assert storage.upload(source, "up/x/") == 0
    assert storage.list("") == ["up/x/a.txt", "up/x/deep/er/b.bin"]
    assert storage.download("up/x", target) == 2
    assert (target / "deep/er/b.bin").read_bytes() == (source / "deep/er/b.bin").read_bytes()
    (target / "a.txt").write_bytes(b"?")
    assert storage.download("up/x/", target) == 1
    assert (target / "a.txt").read_bytes() == b"a"
    (source / "a.txt").write_bytes(b"b")
    assert storage.upload(source, "up/x") == 1
    assert storage.get("up/x/a.txt") == b"b"


def test_download_of_nothing_and_upload_of_no_folder_are_errors(storage: Storage, tmp_path: Path) -> None:
    storage.put("up/xy/a", b"")
    with pytest.raises(NotFoundError, match="nothing beneath"):
        storage.download("up/x", tmp_path / "t")
    with pytest.raises(UsageError, match="expected a folder"):
        storage.upload(tmp_path / "none", "up")


def test_the_file_named_last_is_sent_after_all_others(tmp_path: Path) -> None:
    from cd4ml.adapters.storage.base import files_beneath

    assert [name for name, _ in files_beneath(folder_of(tmp_path), "a.txt")] == ["deep/er/b.bin", "a.txt"]


ODD = [
    *(
        "a b",
        " a",
        "a ",
        "a+b",
        "a%20b",
        "a%2Bb",
        "%",
        "+",
        "a.",
        "...",
        "a~b",
        "a?b=c",
        "a#b",
        "a=b&list-type=2",
    ),
    *("a&b<c>'\"", "a;b:c@d,e$g!h*i(j)", "{x}", "[y]", "^`|", "-", "_"),
    *("ü/é", "e\u0301", "日本語", "Ω/😀", "\u200b", "x" * 220 + "/" + "é" * 110),
]


def test_keys_with_odd_characters_are_kept_apart_and_listed_as_they_are(
    storage: Storage, tmp_path: Path
) -> None:
    for key in ODD:
        storage.put(key, key.encode())
    assert storage.list("") == sorted(ODD)
    assert [storage.get(key) for key in ODD] == [key.encode() for key in ODD]
    for key in ODD:
        found = storage.read_versioned(key)
        assert found
        assert storage.compare_and_swap(key, b"", found[1]) != found[1]
        assert storage.get(key) == b""
    storage.put("folder/" + ODD[-2], b"x")
    assert storage.download("folder", tmp_path / "t") == 1
    assert (tmp_path / "t" / ODD[-2]).read_bytes() == b"x"


@pytest.mark.parametrize("key", ["x" * 221, "é" * 111, "/".join(["12345"] * 167), "\ud83d", "a/\udcff"])
def test_a_key_that_not_every_store_can_hold_is_refused_by_all(storage: Storage, key: str) -> None:
    with pytest.raises(UsageError, match="a key must") as caught:
        storage.put(key, b"")
    assert len(str(caught.value).encode(errors="replace")) < 250
    with pytest.raises(UsageError):
        storage.exists(key)


def test_an_empty_object_is_there(storage: Storage, tmp_path: Path) -> None:
    token = storage.compare_and_swap("d/empty", b"", None)
    assert storage.exists("d/empty")
    assert storage.read_versioned("d/empty") == (b"", token)
    with pytest.raises(ConflictError):
        storage.compare_and_swap("d/empty", b"", None)
    assert storage.download("d", tmp_path / "t") == 1
    assert (tmp_path / "t/empty").read_bytes() == b""
    assert storage.upload(tmp_path / "t", "d") == 0


def test_who_reads_while_others_write_sees_one_whole_content(storage: Storage) -> None:
    contents = [bytes([letter]) * (6 << 20 if letter == 97 else 70_000) for letter in b"abcd"]
    storage.put("k", contents[0])
    writers = [threading.Thread(target=storage.put, args=("k", content)) for content in contents * 2]
    for writer in writers:
        writer.start()
    seen = 0
    while any(writer.is_alive() for writer in writers) or seen < 5:
        assert storage.get("k") in contents
        seen += 1
    for writer in writers:
        writer.join()
    assert storage.list("") == ["k"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a//b",
        "../a",
        "a/..",
        "a/./b",
        "a\\b",
        "a/",
        ".incomplete-x",
        "a/.locks/x",
        "a\0",
        "a\nb",
        "\x7f",
    ],
)
def test_a_key_that_could_leave_the_store_is_refused(storage: Storage, key: str) -> None:
    with pytest.raises(UsageError, match="relative path"):
        storage.put(key, b"")
    with pytest.raises(UsageError, match="relative path"):
        storage.get(key)


NAMES = st.text(st.sampled_from("ab.-_ "), min_size=1, max_size=4).filter(lambda name: name.strip(". ") != "")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.sets(st.tuples(NAMES, NAMES).map("/".join), max_size=6),
    prefix=st.sampled_from(["", "a", "b/", "a/a"]),
)
def test_a_folder_lists_exactly_what_begins_with_the_prefix(
    tmp_path_factory, keys: set[str], prefix: str
) -> None:
    store = FolderStorage(tmp_path_factory.mktemp("store"))
    for key in keys:
        store.put(key, key.encode())
    assert store.list(prefix) == sorted(key for key in keys if key.startswith(prefix))


def test_open_store_takes_a_folder_a_file_url_a_bucket_or_the_environment(tmp_path: Path) -> None:
    with environment(CD4ML_STORE=None, CD4ML_S3_ENDPOINT=None):
        assert open_store(str(tmp_path)).url("k") == str(tmp_path / "k")
        assert open_store(f"file://{tmp_path}").url("k") == str(tmp_path / "k")
        assert open_store("s3://bucket/a/b/").url("k") == "s3://bucket/a/b/k"
        assert open_store("s3://bucket").url("k") == "s3://bucket/k"
        assert open_store().url("k") == str(Path.cwd() / ".cd4ml/store/k")
    with environment(CD4ML_STORE=str(tmp_path / "other")):
        assert open_store().url("k") == str(tmp_path / "other/k")


@pytest.mark.parametrize("url", ["gs://bucket/x", "s3://", "http://host/x"])
def test_open_store_refuses_what_is_no_store(url: str) -> None:
    with pytest.raises(UsageError, match="folder or s3://bucket/prefix"):
        open_store(url)
