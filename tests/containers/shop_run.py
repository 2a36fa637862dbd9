"""The training pipeline on a small shop, each of its tasks in a container."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.containers.engine import Engine
from tests.loop.small_shop import write_shop


@dataclass(frozen=True)
class ShopRun:
    place: Path
    done: subprocess.CompletedProcess[str]

    @property
    def bundle(self) -> Path:
        return self.place / "out/bundle"

    def read(self, name: str) -> Any:
        return json.loads((self.place / "out" / name).read_text())


def run_shop(engine: Engine, place: Path) -> ShopRun:
    """Run the pipeline as a user does."""
    write_shop(place / "shop")
    given = ("--data", place / "shop", "--out", place / "out", "--store", place / "store")
    done = engine.cd4ml("run", place / "shop/problem.yaml", *given, "--runner", "docker")
    return ShopRun(place, done)
