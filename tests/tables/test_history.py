"""The order of snapshots in a store: found by beginnings of ids, pruned, never lost to another writer."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cd4ml.adapters.storage import FolderStorage
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, UsageError
from cd4ml.tables.history import SnapshotHistory
from cd4ml.tables.snapshot import open_snapshot, take_snapshot
from tests.tables.contract_samples import NOW, sales_rows, shop_problem, write_shop


@pytest.fixture
def storage(tmp_path):
    return FolderStorage(tmp_path / "store")


def take(tmp_path, storage, days, name="shop"):
    data = write_shop(tmp_path / f"data{days}", sales_rows(days))
    problem = shop_problem(lambda document: document.update(name=name))
    return take_snapshot(problem, data, storage, tmp_path / "taken", now=NOW)


def test_a_snapshot_is_found_by_its_id_its_beginning_and_its_problem(tmp_path, storage):
    first, second = take(tmp_path, storage, 40), take(tmp_path, storage, 50)
    history = SnapshotHistory(storage)
    assert history.resolve(first.id) == history.resolve(first.id[:9]) == first.id
    assert history.resolve("shop") == second.id == history.latest("shop")
    assert history.problems() == ["shop"] and history.latest("other") is None
    assert [entry["rows"]["sales"] for entry in history.entries("shop")] == [120, 150]


def test_what_cannot_be_found_gets_the_nearest_name(tmp_path, storage):
    history = SnapshotHistory(storage)
    with pytest.raises(NotFoundError, match="there is none"):
        history.resolve("shop")
    take(tmp_path, storage, 40)
    with pytest.raises(NotFoundError, match="did you mean 'shop'"):
        history.resolve("shp")
    with pytest.raises(NotFoundError):
        history.resolve("")


def test_the_beginning_of_several_ids_is_not_enough(tmp_path, storage):
    ids = [take(tmp_path, storage, days).id for days in range(20, 37)]
    shared = next(one[0] for one in ids if sum(other[0] == one[0] for other in ids) > 1)  # 17 ids, 16 digits
    with pytest.raises(UsageError, match=f"'{shared}' is the beginning of . snapshots"):
        SnapshotHistory(storage).resolve(shared)


def test_a_document_that_was_changed_in_the_store_is_refused(tmp_path, storage):
    identity = take(tmp_path, storage, 40).id
    (path,) = (tmp_path / "store" / "snapshots" / identity).glob("*/profile.json")
    path.write_text(path.read_text().replace("40", "41"))
    history = SnapshotHistory(storage)
    with pytest.raises(IntegrityError, match=r"profile.json: expected the SHA-256"):
        history.document(identity, "profile.json")
    with pytest.raises(IntegrityError):
        history.fetch(identity, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


def test_a_snapshot_that_is_not_there_is_not_fetched(tmp_path, storage):
    with pytest.raises(NotFoundError, match="no whole snapshot abc"):
        SnapshotHistory(storage).fetch("abc", tmp_path / "fetched")


def test_pruning_keeps_the_newest_and_what_models_need(tmp_path, storage):
    ids = [take(tmp_path, storage, days).id for days in (30, 40, 50, 60)]
    other = take(tmp_path, storage, 40, "other").id
    history = SnapshotHistory(storage)
    assert history.prune("shop", 1, {ids[0]}) == sorted(ids[1:3])
    assert [entry["id"] for entry in history.entries("shop")] == [ids[0], ids[3]]
    for kept in (ids[0], ids[3], other):
        assert open_snapshot(history.fetch(kept, tmp_path / "fetched")).id == kept
    assert not any(gone in key for gone in ids[1:3] for key in storage.list("snapshots/"))
    assert history.prune("shop", 5, set()) == [] and history.prune("unknown", 5, set()) == []
    with pytest.raises(UsageError, match="at least 1"):
        history.prune("shop", 0, set())


def test_a_pruned_snapshot_can_be_taken_again(tmp_path, storage):
    first = take(tmp_path, storage, 40).id
    take(tmp_path, storage, 50)
    history = SnapshotHistory(storage)
    assert history.prune("shop", 1, set()) == [first]
    assert take(tmp_path, storage, 40).id == first
    assert history.documents(first).profile["tables"]["sales"]["rows"] == 120


def test_writers_of_different_content_all_enter_the_history(tmp_path, storage):
    def one(days):
        data = write_shop(tmp_path / f"data{days}", sales_rows(days))
        return take_snapshot(shop_problem(), data, storage, tmp_path / f"taken{days}", now=NOW).id

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(one, range(30, 38)))
    assert {entry["id"] for entry in SnapshotHistory(storage).entries("shop")} == ids and len(ids) == 8


class Overtaken(FolderStorage):
    """A store in which a writer of the very same manifest comes first."""

    def compare_and_swap(self, key, data, expected):
        if key.endswith("manifest.json"):
            super().compare_and_swap(key, data, expected)
        return super().compare_and_swap(key, data, expected)


def test_a_twin_that_was_first_keeps_the_files_that_both_wrote(tmp_path, storage):
    identity = take(tmp_path, Overtaken(tmp_path / "store"), 40).id
    assert open_snapshot(SnapshotHistory(storage).fetch(identity, tmp_path / "fetched")).id == identity


class Contended(FolderStorage):
    """A store in which somebody else always writes the index first."""

    def compare_and_swap(self, key, data, expected):
        if "by-problem" in key:
            raise ConflictError("somebody was first")
        return super().compare_and_swap(key, data, expected)


def test_a_writer_gives_up_after_many_lost_races(tmp_path):
    with pytest.raises(ConflictError):
        take(tmp_path, Contended(tmp_path / "store"), 40)
