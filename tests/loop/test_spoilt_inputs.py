"""Twenty ways in which sources arrive spoilt: refused in one line, or rows set aside and counted."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.loop.small_shop import CLASSIFICATION, command, registered, run, sales, sold_out, write_shop

Spoil = Callable[[Path], None]


def _lines(change: Callable[[list[str]], list[str]]) -> Spoil:
    return lambda shop: (write_shop(shop, change(sales())), None)[1]


def _cells(column: int, value: Callable[[int], str]) -> Spoil:
    """Replace the cells of a column where `value(row)` is not empty."""

    def change(lines: list[str]) -> list[str]:
        made = lines[:1]
        for row, line in enumerate(lines[1:]):
            cells = line.split(",")
            cells[column] = value(row) or cells[column]
            made.append(",".join(cells).replace("NULL", ""))
        return made

    return _lines(change)


def _bytes(change: Callable[[bytes], bytes], name: str = "sales.csv") -> Spoil:
    def spoil(shop: Path) -> None:
        file = write_shop(shop) / "sales.csv"
        made = change(file.read_bytes())
        file.unlink()
        (shop / name).write_bytes(made)
        problem = shop / "problem.yaml"
        problem.write_text(problem.read_text().replace("file: sales.csv", f"file: {name}"))

    return spoil


def _parquet(raw: bytes) -> bytes:
    import io

    import polars as pl

    made = io.BytesIO()
    pl.read_csv(raw, try_parse_dates=True).write_parquet(made)
    return made.getvalue()[: len(made.getvalue()) // 2]


def _folder(shop: Path) -> None:
    write_shop(shop)
    (shop / "sales.csv").unlink()
    (shop / "sales.csv").mkdir()


def _one_class(shop: Path) -> None:
    write_shop(shop, sold_out(sales(), limit=1e9))
    (shop / "problem.yaml").write_text(CLASSIFICATION)


def _huge_categories(shop: Path) -> None:
    _cells(2, lambda row: f"item{row}")(shop)


REFUSED: dict[str, tuple[Spoil, str]] = {
    "missing column": (_lines(lambda lines: [line.rsplit(",", 1)[0] for line in lines]), "price"),
    "wrong type throughout": (_cells(3, lambda row: "many"), "units"),
    "orphan keys throughout": (_huge_categories, "item"),
    "all-null column": (_cells(3, lambda row: "NULL"), "units"),
    "empty file": (_bytes(lambda raw: b""), "sales"),
    "header only": (_lines(lambda lines: lines[:1]), "sales"),
    "ragged throughout": (_lines(lambda lines: lines[:1] + [line + ",1,2" for line in lines[1:]]), "sales"),
    "directory in place of a file": (_folder, "folder|directory"),
    "truncated gz": (_bytes(lambda raw: gzip.compress(raw)[:-400], "sales.csv.gz"), "sales.csv.gz"),
    "truncated Parquet": (_bytes(_parquet, "sales.parquet"), "sales.parquet"),
    "constant target": (_cells(3, lambda row: "4"), "constant|units"),
    "one class only": (_one_class, "class|sold_out"),
    "one day only": (_lines(lambda lines: lines[:7]), "day|step|rows"),
    "a latin-1 byte": (_bytes(lambda raw: raw.replace(b"water", b"wat\xe9r", 1)), "expected UTF-8"),
}
"""What no row survives: exit code 4, one line that names what is wrong."""

QUARANTINED: dict[str, tuple[Spoil, int]] = {
    "a wrong type": (_cells(3, lambda row: "many" if row == 5 else ""), 1),
    "a duplicate key": (_lines(lambda lines: [*lines, lines[-1]]), 1),
    "duplicate keys throughout": (_lines(lambda lines: lines + lines[1:]), 900),
    "an orphan key": (_cells(2, lambda row: "gold" if row < 3 else ""), 3),
    "a future date": (_cells(0, lambda row: "2999-01-01" if row == 899 else ""), 1),
    "a null target": (_cells(3, lambda row: "NULL" if row in (3, 4) else ""), 2),
    "NaN in the target": (_cells(3, lambda row: "NaN" if row in (3, 4) else ""), 2),
    "a ragged row": (_lines(lambda lines: [*lines[:9], lines[9] + ",7", *lines[10:]]), 1),
}
"""What single rows break: they are set aside with their reason, and the run goes on without them."""

READ: dict[str, Spoil] = {
    "BOM": _bytes(lambda raw: b"\xef\xbb\xbf" + raw),
    "CRLF": _bytes(lambda raw: raw.replace(b"\n", b"\r\n")),
}
"""What is another way of writing the same: it is read as the same."""


@pytest.mark.parametrize("name", REFUSED)
def test_data_that_cannot_be_used_end_the_run_with_one_line(name, tmp_path):
    spoil, named = REFUSED[name]
    spoil(tmp_path / "shop")
    done = run(tmp_path / "shop", tmp_path / "out", tmp_path / "store")
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 4, done.stdout + done.stderr
    assert len(errors) == 1
    assert any(word in errors[0] for word in named.split("|")), errors[0]
    assert "Traceback" not in done.stderr + done.stdout
    assert registered(tmp_path / "store") == []
    assert not (tmp_path / "out" / "verdict.json").exists()


@pytest.mark.parametrize("name", QUARANTINED)
def test_rows_that_break_the_contract_are_set_aside_and_counted(name, tmp_path):
    spoil, rows = QUARANTINED[name]
    spoil(tmp_path / "shop")
    problem = tmp_path / "shop" / "problem.yaml"
    done = command(
        "data", "snapshot", problem, "--data", tmp_path / "shop", "--json", store=tmp_path / "store"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counted = json.loads(done.stdout)["tables"]["sales"]
    assert counted["rows_quarantined"] == rows
    assert counted["rows_in"] == counted["rows_accepted"] + rows
    assert counted["reasons"] and max(counted["reasons"].values()) <= rows  # a row may have two reasons


@pytest.mark.loop
def test_a_run_goes_on_without_the_rows_that_were_set_aside(tmp_path):
    QUARANTINED["an orphan key"][0](tmp_path / "shop")
    done = run(tmp_path / "shop", tmp_path / "out", tmp_path / "store")
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads((tmp_path / "out" / "verdict.json").read_text())
    contract = next(gate for gate in verdict["gates"] if gate["name"] == "contract")
    assert "900 rows in: 897 used, 3 quarantined" in contract["reason"]


@pytest.mark.parametrize("name", READ)
def test_another_way_of_writing_the_same_rows_gives_the_same_snapshot(name, tmp_path):
    READ[name](tmp_path / "other")
    write_shop(tmp_path / "plain")
    found = []
    for shop in ("plain", "other"):
        given = ("--data", tmp_path / shop, "--json")
        done = command("data", "snapshot", tmp_path / "plain/problem.yaml", *given, store=tmp_path / shop)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout)["id"])
    assert found[0] == found[1]
