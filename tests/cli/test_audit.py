"""`cd4ml audit`: what is listed, what verify finds."""

import json
from datetime import UTC, datetime

import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from tests.adapters.s3_server import environment

PRIVATE, PUBLIC = generate_keypair()
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def log(tmp_path):
    with environment(CD4ML_STORE=str(tmp_path / "store"), **{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield AuditLog(FolderStorage(tmp_path / "store"))


@pytest.fixture
def two(log):
    log.append("alias", "shop", {"to": 1}, NOON, "ann")
    log.append("approval", "b" * 64, {"choice": "approve"}, NOON, "bob")
    return log


def test_a_whole_log_says_how_long_it_is_and_that_nobody_signed(two, capsys):
    assert main(["audit", "verify"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"2 lines, whole; 0 signed\nhead {two.head()}\n"
    assert "UNSIGNED: nobody vouches for 2 of 2 lines" in shown.err
    assert main(["audit", "verify", "--json", "--expect", two.head()]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["lines"], found["unsigned"], found["head"]) == (2, 2, two.head())


def test_an_empty_log_is_said_to_be_empty(capsys):
    assert main(["audit", "verify"]) == 0
    assert capsys.readouterr().out == "the audit log has no lines\n"
    assert main(["audit", "list"]) == 0
    assert capsys.readouterr().out == "the audit log has no such lines\n"


def test_an_edited_and_a_removed_line_are_exit_code_4_with_one_line(two, capsys, tmp_path):
    path = tmp_path / "store/audit/000001.jsonl"
    text = path.read_text()
    path.write_text(text.replace("bob", "eve"))
    assert main(["audit", "verify"]) == 4
    assert capsys.readouterr().err.startswith("error: line 2 of the audit log was altered")
    path.write_text(text.splitlines(keepends=True)[0])
    assert main(["audit", "verify"]) == 4
    assert "line 2, at the end, of the audit log was removed" in capsys.readouterr().err
    path.write_text(text)
    assert main(["audit", "verify", "--expect", "f" * 64]) == 4
    shown = capsys.readouterr().err
    assert "no line of the audit log has the hash ffffffffffff" in shown
    assert shown.count("\n") == 1


def test_signed_lines_are_counted_and_need_their_key(log, capsys):
    with environment(**{SIGNING_KEY: PRIVATE, VERIFY_KEY: PUBLIC}):
        log.append("alias", "shop", {}, NOON)
        assert main(["audit", "verify"]) == 0
        shown = capsys.readouterr()
        assert shown.out.startswith("1 lines, whole; 1 signed by ")
        assert shown.err == ""
    log.append("alias", "shop", {}, NOON)
    with environment(**{VERIFY_KEY: PUBLIC}):
        assert main(["audit", "verify"]) == 4
        assert "line 2 of the audit log is not signed" in capsys.readouterr().err


def test_lines_are_listed_by_kind_subject_and_number(two, capsys):
    assert main(["audit", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["line", "at", "by", "kind", "about", "signed", "facts"]
    assert rows[1][:6] == ["1", "2026-01-31T12:00:00+00:00", "ann", "alias", "shop", "NO"]
    for arguments, numbers in (
        (["--kind", "approval"], [2]),
        (["--subject", "bbbb"], [2]),
        (["--limit", "1"], [2]),
        (["--subject", "shop"], [1]),
        (["--kind", "none"], []),
    ):
        assert main(["audit", "list", "--json", *arguments]) == 0
        assert [line["number"] for line in json.loads(capsys.readouterr().out)] == numbers
