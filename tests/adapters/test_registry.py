"""The registry on a folder and on S3: numbers, aliases, races, kills, and bundles that were changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cd4ml.adapters.manifest import MANIFEST, SIGNATURE, bundle_id
from cd4ml.adapters.registry import ModelVersion, Registry, read_record
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair, sign
from cd4ml.adapters.storage import FolderStorage, Storage
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from tests.adapters.s3_server import environment
from tests.adapters.samples import at_once, make_bundle, where

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return Registry(storage, lambda: NOON)


@pytest.fixture
def three(registry: Registry, tmp_path: Path) -> Registry:
    for number in (1, 2, 3):
        registry.push(make_bundle(tmp_path / f"b{number}", f"model {number}"), "shop", "accept")
    return registry


def test_a_version_records_what_the_bundle_says(registry: Registry, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    version = registry.push(bundle, "shop", "accept")
    assert version == registry.get("shop") == registry.get("shop", 1) == registry.get("shop", "1")
    assert (version.version, version.bundle, version.verdict) == (1, bundle_id(bundle), "accept")
    assert version.created == "2026-01-31T12:00:00+00:00"
    assert version.git["commit"] == "c" * 40
    assert version.metrics["wape"]["estimate"] == 0.25
    assert version.lineage["snapshot"] == "5" * 64
    assert registry.storage_uri(version).endswith(f"bundles/{version.bundle}")
    assert registry.models() == ["shop"]


def test_the_same_bundle_keeps_its_version_and_its_record(three: Registry, tmp_path: Path) -> None:
    again = make_bundle(tmp_path / "again", "model 2")
    found = three.register("shop", again, {"verdict": "reject"})
    assert (found.version, found.verdict) == (2, "accept")
    assert [version.version for version in three.versions("shop")] == [1, 2, 3]
    assert three.push(again, "other-shop").version == 1, "numbers belong to a model"


def test_a_record_takes_the_commit_out_of_a_lineage_in_words_of_its_own(
    registry: Registry, tmp_path: Path
) -> None:
    version = registry.register(
        "shop", make_bundle(tmp_path / "b"), {"lineage": {"git_commit": "abc", "git_branch": ""}}
    )
    assert version.git == {"commit": "abc"}
    assert registry.get("shop").git == {"commit": "abc"}
    (tmp_path / "bare").mkdir()
    assert read_record(tmp_path / "bare") == {"git": {}, "lineage": {}, "metrics": {}}


def register(storage: Storage, bundle: str) -> int:
    return Registry(storage).register("shop", Path(bundle)).version


def test_writers_of_other_bundles_at_once_get_numbers_without_a_gap(storage: Storage, tmp_path: Path) -> None:
    bundles = [(str(make_bundle(tmp_path / f"b{n}", f"model {n}")),) for n in range(3)]
    assert sorted(at_once(storage, register, bundles)) == [1, 2, 3]


def test_writers_of_the_same_bundle_at_once_get_one_number(storage: Storage, tmp_path: Path) -> None:
    bundle = str(make_bundle(tmp_path / "b"))
    assert at_once(storage, register, [(bundle,)] * 3) == [1, 1, 1]
    assert len(Registry(storage).versions("shop")) == 1


def move(storage: Storage, version: int) -> str:
    try:
        Registry(storage).set_alias("shop", "champion", version, expected=1, by=f"writer of {version}")
    except ConflictError:
        return "lost"
    return "won"


def test_of_writers_of_an_alias_at_once_exactly_one_wins(three: Registry) -> None:
    three.set_alias("shop", "champion", 1)
    results = at_once(three.storage, move, [(2,), (3,)])
    assert sorted(results) == ["lost", "won"]
    winner = results.index("won") + 2
    assert three.aliases("shop") == {"champion": winner}
    assert [(change.to_version, change.by) for change in three.history("shop")] == [
        (1, ""),
        (winner, f"writer of {winner}"),
    ]


def test_writers_of_other_aliases_at_once_all_win(three: Registry) -> None:
    at_once(three.storage, move_named, [("champion", 1), ("challenger", 2)])
    assert three.aliases("shop") == {"challenger": 2, "champion": 1}


def move_named(storage: Storage, alias: str, version: int) -> None:
    Registry(storage).set_alias("shop", alias, version, expected=None)


def test_an_alias_moves_from_what_was_expected_and_remembers(three: Registry) -> None:
    three.set_alias("shop", "champion", 1, expected=None, reason="first", by="ann")
    three.set_alias("shop", "champion", 2, expected=1)
    with pytest.raises(ConflictError, match="should name version 1 and names version 2"):
        three.set_alias("shop", "champion", 3, expected=1)
    with pytest.raises(ConflictError, match="should name no version and names version 2"):
        three.set_alias("shop", "champion", 3, expected=None)
    three.set_alias("shop", "champion", None, expected=2)
    assert three.aliases("shop") == {}
    assert [(c.from_version, c.to_version, c.by, c.reason) for c in three.history("shop")] == [
        (None, 1, "ann", "first"),
        (1, 2, "", ""),
        (2, None, "", ""),
    ]


def test_naming_what_it_names_already_is_no_move(three: Registry) -> None:
    three.set_alias("shop", "champion", 2)
    change = three.set_alias("shop", "champion", 2, expected=2)
    assert (change.from_version, change.to_version) == (2, 2)
    three.set_alias("shop", "challenger", None)
    assert len(three.history("shop")) == 1


@pytest.mark.parametrize("alias", ["latest", "3", "", "a/b", "-x", "x" * 64])
def test_an_alias_that_could_be_mistaken_is_refused(three: Registry, alias: str) -> None:
    with pytest.raises(UsageError, match="an alias must be"):
        three.set_alias("shop", alias, 1)


def test_versions_are_found_by_number_alias_and_latest(three: Registry) -> None:
    three.set_alias("shop", "champion", 2)
    assert [three.get("shop", ref).version for ref in (1, "2", "champion", "latest")] == [1, 2, 2, 3]


@pytest.mark.parametrize(
    ("name", "ref", "said"),
    [
        ("shpo", "latest", "no model 'shpo'; it has shop; did you mean 'shop'"),
        (
            "shop",
            "champoin",
            "no version 'champoin'; it has 1 to 3 and the names champion, latest; did you mean 'cham",
        ),
        ("shop", 4, "no version '4'; it has 1 to 3"),
        ("shop", 0, "no version '0'"),
    ],
)
def test_a_name_that_nobody_has_is_told_with_the_nearest(
    three: Registry, name: str, ref: str, said: str
) -> None:
    three.set_alias("shop", "champion", 2)
    with pytest.raises(NotFoundError) as caught:
        three.get(name, ref)
    assert said in str(caught.value)


def test_an_empty_registry_says_what_to_do(registry: Registry) -> None:
    assert registry.models() == []
    assert registry.versions("shop") == []
    with pytest.raises(NotFoundError, match="it has none yet: push one"):
        registry.get("shop")
    with pytest.raises(NotFoundError, match="none yet"):
        registry.set_alias("shop", "champion", None)


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-a", "x" * 64, "a b"])
def test_a_name_that_could_leave_its_folder_is_refused(registry: Registry, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="a model's name must be"):
        registry.register(name, make_bundle(tmp_path / "b"))
    with pytest.raises(UsageError, match="a model's name must be"):
        registry.get(name)


def test_a_record_of_something_else_is_refused(registry: Registry, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    with pytest.raises(UsageError, match="got 'verdicts'"):
        registry.register("shop", bundle, {"verdicts": "accept"})
    assert registry.models() == []


KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage, S3Storage
files, place, bundle = int(sys.argv[1]), sys.argv[3:], Path(sys.argv[2])
class Killed(FolderStorage if len(place) == 1 else S3Storage):
    def upload(self, folder, prefix, last=""):
        from cd4ml.adapters.storage.base import files_beneath
        for name, path in files_beneath(folder, last)[:files]:
            self.put(f"{prefix}/{name}", path.read_bytes())
        if len(files_beneath(folder)) > files:
            os.kill(os.getpid(), signal.SIGKILL)
    def compare_and_swap(self, key, data, expected):
        os.kill(os.getpid(), signal.SIGKILL)
Registry(Killed(*place)).register("shop", bundle)
"""


@pytest.mark.parametrize("files", [0, 2, 4, 5])
def test_a_killed_register_leaves_no_version_and_the_next_one_is_whole(
    registry: Registry, tmp_path: Path, files: int
) -> None:
    bundle = make_bundle(tmp_path / "b")
    command = [sys.executable, "-c", KILLED, str(files), str(bundle), *where(registry.storage)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert registry.models() == []
    assert registry.versions("shop") == []
    whole = registry.storage.exists(f"bundles/{bundle_id(bundle)}/{MANIFEST}")
    assert whole == (files == 5)
    assert registry.push(bundle, "shop").version == 1
    assert bundle_id(registry.pull("shop", 1, tmp_path / "out")) == bundle_id(bundle)


def test_pull_gives_the_bundle_and_keeps_one_that_is_there(three: Registry, tmp_path: Path) -> None:
    folder = three.pull("shop", 2, tmp_path / "out/b")
    assert (folder / "model.onnx").read_text() == "model 2"
    assert (folder / "features/state.json").read_text() == "{}"
    before = (folder / "model.onnx").stat().st_ino
    assert three.pull("shop", 2, folder) == folder
    assert (folder / "model.onnx").stat().st_ino == before
    three.pull("shop", 3, folder)
    assert (folder / "model.onnx").read_text() == "model 3"


@pytest.mark.parametrize("damaged", ["model.onnx", MANIFEST])
def test_pull_mends_a_damaged_bundle(three: Registry, tmp_path: Path, damaged: str) -> None:
    folder = three.pull("shop", 2, tmp_path / "b")
    path = folder / damaged
    path.write_bytes(path.read_bytes().replace(b"model", b"m0del"))
    if damaged == MANIFEST:
        with pytest.raises(UsageError, match="other files in it"):
            three.pull("shop", 2, folder)
        return
    three.pull("shop", 2, folder)
    assert (folder / "model.onnx").read_text() == "model 2"


def test_pull_leaves_a_folder_with_other_files_alone(three: Registry, tmp_path: Path) -> None:
    web = tmp_path / "web"
    web.mkdir()
    (web / MANIFEST).write_text('{"name": "a web page", "files": 3}')
    mixed = three.pull("shop", 1, tmp_path / "mixed")
    (mixed / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/x").write_text("")
    (web / "index.html").write_text("")
    for folder in (web, mixed, tmp_path / "file", tmp_path / "other"):
        with pytest.raises(UsageError, match="other files in it"):
            three.pull("shop", 2, folder)
    assert (mixed / "notes.txt").read_text() == "mine"
    assert (web / MANIFEST).exists()


def test_pull_to_where_nothing_can_be_written_is_one_line(three: Registry, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        three.pull("shop", 2, tmp_path / "file" / "b")


def test_pull_of_a_bundle_that_is_not_whole_in_the_store_says_so(three: Registry, tmp_path: Path) -> None:
    three.storage.delete(f"bundles/{three.get('shop', 2).bundle}/{MANIFEST}")
    with pytest.raises(NotFoundError, match="no whole bundle"):
        three.pull("shop", 2, tmp_path / "b")


@pytest.mark.parametrize("file", ["model.onnx", "features/state.json", "lineage.json", MANIFEST])
def test_a_byte_that_changed_in_the_store_is_refused_by_name(
    three: Registry, tmp_path: Path, file: str
) -> None:
    key = f"bundles/{three.get('shop', 2).bundle}/{file}"
    data = bytearray(three.storage.get(key))
    data[len(data) // 2] ^= 1
    three.storage.put(key, bytes(data))
    with pytest.raises(IntegrityError, match=file):
        three.pull("shop", 2, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_another_bundle_in_the_place_of_the_promised_one_is_refused(three: Registry, tmp_path: Path) -> None:
    promised = three.get("shop", 2).bundle
    for key in three.storage.list(f"bundles/{promised}/"):
        three.storage.delete(key)
    three.storage.upload(make_bundle(tmp_path / "other", "another"), f"bundles/{promised}")
    with pytest.raises(IntegrityError, match="where the registry promised"):
        three.pull("shop", 2, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_changed_bundle_is_not_registered(registry: Registry, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b")
    (bundle / "model.onnx").write_text("a m0del")
    with pytest.raises(IntegrityError, match=r"model\.onnx"):
        registry.register("shop", bundle)
    assert registry.storage.list("") == []


def test_signatures_travel_and_are_asked_for_where_a_key_is_set(registry: Registry, tmp_path: Path) -> None:
    private, public = generate_keypair()
    bundle = make_bundle(tmp_path / "b")
    registry.push(bundle, "shop")
    with environment(**{VERIFY_KEY: public}):
        with pytest.raises(IntegrityError, match="UNSIGNED"):
            registry.pull("shop", 1, tmp_path / "out")
        with environment(**{SIGNING_KEY: private}):
            sign(bundle)
        registry.push(bundle, "shop")
        folder = registry.pull("shop", 1, tmp_path / "out")
    assert (folder / SIGNATURE).read_bytes() == (bundle / SIGNATURE).read_bytes()
    (bundle / SIGNATURE).write_text("{}")
    with pytest.raises(IntegrityError, match=r"manifest\.json\.sig"):
        registry.push(bundle, "shop")


@pytest.mark.parametrize(
    ("key", "document", "said"),
    [
        ("models/shop/versions/2.json", b"{", r"versions/2\.json' must be JSON"),
        ("models/shop/versions/2.json", b"[]", "must be a JSON object; found a list"),
        ("models/shop/versions/2.json", b'{"version": 2}', "version 2 of 'shop' .* lacks a sound"),
        ("models/shop/aliases.json", b"{}", "lacks 'aliases' or 'history'"),
        (
            "models/shop/aliases.json",
            b'{"aliases": {}, "history": [{}]}',
            "a move in the history .* lacks one of",
        ),
    ],
)
def test_a_damaged_record_is_named(three: Registry, key: str, document: bytes, said: str) -> None:
    three.storage.put(key, document)
    with pytest.raises(IntegrityError, match=said):
        three.versions("shop")
        three.history("shop")


def test_a_version_is_the_same_after_a_round_through_json(three: Registry) -> None:
    version = three.get("shop", 2)
    assert ModelVersion(**version.to_dict()) == version
    assert isinstance(three.storage, FolderStorage) or os.environ.get("AWS_ACCESS_KEY_ID")


def test_a_replaced_controller_moves_no_alias_even_where_the_new_one_had_nothing_to_move(
    tmp_path: Path,
) -> None:
    registry = Registry(FolderStorage(tmp_path / "store"))
    for text in ("one", "two"):
        registry.push(make_bundle(tmp_path / text, text), "shop")
    registry.set_alias("shop", "champion", 1, fence=("shop", 1))
    registry.set_alias("shop", "champion", 1, fence=("shop", 2))
    assert len(registry.history("shop")) == 1
    with pytest.raises(ConflictError, match="somebody with the fence 2"):
        registry.set_alias("shop", "champion", 2, fence=("shop", 1))
    registry.set_alias("shop", "champion", 2)  # a person has no fence
    assert registry.aliases("shop") == {"champion": 2}
