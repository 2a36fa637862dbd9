"""Writes the practice shop as the six files that Kaggle hands out, a block of days at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cd4ml.adapters.storage import atomic
from cd4ml.domain.shop import (
    FAMILIES,
    LAST_DATE,
    DaySales,
    Shop,
    ShopSpec,
    breaches,
    holiday_table,
    irreducible_errors,
    oil_prices,
    plan_shop,
    planted,
    row_dates,
    sales_of_day,
    spoil,
)
from cd4ml.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BLOCK_ROWS", "FILES", "WINDOWS_DAYS", "train_frames", "write_shop"]

FILES = ("train.csv", "items.csv", "stores.csv", "holidays_events.csv", "oil.csv", "transactions.csv")
BLOCK_ROWS = 250_000
"""Rows of train.csv that are gathered, at least a day, before they are written."""
WINDOWS_DAYS = (16, 57)
"""Lengths of the last stretches whose irreducible errors are told."""
_ASIDE = f"{atomic.TEMPORARY_PREFIX}shop"
WORKERS = 4
"""Days that are made at the same time; the bytes do not hang on it."""

Progress = Callable[[int, int], None]


def write_shop(spec: ShopSpec, out: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Write the six files of a shop under `out` and return what is true of it.

    Parameters
    ----------
    spec : ShopSpec
    out : Path
        A folder, made where it is missing. Files of these names are replaced, each as a whole, once all six
        are complete; other files stay.
    progress : callable, optional
        Called with the days done and the days to do; each day counts twice, as it is first counted.

    Returns
    -------
    dict
        `rows`, `days`, `first_date`, `last_date`, `seed`, `entities` (pairs of store and item that have
        rows), `stores`, `items`, `files` (name to bytes), `scenarios` (name to what was planted),
        `irreducible_error` ("last_16_days" and "last_57_days" to "written" and "all" to metric to value).

    Raises
    ------
    UsageError
        The folder cannot be written to, or another process is writing a shop there.
    """
    with _day_map(progress, 2 * spec.days) as day_map:
        shop = plan_shop(spec, day_map)
        breaches(shop)
        with _alone(out):
            aside = out / _ASIDE
            with atomic.directory(aside) as folder:
                _write_train(shop, folder, day_map)
                _write_small(shop, folder)
            _replace(aside, out)
    return _summary(shop, out)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep other writers of shops out of a folder, and remove what one that was killed has left there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in out.glob(f"*{_ASIDE}*"):
                shutil.rmtree(left)
            yield
        finally:
            os.close(descriptor)
    except BlockingIOError as error:
        raise UsageError(
            f"expected {out} for this shop alone; found another process that writes one there. "
            "Wait for it, or give another --out"
        ) from error
    except OSError as error:
        raise UsageError(
            f"expected a folder to write to at {out}; found: {error.strerror or error}. "
            "Give another --out, or make room"
        ) from error


def _replace(aside: Path, out: Path) -> None:
    """Move the files into their places; train.csv is absent while they are of two shops."""
    (out / FILES[0]).unlink(missing_ok=True)
    for name in reversed(FILES):
        (aside / name).replace(out / name)
    aside.rmdir()


@contextmanager
def _day_map(progress: Progress | None, total: int) -> Iterator[Any]:
    """Yield a map over days that works ahead on a few threads, keeps the order and tells its progress."""
    done = 0

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:

        def ordered(make: Callable[[int], DaySales], days: Iterable[int]) -> Iterator[DaySales]:
            nonlocal done
            upcoming = iter(days)
            waiting: list[Future[DaySales]] = [pool.submit(make, day) for day in islice(upcoming, WORKERS)]
            while waiting:
                yield waiting.pop(0).result()
                waiting += [pool.submit(make, day) for day in islice(upcoming, 1)]
                done += 1
                if progress is not None:
                    progress(min(done, total), total)

        yield ordered


def train_frames(shop: Shop, day_map: Any = map) -> Iterator[pl.DataFrame]:
    """Yield train.csv in order, each frame a day or as many whole days as `BLOCK_ROWS` asks for."""
    days: list[pl.DataFrame] = []
    first_id = gathered = 0
    for sold in day_map(partial(sales_of_day, shop.demand), range(shop.spec.days)):
        if sold.pair.size:
            days.append(_frame(shop, spoil(shop, sold), first_id))
        first_id += sold.pair.size
        gathered += sold.pair.size
        if gathered >= BLOCK_ROWS:
            yield _joined(days)
            days, gathered = [], 0
    if days:
        yield _joined(days)


def _frame(shop: Shop, sold: DaySales, first_id: int) -> pl.DataFrame:
    import polars as pl

    size = sold.pair.size
    unrecorded = pl.repeat(None, size, dtype=pl.Boolean, eager=True)
    return pl.DataFrame(
        {
            "id": np.arange(first_id, first_id + size),
            "date": pl.Series(row_dates(shop, sold)).cast(pl.Date),
            "store_nbr": sold.store_nbr,
            "item_nbr": sold.item_nbr,
            "unit_sales": pl.Series(sold.unit_sales).fill_nan(None),
            "onpromotion": unrecorded if sold.onpromotion is None else pl.Series(sold.onpromotion),
        }
    )


def _joined(days: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the days as one frame in which promotions are written as Kaggle does: True, False or empty."""
    import polars as pl

    promoted = pl.col("onpromotion")
    words = pl.when(promoted).then(pl.lit("True")).when(~promoted).then(pl.lit("False"))
    return pl.concat(days).with_columns(onpromotion=words)


def _write_train(shop: Shop, folder: Path, day_map: Any) -> None:
    """Write train.csv and, from the same days, transactions.csv."""
    receipts: dict[str, list[Any]] = {"date": [], "store_nbr": [], "transactions": []}
    numbers = [store.store_nbr for store in shop.demand.shop.stores]

    def noting(make: Callable[[int], DaySales], days: Iterable[int]) -> Iterator[DaySales]:
        for sold in day_map(make, days):
            count = sold.transactions.size
            receipts["date"] += [sold.date] * count
            receipts["store_nbr"] += numbers[:count]
            receipts["transactions"] += sold.transactions.tolist()
            yield sold

    with (folder / "train.csv").open("wb") as file:
        _append_all(file, train_frames(shop, noting))
    _write_columns(folder / "transactions.csv", receipts)


def _append_all(file: IO[bytes], frames: Iterable[pl.DataFrame]) -> None:
    for number, frame in enumerate(frames):
        frame.write_csv(file, include_header=number == 0)


def _write_columns(path: Path, columns: dict[str, Any]) -> None:
    import polars as pl

    pl.DataFrame(columns).write_csv(path)


def _words(flags: Iterable[bool]) -> list[str]:
    return [str(bool(flag)) for flag in flags]


def _write_small(shop: Shop, folder: Path) -> None:
    """Write items, stores, holidays and oil."""
    plan = shop.demand.shop
    families = [FAMILIES[i] for i in plan.item_family]
    items = {
        "item_nbr": plan.item_nbr,
        "family": [family.name for family in families],
        "class": plan.item_class,
        "perishable": [int(family.perishable) for family in families],
    }
    _write_columns(folder / "items.csv", items)
    names = ("store_nbr", "city", "state", "type", "cluster")
    _write_columns(folder / "stores.csv", {n: [getattr(s, n) for s in plan.stores] for n in names})
    holidays = {n: [getattr(row, n) for row in holiday_table()] for n in holiday_table()[0]._fields}
    holidays["transferred"] = _words(holidays["transferred"])
    _write_columns(folder / "holidays_events.csv", holidays)
    days, prices = oil_prices(shop.spec)
    values = [None if np.isnan(price) else float(price) for price in prices]
    _write_columns(folder / "oil.csv", {"date": days, "dcoilwtico": values})


def _irreducible(shop: Shop) -> dict[str, Any]:
    errors: dict[str, Any] = {}
    for days in WINDOWS_DAYS:
        first: date = max(LAST_DATE - timedelta(days=days - 1), shop.spec.first_date)
        errors[f"last_{days}_days"] = {
            "written": irreducible_errors(shop, first, LAST_DATE, "written"),
            "all": irreducible_errors(shop, first, LAST_DATE, "all"),
        }
    return errors


def _scenarios(shop: Shop) -> dict[str, dict[str, Any]]:
    """Return what was planted, with the dates of the breaches, which hang on the plan."""
    truth = planted(shop.spec, shop.demand.shop)
    dates = {breach.kind: shop.spec.date_of(breach.day).isoformat() for breach in breaches(shop)}
    if dates:
        truth["contract-breach"]["planted_on"] = dates
    return truth


def _summary(shop: Shop, out: Path) -> dict[str, Any]:
    spec, plan = shop.spec, shop.demand.shop
    sold = shop.rows_per_pair > 0
    return {
        "rows": int(shop.rows_per_day.sum()),
        "days": spec.days,
        "first_date": spec.first_date.isoformat(),
        "last_date": LAST_DATE.isoformat(),
        "seed": spec.seed,
        "entities": int(sold.sum()),
        "stores": int(np.unique(plan.store[sold]).size),
        "items": int(np.unique(plan.item[sold]).size),
        "files": {name: (out / name).stat().st_size for name in FILES},
        "scenarios": _scenarios(shop),
        "irreducible_error": _irreducible(shop),
    }
