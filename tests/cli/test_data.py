"""`cd4ml data`: take, list, show, compare, check, draw, fetch and prune snapshots."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cd4ml.adapters.problem_files import dumps
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from cd4ml.cli.data import app
from cd4ml.cli.main import main
from tests.tables.contract_samples import sales_rows, shop_problem, write_shop


class Shop:
    """A problem file, its data and a store in one folder, and the command on them."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.problem = str(folder / "shop.yaml")
        Path(self.problem).write_text(dumps(shop_problem()))
        self.data = write_shop(folder / "data")
        self.store = str(folder / "store")

    def run(self, *words, code=0):
        assert main(["data", *map(str, words), "--store", self.store]) == code
        return self.capsys.readouterr()

    def json(self, *words, code=0):
        return json.loads(self.run(*words, "--json", code=code).out)

    def take(self, rows=None):
        if rows is not None:
            write_shop(self.folder / "data", rows)
        return self.json("snapshot", self.problem, "--data", self.data)["id"]


@pytest.fixture
def shop(tmp_path, capsys):
    return Shop(tmp_path, capsys)


def test_a_snapshot_prints_its_rows_its_page_and_its_id_last(shop):
    shown = shop.run("snapshot", shop.problem, "--data", shop.data)
    lines = shown.out.splitlines()
    assert lines[0].split() == ["table", "rows", "in", "accepted", "quarantined"]
    assert lines[1].split() == ["sales", "180", "180", "0"] and shown.err == ""
    identity = lines[-1].removeprefix("snapshot ")
    assert len(identity) == 64
    page = Path(lines[-2].removeprefix("profile: "))
    assert "Snapshot" in page.read_text() and page.stem == identity


def test_json_tells_where_everything_is(shop):
    found = shop.json("snapshot", shop.problem, "--data", shop.data)
    assert found["parent"] is None and found["problem"] == "shop" and found["anomalies"] == []
    assert found["tables"]["sales"]["rows_accepted"] == 180
    assert (Path(found["snapshot"]) / "manifest.json").is_file() and Path(found["profile"]).is_file()
    assert shop.json("snapshot", shop.problem, "--data", shop.data)["id"] == found["id"]


def test_a_copy_is_kept_where_it_is_wanted_and_nothing_foreign_is_replaced(shop, tmp_path):
    out = tmp_path / "copy"
    for _ in range(2):
        shop.run("snapshot", shop.problem, "--data", shop.data, "--out", out)
        assert (out / "sales.parquet").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    error = shop.run("snapshot", shop.problem, "--data", shop.data, "--out", tmp_path / "mine", code=2).err
    assert "neither an empty folder nor a snapshot's" in error
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_refused_data_are_one_line_and_exit_code_4(shop, tmp_path):
    write_shop(tmp_path / "data", [[*row[:2], 5, row[3]] for row in sales_rows()])
    shown = shop.run("snapshot", shop.problem, "--data", shop.data, code=4)
    assert shown.out == "" and shown.err.count("\n") == 1
    assert shown.err.startswith(
        "error: the data broke the contract: sales.units: expected a target that varies"
    )
    assert not Path(shop.store).exists()


def test_validate_keeps_nothing_and_compares_with_the_last_snapshot(shop):
    assert shop.json("validate", shop.problem, "--data", shop.data)["refused"] == []
    assert not Path(shop.store).exists()
    shop.take()
    write_shop(shop.folder / "data", [[*row[:2], row[2] + 40, row[3]] for row in sales_rows()])
    shown = shop.run("validate", shop.problem, "--data", shop.data).out
    assert "~ warn       sales.units: moved from the last accepted snapshot" in shown
    assert len(shop.json("list")) == 1


def test_validate_shows_what_would_be_refused_before_it_fails(shop):
    write_shop(shop.folder / "data", sales_rows(3))
    found = shop.json("validate", shop.problem, "--data", shop.data, code=4)
    assert len(found["refused"]) == 1
    shown = shop.run("validate", shop.problem, "--data", shop.data, code=4)
    assert "  ! refuse     sales.day: expected facts of at least 15d" in shown.out
    assert shown.err.startswith("error: the data broke the contract")


def test_many_anomalies_are_shortened_the_worst_first(shop):
    rows = [["x", "y", "z", "?"] for _ in range(4)] + sales_rows(3)
    document = json.loads(dumps(shop_problem()))
    columns = document["tables"]["sales"]["columns"]
    columns |= {f"c{i}": {"type": "integer"} for i in range(25)}
    Path(shop.problem).write_text(json.dumps(document))
    (shop.folder / "data" / "sales.csv").write_text(
        "\n".join(
            [
                ",".join(columns),
                *(",".join(map(str, [*row, *["?" if row[0] == "x" else 1] * 25])) for row in rows),
            ]
        )
        + "\n"
    )
    lines = shop.run("validate", shop.problem, "--data", shop.data, code=4).out.splitlines()
    assert lines[3].startswith("  ! refuse") and lines[-1].endswith("more; --json shows all")
    assert len(lines) == 3 + 20 + 1


def test_snapshots_are_listed_the_newest_first(shop):
    assert "no snapshots; take one" in shop.run("list").out
    first, second = shop.take(), shop.take(sales_rows(50))
    assert [entry["id"] for entry in shop.json("list")] in ([second, first], [first, second])
    lines = shop.run("list", "shop").out.splitlines()
    assert lines[0].split() == ["snapshot", "problem", "created", "rows", "parent"] and len(lines) == 3
    assert {line.split()[0] for line in lines[1:]} == {first[:12], second[:12]}
    assert shop.json("list", "other") == []


def test_show_tells_source_rows_and_anomalies(shop):
    rows = sales_rows()
    rows[0][2] = -4
    identity = shop.take(rows)
    shown = shop.run("show", identity[:8]).out
    for part in (
        f"snapshot {identity}", "problem  shop", "parent   -", "source   sales: sales.csv",
        "time     2024-01-01T00:00:00 to 2024-02-29T00:00:00 (day)",
        "- quarantine sales.units: 1 rows: below 0",
    ):  # fmt: skip
        assert part in shown
    found = shop.json("show", "shop")
    assert (
        found["manifest"]["id"] == identity
        and found["validation"]["tables"]["sales"]["rows_quarantined"] == 1
    )


def test_rows_in_quarantine_are_shown_with_their_reason(shop):
    rows = [[*row[:2], -1 if i < 30 else row[2], row[3]] for i, row in enumerate(sales_rows())]
    shop.take(rows)
    lines = shop.run("show", "shop", "--quarantine", "sales").out.splitlines()
    assert lines[0].split() == ["_row", "_reason", "day", "shop", "units", "promoted"]
    assert lines[1].split("  ")[0] == "1" and "units: below 0" in lines[1]
    assert len(lines) == 22 and lines[-1] == "10 more; see --limit"
    found = shop.json("show", "shop", "--quarantine", "sales", "--limit", "2")
    assert [row["_row"] for row in found] == [1, 2]
    assert shop.run("show", "shop", "--quarantine", "shops").out == "no row of shops is in quarantine\n"
    assert "did you mean 'sales'" in shop.run("show", "shop", "--quarantine", "sale", code=2).err


def test_diff_tells_what_changed_between_two_snapshots_or_from_the_parent(shop):
    first = shop.take()
    error = shop.run("diff", "shop", code=2).err
    assert "is the first of its problem" in error
    assert shop.run("diff", first, first).out.splitlines()[-1] == "the same content"
    second = shop.take([[*row[:2], row[2] + 40, row[3]] for row in sales_rows(50)])
    shown = shop.run("diff", "shop").out
    assert shown.splitlines()[0] == f"{first[:12]} -> {second[:12]}"
    assert "compatible: backward yes, forward yes" in shown and "sales.units" in shown
    found = shop.json("diff", first, second)
    assert found["tables"]["sales"]["rows"] == [180, 150] and found == shop.json("diff", "shop")


def test_diff_tells_a_changed_contract(shop):
    shop.take()
    document = json.loads(dumps(shop_problem()))
    document["tables"]["sales"]["columns"]["units"]["max"] = 90
    del document["tables"]["shops"]["columns"]["size"]
    Path(shop.problem).write_text(json.dumps(document))
    shop.take()
    shown = shop.run("diff", "shop").out
    assert "compatible: backward NO, forward NO" in shown
    assert "  sales.units: max 1000 -> 90" in shown and "  shops.size: removed integer -> -" in shown


def test_profile_writes_a_page_or_prints_the_numbers(shop, tmp_path):
    shop.take()
    page = tmp_path / "page.html"
    assert shop.run("profile", "shop", "--out", page).out == f"{page}\n"
    assert "<html" in page.read_text()
    found = shop.json("profile", "shop", "--out", tmp_path / "other.html")
    assert found["tables"]["sales"]["columns"]["units"]["count"] == 180
    assert not (tmp_path / "other.html").exists()
    assert (
        "is a folder; give the name of a file" in shop.run("profile", "shop", "--out", tmp_path, code=2).err
    )


def test_fetch_copies_a_whole_snapshot(shop, tmp_path):
    identity = shop.take()
    out = tmp_path / "fetched"
    assert shop.json("fetch", "shop", "--out", out) == {"id": identity, "folder": str(out)}
    assert (out / "quarantine" / "sales.parquet").is_file()
    (tmp_path / "data" / "x").mkdir()
    assert shop.run("fetch", "shop", "--out", tmp_path / "data", code=2).err.startswith("error: ")


def test_prune_spares_what_models_were_trained_on(shop, tmp_path):
    ids = [shop.take(sales_rows(days)) for days in (30, 40, 50)]
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "lineage.json").write_text(json.dumps({"snapshot": ids[0]}))
    from cd4ml.adapters.manifest import write_manifest

    write_manifest(tmp_path / "bundle", kind="bundle")
    Registry(open_store(shop.store)).push(tmp_path / "bundle", "shop")
    assert shop.json("prune", "shop", "--keep", "1") == {"removed": [ids[1]]}
    assert {entry["id"] for entry in shop.json("list")} == {ids[0], ids[2]}
    assert not (Path(shop.store) / "profiles" / f"{ids[1]}.html").exists()
    assert shop.run("prune", "shop", "--keep", "1").err == "0 snapshots of shop removed\n"


@pytest.mark.parametrize(
    "words", [["show", "shp"], ["diff", "shop", "shp"], ["profile", "shp"], ["fetch", "shp", "--out", "x"]]
)
def test_an_unknown_snapshot_gets_the_nearest_name(shop, words):
    shop.take()
    shown = shop.run(*words, code=2)
    assert "did you mean 'shop'?" in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_the_store_of_the_environment_is_the_default(shop):
    shop.take()
    command = [sys.executable, "-m", "cd4ml.cli", "data", "list", "--json"]
    environment = {**os.environ, "CD4ML_STORE": shop.store}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert len(json.loads(done.stdout)) == 1


def test_every_command_ends_its_help_with_an_example():
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert names == {"snapshot", "list", "show", "diff", "validate", "profile", "fetch", "prune", "simulate"}
    for command in app.registered_commands:
        assert command.callback.__doc__.strip().splitlines()[-1].strip().startswith("Example: cd4ml data ")


def test_a_simulated_shop_keeps_its_contract(tmp_path, capsys):
    assert (
        main(
            [
                "data",
                "simulate",
                "--rows",
                "3000",
                "--days",
                "120",
                "--seed",
                "7",
                "--out",
                str(tmp_path / "shop"),
            ]
        )
        == 0
    )
    arguments = [
        "data",
        "snapshot",
        "sales-forecast",
        "--data",
        str(tmp_path / "shop"),
        "--store",
        str(tmp_path / "s"),
    ]
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tables"]["train"]["rows_accepted"] == 3000 and found["anomalies"] == []


@pytest.mark.skipif("CD4ML_TEST_DATA" not in os.environ, reason="needs CD4ML_TEST_DATA")
@pytest.mark.parametrize(("problem", "folder"), [("bike-demand", "bike"), ("adult-income", "adult")])
def test_real_data_become_snapshots(tmp_path, capsys, problem, folder):
    data = str(Path(os.environ["CD4ML_TEST_DATA"]) / folder)
    assert main(["data", "snapshot", problem, "--data", data, "--store", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["anomalies"] == []
