"""What is served in the benchmark: two models on plain numbers, and sales of a simulated shop from raw rows.

The bundles come out of `cd4ml run` and are kept in a cache folder, under a hash of what they are made of. A
change of the code that serves them needs no new ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

from cd4ml.adapters.storage import atomic
from cd4ml.adapters.storage.hashing import sha256_bytes
from cd4ml.models.persist import load_estimator
from cd4ml.models.runtime import FORMAT, Bundle, holdout_rows

__all__ = ["PLAIN", "SHOP", "World", "cache_folder", "make"]

PLAIN = ("boosting", "forest")
SHOP = "sales"
_ROWS, _COLUMNS, _SEED = 20_000, 12, 11
_ASKED = 256
_SHOP_ROWS, _SHOP_DAYS, _SHOP_SEED = 60_000, 540, 7
_FAMILIES = {
    "boosting": "{name: boosting, family: gradient_boosting, parameters: {max_iter: 200}}",
    "forest": "{name: forest, family: random_forest, parameters: {n_estimators: 100}}",
}


@dataclass(frozen=True)
class World:
    """A bundle and what is asked of it.

    Attributes
    ----------
    rows : list of dict
        Raw rows, as a caller sends them.
    features : list of list of float
        The same rows as the model sees them: what peers are sent.
    expected : list of float
        What the bundle answers.
    joblib : Path
        The bundle's estimator for peers that run scikit-learn.
    """

    bundle: Path
    rows: list[dict[str, object]]
    features: list[list[float]]
    expected: list[float]
    joblib: Path


def cache_folder() -> Path:
    """Return where bundles and MLServer are kept; CD4ML_BENCH_CACHE names another place."""
    named = os.environ.get("CD4ML_BENCH_CACHE")
    return Path(named) if named else Path(tempfile.gettempdir()) / f"cd4ml-bench-{os.getuid()}"


@cache
def make(name: str) -> World:
    """Return a world, made where it is not kept yet: `boosting`, `forest` or `sales`."""
    made_of = (
        Path(__file__).read_bytes() + files("cd4ml.problems").joinpath("sales-forecast.yaml").read_bytes()
    )
    folder = cache_folder() / f"{name}-{FORMAT}-{sha256_bytes(made_of)[:16]}"
    if not (folder / "run" / "bundle").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        problem, data = _shop(folder) if name == SHOP else _plain(folder, name)
        _cd4ml(folder, "run", problem, "--data", str(data), "--out", str(folder / "run"), accepted=(0, 3))
    return _world(folder)


def _world(folder: Path) -> World:
    import joblib

    bundle = Bundle.load(folder / "run" / "bundle", own=True)
    rows = holdout_rows(bundle.folder)
    rows = [rows[place] for place in np.linspace(0, len(rows) - 1, _ASKED).astype(int)]
    columns = bundle.columns(rows)
    path = folder / "model.joblib"
    joblib.dump(load_estimator(bundle.folder / "estimator.skops"), path)
    features = [[float(value) for value in row] for row in bundle.features(columns)]
    return World(bundle.folder, rows, features, bundle.predict(columns).tolist(), path)


def _cd4ml(folder: Path, *arguments: str, accepted: tuple[int, ...] = (0,)) -> None:
    environment = {**os.environ, "CD4ML_STORE": str(folder / "store"), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "cd4ml.cli", *arguments],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode not in accepted:
        raise RuntimeError(f"cd4ml {arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")


def _shop(folder: Path) -> tuple[str, Path]:
    data = folder / "shop"
    size = ("--rows", str(_SHOP_ROWS), "--days", str(_SHOP_DAYS), "--seed", str(_SHOP_SEED))
    _cd4ml(folder, "data", "simulate", *size, "--out", str(data))
    return "sales-forecast", data


def _plain(folder: Path, name: str) -> tuple[str, Path]:
    rng = np.random.Generator(np.random.PCG64(_SEED))
    X = rng.normal(size=(_ROWS, _COLUMNS)).astype(np.float32)
    y = 10 + X[:, 0] * X[:, 1] + 3 * np.sin(2 * X[:, 2]) + np.abs(X[:, 3]) + rng.normal(0, 0.5, _ROWS)
    names = [f"x{number}" for number in range(_COLUMNS)]
    lines = [
        ",".join([*map(repr, row), repr(value)]) for row, value in zip(X.tolist(), y.tolist(), strict=True)
    ]
    data = folder / "data"
    data.mkdir(exist_ok=True)
    atomic.write_text(data / "plain.csv", "\n".join([",".join([*names, "y"]), *lines]) + "\n")
    columns = "".join(f"      {column}: {{type: number}}\n" for column in [*names, "y"])
    problem = folder / "plain.yaml"
    atomic.write_text(
        problem,
        f"""name: plain-numbers
description: Numbers from numbers
owner: the benchmark
task: regression
tables:
  plain:
    file: plain.csv
    columns:
{columns}facts: plain
target: {{column: y}}
features:
  - {{kind: columns, columns: {json.dumps(names)}}}
split: {{kind: random, holdout: 0.2}}
candidates: [{_FAMILIES[name]}]
metrics: {{primary: rmse, also: [mae], resamples: 100}}
baselines: [{{name: mean, kind: mean}}]
""",
    )
    return str(problem), data
