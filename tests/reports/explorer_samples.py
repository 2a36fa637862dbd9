"""Holdouts for the slice explorer, made up: one regression in days, one classification in rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from cd4ml.features.columns import CategoryArray
from cd4ml.reports.explorer_data import Judged

HOSTILE = '</script><script>alert("x")</script><!--'


def _generator() -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(11))


def regression_rows(rows: int = 3000) -> Judged:
    rng = _generator()
    day = np.sort(rng.integers(0, 60, rows))
    store = rng.integers(-1, 7, rows)
    price = np.where(rng.random(rows) < 0.05, np.nan, rng.lognormal(1, 0.5, rows))
    visitors = rng.integers(0, 40, rows)
    actual = rng.poisson(5 + visitors * 0.5).astype(float)
    shock = rng.normal(0, 0.12, 60)[day]
    spread = np.where(store == 3, 0.6, 0.2)
    predicted = np.maximum(0, actual * (1 + shock + rng.normal(0, spread)) + rng.normal(0, 1, rows))
    times = np.datetime64("2026-03-01", "s") + day.astype("timedelta64[D]")
    return Judged(
        actual,
        {"model": predicted, "last_week": actual * rng.uniform(0.4, 1.6, rows)},
        {
            "store": CategoryArray(store.astype(np.int32), ("A", "B", "C", "D", "E", "F", HOSTILE)),
            "visitors": visitors,
            "price": price,
            "day": times,
        },
        cluster=day + 100,
        weight=np.where(store % 2 == 0, 1.25, 1.0),
    )


def classification_rows(rows: int = 4000) -> Judged:
    rng = _generator()
    sex, race = rng.integers(0, 2, rows), rng.choice(5, rows, p=[0.7, 0.2, 0.06, 0.037, 0.003])
    chance = 1 / (1 + np.exp(-(rng.normal(0, 1.4, rows) - 1 + 0.8 * sex)))
    actual = (rng.random(rows) < chance).astype(float)
    noise = rng.normal(0, np.where(race == 1, 1.2, 0.4))
    score = np.round(1 / (1 + np.exp(-(np.log(chance / (1 - chance)) + noise))), 3)
    columns: dict[str, Any] = {
        "sex": CategoryArray(sex.astype(np.int32), ("Female", "Male")),
        "race": CategoryArray(race.astype(np.int32), ("White", "Black", "Asian", "Other", "Rare")),
        "age": rng.integers(17, 91, rows),
    }
    return Judged(actual, {"model": score, "prior": np.full(rows, actual.mean())}, columns)


def problem_of(task: str, **more: Any) -> dict[str, Any]:
    primary, also = (
        ("wape", ["nwrmsle", "bias"]) if task == "regression" else ("roc_auc", ["log_loss", "recall"])
    )
    cluster = "day" if task == "regression" else "row"
    metrics = {"primary": primary, "also": also, "cluster": cluster, "level": 0.95}
    return {"name": f"{task} slices", "task": task, "metrics": metrics, "description": HOSTILE} | more
