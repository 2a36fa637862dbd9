"""What is installed, as hashes."""

import os
import subprocess
import sys
from pathlib import Path

from cd4ml.adapters.installation import code_hash, lock_hash


def package(folder: Path) -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.py").write_text("a = 1\n")
    (folder / "page.html").write_text("<p>")
    (folder / "README.md").write_text("read me")
    return folder


def test_the_same_code_has_the_same_hash_wherever_it_lies(tmp_path: Path) -> None:
    assert code_hash(package(tmp_path / "one")) == code_hash(package(tmp_path / "two"))
    assert code_hash() == code_hash()
    assert code_hash() != code_hash(tmp_path / "one")


def test_code_templates_and_names_count_and_documents_do_not(tmp_path: Path) -> None:
    folder = package(tmp_path / "code")
    found = [code_hash(folder)]
    (folder / "README.md").write_text("changed")
    (folder / "inner" / "a.pyc").write_bytes(b"bytecode")
    assert code_hash(folder) == found[0]
    (folder / "inner" / "a.py").write_text("a = 2\n")
    found.append(code_hash(folder))
    (folder / "page.html").write_text("<b>")
    found.append(code_hash(folder))
    (folder / "page.html").rename(folder / "other.html")
    found.append(code_hash(folder))
    assert len(set(found)) == 4


def installed(folder: Path, name: str, metadata: str) -> None:
    (folder / f"{name}.dist-info").mkdir(parents=True)
    (folder / f"{name}.dist-info" / "METADATA").write_text(metadata)


def lock_with(path: Path) -> str:
    """Return the hash in a process that finds more distributions."""
    done = subprocess.run(
        [sys.executable, "-c", "from cd4ml.adapters.installation import lock_hash; print(lock_hash())"],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_another_library_or_version_changes_the_lock_and_cd4ml_itself_does_not(tmp_path: Path) -> None:
    installed(tmp_path / "one", "added-1.0", "Metadata-Version: 2.1\nName: added\nVersion: 1.0\n")
    installed(tmp_path / "two", "added-1.1", "Metadata-Version: 2.1\nName: added\nVersion: 1.1\n")
    installed(tmp_path / "own", "cd4ml-9.9", "Metadata-Version: 2.1\nName: cd4ml\nVersion: 9.9\n")
    plain = lock_with(tmp_path / "nothing")
    assert len({plain, lock_with(tmp_path / "one"), lock_with(tmp_path / "two")}) == 3
    assert lock_with(tmp_path / "own") == plain == lock_hash()


def test_a_damaged_distribution_does_not_stop_it(tmp_path: Path) -> None:
    installed(tmp_path, "broken-1.0", "Metadata-Version: 2.1\n")
    assert lock_with(tmp_path) == lock_hash()
