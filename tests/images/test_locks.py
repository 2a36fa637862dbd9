"""The locks of the images bring what the extras of setup.cfg need, by hash and in the tested versions."""

from __future__ import annotations

import re

import pytest

from cd4ml.errors import DataError
from scripts.image_locks import LOCKS, ROOT, main, needed, problems, read_lock


@pytest.mark.parametrize("kind", LOCKS)
def test_a_lock_has_what_its_image_needs_and_no_more(kind):
    assert problems(kind) == []


@pytest.mark.parametrize("kind", LOCKS)
def test_what_an_image_does_without_has_a_reason_and_is_not_there(kind):
    assert not LOCKS[kind].without.keys() & read_lock(ROOT / f"requirements/{kind}.txt").keys()
    assert all(len(reason) > 15 for reason in LOCKS[kind].without.values())


def test_a_change_of_a_lock_is_found(tmp_path):
    lock = ROOT / "requirements/controller.txt"
    text = lock.read_text(encoding="utf-8")
    changed = tmp_path / "controller.txt"

    version = read_lock(lock)["httpx"]
    changed.write_text(text.replace(f"httpx=={version}", "httpx==0.1.0"), encoding="utf-8")
    assert problems("controller", changed) == [
        f"controller: httpx is 0.1.0; the tests run with {version}",
        "controller: httpx is 0.1.0; something needs httpx>=0.27",
    ]
    changed.write_text(text.replace(f"httpx=={version}", f"nobody-asks=={version}"), encoding="utf-8")
    assert problems("controller", changed) == [
        "controller: httpx is missing",
        "controller: nothing needs nobody-asks",
    ]


@pytest.mark.parametrize("kind", [*LOCKS, "seldon", "build"])
def test_every_entry_has_hashes(kind, tmp_path):
    text = (ROOT / f"requirements/{kind}.txt").read_text(encoding="utf-8")
    assert len(read_lock(ROOT / f"requirements/{kind}.txt")) >= len(re.findall(r"^[a-z]", text, re.MULTILINE))
    stripped = tmp_path / "lock.txt"
    stripped.write_text(re.sub(r" \\\n    --hash=\S+", "", text), encoding="utf-8")
    with pytest.raises(DataError, match="expected hashes for"):
        read_lock(stripped)


def test_what_only_something_left_out_needs_is_left_out_too():
    full, less = needed(["kfp"]), needed(["kfp"], {"google-cloud-storage": ""})
    assert "google-crc32c" in full
    assert "google-crc32c" not in less
    assert "google-auth" in less  # kubernetes needs it


def test_an_unknown_kind_is_refused_in_one_line(capsys):
    assert main(["nothing", "--check"]) == 2
    assert (
        capsys.readouterr().err
        == "error: expected one of components, predictor, controller; found 'nothing'\n"
    )
