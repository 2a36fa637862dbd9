"""What a page takes for granted before its first command: files that a reader brings, servers that run."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from datetime import date, timedelta

from tests.docs.page import Page

__all__ = ["PREPARED"]


def _served(page: Page) -> None:
    """Serve the bundle where pages expect a model: at port 8080."""
    command = "python -m cd4ml.serving.server --bundle out/bundle --name sales-forecast --http-port 8080"
    page.start(command, "Uvicorn running")


def _rows(page: Page) -> list[dict[str, str]]:
    """Return rows after the newest of the shop, as a caller has them."""
    with (page.folder / "out/shop/train.csv").open(encoding="utf-8") as file:
        sold = list(csv.DictReader(file))
    pairs = sorted({(one["store_nbr"], one["item_nbr"]) for one in sold[-200:]})[:3]
    newest = date.fromisoformat(max(one["date"] for one in sold))
    return [
        {
            "date": str(newest + timedelta(days=day)),
            "store_nbr": store,
            "item_nbr": item,
            "onpromotion": "False",
        }
        for day in (1, 2)
        for store, item in pairs
    ]


def _tomorrow(page: Page) -> None:
    """Write tomorrow.csv, and the sources where a page has them."""
    rows = _rows(page)
    with (page.folder / "tomorrow.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (page.folder / "data").mkdir()
    (page.folder / "data/favorita").symlink_to("../out/shop")


def _answered(page: Page) -> None:
    """Serve on the local plane, ask once, and write actuals.csv with what came true of it."""
    page.start("cd4ml serve sales-forecast@champion --detach --port 8080; sleep 1000", "http://")
    address = f"http://127.0.0.1:{page.port(8080)}/v1/models/sales-forecast:predict"
    row = _rows(page)[0]
    sent = {"date": row["date"], "store_nbr": int(row["store_nbr"]), "item_nbr": int(row["item_nbr"])}
    body = json.dumps({"instances": [sent]})
    command = ["curl", "--fail", "--silent", "-H", "Ce-Id: order-1", "--json", body, address]
    subprocess.run(command, check=True, timeout=30, env=page.environment, stdout=subprocess.DEVNULL)
    (page.folder / "actuals.csv").write_text("id,row,actual\norder-1,0,3\n", encoding="utf-8")


def _newer(page: Page) -> None:
    """Have data of which the holdout is another one."""
    page.do("cd4ml data simulate --rows 20000 --days 500 --seed 8 --out newer")


def _unnamed(page: Page) -> None:
    """Take the champion's alias away, for a page that gives the first one."""
    page.do("cd4ml models alias sales-forecast champion --remove --reason 'for the page'")


PREPARED: dict[str, tuple[Callable[[Page], None], ...]] = {
    "docs/bundle.md": (_served, _tomorrow),
    "docs/evidence.md": (_answered,),
    "docs/forecast-page.md": (_served,),
    "docs/governance.md": (_newer,),
    "docs/history.md": (_tomorrow,),
    "docs/registry.md": (_unnamed,),
}
"""By page."""
