"""The audit log: what is altered, removed, added or moved shows, and writers at once share one chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cd4ml.adapters.actor import current_actor
from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.audit_line import FIRST, canonical, parse_line
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair
from cd4ml.adapters.storage import FolderStorage, Storage
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.errors import IntegrityError, MetricError, UsageError
from tests.adapters.s3_server import environment
from tests.adapters.samples import at_once

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PRIVATE, PUBLIC = generate_keypair()
OTHER_PRIVATE, OTHER_PUBLIC = generate_keypair()
LOG = "audit/000001.jsonl"
HEAD = "audit/head.json"


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield


def filled(storage: Storage, count: int, segment_lines: int = 1000) -> AuditLog:
    log = AuditLog(storage, segment_lines)
    for number in range(1, count + 1):
        log.append("test", f"subject {number}", {"number": number}, NOON, by="ann")
    return log


@pytest.fixture
def store(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "store")


def texts(store: Storage, key: str = LOG) -> list[bytes]:
    return store.get(key).splitlines(keepends=True)


def test_lines_follow_each_other_by_hash_and_say_what_was_given(storage: Storage) -> None:
    log = filled(storage, 3)
    lines = list(log.lines())
    assert [line.number for line in lines] == [1, 2, 3]
    assert lines[0].previous == FIRST
    assert [line.previous for line in lines[1:]] == [line.hash for line in lines[:-1]]
    said = (lines[1].at, lines[1].by, lines[1].kind, lines[1].subject, lines[1].facts)
    assert said == ("2026-01-31T12:00:00+00:00", "ann", "test", "subject 2", {"number": 2})
    found = log.verify()
    assert (found.lines, found.head, found.unsigned) == (3, lines[2].hash, 3)
    assert "UNSIGNED: nobody vouches for 3 of 3 lines" in found.warning
    assert log.head() == lines[2].hash


def test_an_empty_log_is_whole(store: FolderStorage) -> None:
    log = AuditLog(store)
    assert (log.verify().lines, log.verify().head, log.verify().warning, log.head()) == (0, FIRST, "", "")
    with environment(**{VERIFY_KEY: PUBLIC}):
        assert log.verify().lines == 0


def test_one_changed_byte_anywhere_is_found_and_its_line_is_named(store: FolderStorage) -> None:
    log = filled(store, 3)
    data = store.get(LOG)
    for place in range(0, len(data), 7):
        store.put(LOG, data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        line = data[:place].count(b"\n") + 1
        with pytest.raises(IntegrityError, match=f"line {line} of the audit log|lines? .*removed"):
            log.verify()
    store.put(LOG, data)
    assert log.verify().lines == 3


@pytest.mark.parametrize("gone", [1, 2, 3, 4])
def test_a_removed_line_is_named_wherever_it_stood(store: FolderStorage, gone: int) -> None:
    log = filled(store, 4)
    lines = texts(store)
    store.put(LOG, b"".join(lines[: gone - 1] + lines[gone:]))
    with pytest.raises(IntegrityError, match=f"line {gone}.* of the audit log was removed"):
        log.verify()


def test_several_lines_cut_off_at_the_end_are_named_and_nothing_is_written_behind(
    store: FolderStorage,
) -> None:
    log = filled(store, 5)
    store.put(LOG, b"".join(texts(store)[:2]))
    with pytest.raises(IntegrityError, match="lines 3 to 5, at the end, of the audit log were removed"):
        log.verify()
    with pytest.raises(IntegrityError, match="lines 3 to 5"):
        log.append("test", "more", {}, NOON)


def test_all_lines_removed_but_for_the_head_are_missed(store: FolderStorage) -> None:
    log = filled(store, 2)
    store.delete(LOG)
    for attempt in (log.verify, lambda: log.append("test", "more", {}, NOON)):
        with pytest.raises(IntegrityError, match="lines 1 to 2, at the end,"):
            attempt()


def test_a_line_written_anew_with_a_hash_that_fits_breaks_the_next_one(store: FolderStorage) -> None:
    log = filled(store, 3)
    lines = texts(store)
    store.put(LOG, lines[0] + rewritten(lines[1], by="mallory") + lines[2])
    with pytest.raises(IntegrityError, match="line 3 of the audit log does not follow line 2 as it is now"):
        log.verify()


def test_the_last_line_written_anew_is_not_the_one_of_the_head(store: FolderStorage) -> None:
    log = filled(store, 3)
    lines = texts(store)
    store.put(LOG, lines[0] + lines[1] + rewritten(lines[2], by="mallory"))
    with pytest.raises(IntegrityError, match="line 3 of the audit log is not the one that was written"):
        log.verify()
    with pytest.raises(IntegrityError, match="line 3 of the audit log is not the one that was written"):
        log.append("test", "more", {}, NOON)


def rewritten(line: bytes, **changes: object) -> bytes:
    """Return a line with other content and the hash that fits it."""
    said = {**json.loads(line), **changes}
    del said["hash"]
    return canonical({**said, "hash": sha256_bytes(canonical(said))}) + b"\n"


def test_lines_that_were_exchanged_or_copied_are_found(store: FolderStorage) -> None:
    log = filled(store, 3)
    lines = texts(store)
    store.put(LOG, b"".join([lines[0], lines[1], lines[0], lines[2]]))
    with pytest.raises(IntegrityError, match="line 3 of the audit log is a copy of line 1"):
        log.verify()
    store.put(LOG, lines[0] + lines[1] + lines[1])
    with pytest.raises(IntegrityError, match="line 3 of the audit log is a copy of line 2"):
        log.append("test", "more", {}, NOON)


@pytest.mark.parametrize(
    "text", [b"no json", b"[]", b"{}", b'{"number":1}', b"\xff", b'"' + b"x" * 9, b"[" * 100_000]
)
def test_what_is_no_line_is_named(text: bytes) -> None:
    with pytest.raises(IntegrityError, match="line 7 of the audit log was altered"):
        parse_line(text, 7)


def test_half_a_line_is_found(store: FolderStorage) -> None:
    log = filled(store, 2)
    store.put(LOG, store.get(LOG)[:-20])
    for attempt in (log.verify, lambda: log.append("test", "more", {}, NOON)):
        with pytest.raises(IntegrityError, match="line 2 of the audit log was cut off in its middle"):
            attempt()


def test_a_new_file_is_begun_when_one_is_full_and_the_chain_goes_on(store: FolderStorage) -> None:
    log = filled(store, 7, segment_lines=3)
    assert [len(texts(store, f"audit/00000{n}.jsonl")) for n in (1, 2, 3)] == [3, 3, 1]
    assert log.verify().lines == 7
    middle = store.get("audit/000002.jsonl")
    store.delete("audit/000002.jsonl")
    with pytest.raises(IntegrityError, match=r"lines 4 to 6 .*000002.jsonl.* were removed"):
        log.verify()
    store.put("audit/000002.jsonl", b"".join(middle.splitlines(keepends=True)[:2]))
    with pytest.raises(IntegrityError, match=r"lines behind line 5, at the end of a file, .*were removed"):
        log.verify()
    store.put("audit/000002.jsonl", middle)
    assert log.verify().lines == 7
    store.delete("audit/000003.jsonl")
    with pytest.raises(IntegrityError, match="line 7, at the end, of the audit log was removed"):
        log.append("test", "more", {}, NOON)
    store.put("audit/000003.jsonl", b"")
    with pytest.raises(IntegrityError, match=r"the lines of .*000003.jsonl.* were|was removed"):
        log.append("test", "more", {}, NOON)


def add(storage: Storage, name: str, count: int) -> list[str]:
    log = AuditLog(storage, segment_lines=4)
    return [log.append("test", name, {"number": number}, NOON).subject for number in range(count)]


def test_of_writers_at_once_every_line_is_in_one_chain(storage: Storage) -> None:
    at_once(storage, add, [("first", 5), ("second", 5), ("third", 5)])
    log = AuditLog(storage, segment_lines=4)
    lines = list(log.lines())
    assert log.verify().lines == 15
    for name in ("first", "second", "third"):
        assert [line.facts["number"] for line in lines if line.subject == name] == [0, 1, 2, 3, 4]


def test_a_writer_that_was_killed_before_the_head_moved_does_no_harm(store: FolderStorage) -> None:
    log = filled(store, 2)
    head = store.get(HEAD)
    log.append("test", "third", {}, NOON)
    store.put(HEAD, head)
    assert log.verify().lines == 3
    log.append("test", "fourth", {}, NOON)
    assert log.verify().lines == 4
    assert json.loads(store.get(HEAD))["lines"] == 4


def test_a_head_that_was_removed_or_altered_is_missed(store: FolderStorage) -> None:
    with environment(**{SIGNING_KEY: PRIVATE}):
        log = filled(store, 2)
    head = json.loads(store.get(HEAD))
    store.delete(HEAD)
    with pytest.raises(IntegrityError, match=r"head.json' of the audit log was removed"):
        log.verify()
    store.put(HEAD, json.dumps({**head, "lines": 1}).encode())
    with pytest.raises(IntegrityError, match="its signature does not fit"):
        log.verify()
    store.put(HEAD, b"{}")
    with pytest.raises(IntegrityError, match="it lacks 'lines'"):
        log.append("test", "more", {}, NOON)


def test_a_hash_that_was_noted_elsewhere_shows_that_the_log_was_written_anew(tmp_path: Path) -> None:
    noted = filled(FolderStorage(tmp_path / "a"), 2).verify().head
    log = filled(FolderStorage(tmp_path / "a"), 2)
    assert log.verify(noted).lines == 4
    other = AuditLog(FolderStorage(tmp_path / "b"))
    other.append("test", "another history", {}, NOON)
    with pytest.raises(IntegrityError, match=f"no line of the audit log has the hash {noted[:12]}"):
        other.verify(noted)


def test_lines_are_signed_with_the_key_and_verified_with_ours(store: FolderStorage) -> None:
    filled(store, 1)
    with environment(**{SIGNING_KEY: PRIVATE, VERIFY_KEY: PUBLIC}):
        log = filled(store, 2)
        found = log.verify()
        assert (found.signed, found.unsigned, found.lines, len(found.keys)) == (2, 1, 3, 1)
    with (
        environment(**{VERIFY_KEY: OTHER_PUBLIC}),
        pytest.raises(IntegrityError, match="is not by one of ours"),
    ):
        log.verify()
    assert log.verify().unknown == 2
    assert "UNVERIFIED: 2 lines" in log.verify().warning


def test_an_unsigned_line_behind_a_signed_one_is_refused_where_keys_are_set(store: FolderStorage) -> None:
    with environment(**{SIGNING_KEY: PRIVATE}):
        filled(store, 2)
    log = filled(store, 1)
    with environment(**{VERIFY_KEY: PUBLIC}), pytest.raises(IntegrityError, match=r"line 3 .*is not signed"):
        log.verify()


def test_a_log_without_any_signature_is_refused_where_keys_are_set(store: FolderStorage) -> None:
    log = filled(store, 2)
    with (
        environment(**{VERIFY_KEY: PUBLIC}),
        pytest.raises(IntegrityError, match=r"no line .* is signed by a key"),
    ):
        log.verify()


def test_a_signed_line_with_other_words_and_a_hash_that_fits_is_refused(store: FolderStorage) -> None:
    with environment(**{SIGNING_KEY: PRIVATE}):
        log = filled(store, 1)
        store.put(LOG, rewritten(texts(store)[0], subject="another"))
        store.delete(HEAD)
        with pytest.raises(IntegrityError, match="its signature does not fit what it says"):
            log.verify()
    stripped = rewritten(texts(store)[0], signature=None)
    store.put(LOG, stripped)
    with environment(**{VERIFY_KEY: PUBLIC}), pytest.raises(IntegrityError, match=r"no line .* is signed"):
        log.verify()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (("", "s", {}, NOON), UsageError, "needs a kind and a subject"),
        (("k", "", {}, NOON), UsageError, "needs a kind and a subject"),
        (("k", "s", {}, datetime(2026, 1, 1)), UsageError, "time with its zone"),
        (("k", "s", {"x": float("nan")}, NOON), MetricError, "finite numbers"),
        (("k", "s", {"x": {1, 2}}, NOON), UsageError, "must be JSON"),
    ],
)
def test_what_cannot_be_told_is_refused(
    store: FolderStorage, arguments: tuple[str, str, dict[str, object], datetime], error: type, said: str
) -> None:
    with pytest.raises(error, match=said):
        AuditLog(store).append(*arguments)
    assert store.list("audit/") == []


def test_text_of_any_kind_is_one_line(store: FolderStorage) -> None:
    facts = {"reason": 'two\nlines\u2028and "quotes"', "naïve": "Übermut"}
    AuditLog(store).append("test", "s", facts, NOON)
    filled(store, 1)
    assert next(AuditLog(store).lines()).facts == facts
    assert AuditLog(store).verify().lines == 2


def test_who_is_at_work_is_said_or_told_by_the_environment() -> None:
    nobody = dict.fromkeys(("CD4ML_ACTOR", "GITHUB_ACTOR", "GITLAB_USER_LOGIN", "BUILD_USER_ID", "USER"))
    with environment(**nobody):
        assert current_actor() == ""
        with environment(USER="root", GITHUB_ACTOR="ann"):
            assert (current_actor(), current_actor("bob")) == ("ann", "bob")
            with environment(CD4ML_ACTOR=" eve "):
                assert current_actor() == "eve"
