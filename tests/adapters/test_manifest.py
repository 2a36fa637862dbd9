"""The manifest: what it lists, what it refuses, and that no byte escapes it."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.manifest import (
    MANIFEST,
    SIGNATURE,
    bundle_id,
    read_manifest,
    verify_manifest,
    write_manifest,
)
from cd4ml.adapters.storage.hashing import sha256_bytes, sha256_file
from cd4ml.errors import IntegrityError, UsageError


def filled(folder: Path) -> Path:
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "deep" / "er" / "rows.jsonl").write_bytes(b'{"a": 1}\n')
    (folder / "deep" / MANIFEST).write_bytes(b"a manifest in a folder below is a file like others")
    (folder / "empty").write_bytes(b"")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    filled(tmp_path / "bundle")
    write_manifest(tmp_path / "bundle", format="1", problem="bike")
    return tmp_path / "bundle"


def refused(folder: Path) -> str:
    with pytest.raises(IntegrityError) as caught:
        verify_manifest(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_it_lists_every_file_with_its_size_and_hash(folder: Path) -> None:
    files = verify_manifest(folder)["files"]
    assert sorted(files) == ["deep/er/rows.jsonl", f"deep/{MANIFEST}", "empty", "model.onnx"]
    assert files["model.onnx"] == {"bytes": 5, "sha256": sha256_bytes(b"model")}


def test_the_id_is_the_hash_of_the_manifest_and_names_the_content(folder: Path, tmp_path: Path) -> None:
    assert bundle_id(folder) == sha256_file(folder / MANIFEST)
    again = write_manifest(filled(tmp_path / "elsewhere"), format="1", problem="bike")
    assert again == bundle_id(folder)
    (folder / "empty").write_bytes(b"no more")
    assert write_manifest(folder, format="1", problem="bike") != again


def test_every_single_byte_of_every_file_counts(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        name, right = path.relative_to(folder).as_posix(), path.read_bytes() if path.is_file() else b""
        for place in range(len(right)):
            path.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
            assert f"'{name}'" in refused(folder)
            path.write_bytes(right)
    verify_manifest(folder)


@settings(deadline=None, max_examples=50)
@given(place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_any_other_byte_in_the_manifest_is_found(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int
) -> None:
    folder = filled(tmp_path_factory.mktemp("bundle"))
    write_manifest(folder, note="free text")
    right = bytearray((folder / MANIFEST).read_bytes())
    place %= len(right)
    if right[place] == byte:
        return
    right[place] = byte
    (folder / MANIFEST).write_bytes(bytes(right))
    with pytest.raises(IntegrityError, match=r"'manifest\.json' was changed"):
        read_manifest(folder)


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"files": {}}', b'{"files": {"a": 1}}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_manifest_is_refused_in_one_line(folder: Path, text: bytes) -> None:
    (folder / MANIFEST).write_bytes(text)
    assert MANIFEST in refused(folder)


def test_an_added_file_is_named(folder: Path) -> None:
    (folder / "deep" / "new").write_bytes(b"")
    assert "'deep/new' is additional" in refused(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    assert "'model.onnx' is missing" in refused(folder)


def test_of_several_wrong_files_the_first_is_named_and_the_others_counted(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"other")
    (folder / "empty").write_bytes(b"other")
    assert "'empty' (and 1 more) was changed" in refused(folder)


def test_without_a_manifest_a_folder_is_no_whole_bundle(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    assert "no whole bundle" in refused(folder)


def test_a_symbolic_link_is_refused_since_its_target_may_change(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "model.onnx")
    assert "'link' is a symbolic link" in refused(folder)
    with pytest.raises(IntegrityError, match="symbolic link"):
        write_manifest(folder)


def test_a_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "'pipe' is no regular file" in refused(folder)
    with pytest.raises(IntegrityError, match="no regular file"):
        write_manifest(folder)


def test_a_new_manifest_takes_the_old_signature_away(folder: Path) -> None:
    (folder / SIGNATURE).write_text("of the old one")
    verify_manifest(folder)
    write_manifest(folder, format="2")
    assert not (folder / SIGNATURE).exists()
    assert read_manifest(folder)["format"] == "2"


def test_extra_entries_read_back_as_json_has_them(folder: Path) -> None:
    write_manifest(folder, counts={2: "two", 10: "ten"}, pair=(1, 2))
    assert read_manifest(folder)["counts"] == {"2": "two", "10": "ten"}
    assert read_manifest(folder)["pair"] == [1, 2]


@pytest.mark.parametrize("name", ["files", "self_sha256"])
def test_extra_entries_cannot_hide_the_manifests_own(folder: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' is the manifest's own"):
        write_manifest(folder, **{name: {}})


def test_a_bundle_is_a_folder_with_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file to list"):
        write_manifest(tmp_path)
    with pytest.raises(UsageError, match="expected the folder of a bundle"):
        write_manifest(tmp_path / "nowhere")


def test_the_manifest_can_be_checked_with_the_standard_library_alone(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    for name, entry in manifest["files"].items():
        assert sha256_bytes((folder / name).read_bytes()) == entry["sha256"]
    own = manifest.pop("self_sha256")
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert sha256_bytes(text.encode()) == own
