"""One engine, its base image and its images, made once for all tests; each part's seconds are a set-up's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.containers.engine import BASE, KEPT, ROOT, Engine, own_engine
from tests.containers.shop_run import ShopRun, run_shop


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Return an engine without images."""
    with own_engine() as found:
        yield found


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """Return the base image: what is there, else pulled, else made of Debian packages."""
    if engine.call("image", "inspect", BASE).returncode == 0:
        return BASE
    if engine.call("pull", "--quiet", BASE, timeout=300).returncode == 0:
        return BASE
    if os.getuid() != 0:
        pytest.skip(f"no base image: {BASE} cannot be pulled, and making one needs root")
    made = engine.run(
        "env", f"ENGINE={engine.name}", f"IMAGE={BASE}", ROOT / "scripts/base_image.sh", timeout=600
    )
    assert made.returncode == 0, made.stderr
    return BASE


@pytest.fixture(scope="session")
def image(engine: Engine, base: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return a function that builds the image of a kind once and returns its name and tag."""
    out = tmp_path_factory.mktemp("images")

    def build(kind: str) -> str:
        if kind not in engine.built:
            command = (sys.executable, "-m", "scripts.images", "build", kind, "--engine", engine.name)
            # Committing each step of a gigabyte takes as long as making it.
            once = () if os.environ.get(KEPT) else ("--no-cache",)
            made = engine.run(*command, "--base", base, "--pull", "never", "--out", out, *once, timeout=900)
            assert made.returncode == 0, made.stdout[-4000:] + made.stderr[-4000:]
            engine.built[kind] = json.loads((Path(out) / f"{kind}.json").read_text())
        found = engine.built[kind]
        return f"{found['repository']}:{found['tag']}"

    return build


@pytest.fixture(scope="session")
def components(image: Callable[[str], str]) -> str:
    """Return the image of the components."""
    return image("components")


@pytest.fixture(scope="session")
def shop(engine: Engine, components: str, tmp_path_factory: pytest.TempPathFactory) -> ShopRun:
    """Return the training pipeline's run on the small shop, in containers of the image."""
    return run_shop(engine, tmp_path_factory.mktemp("shop"))
