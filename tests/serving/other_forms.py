"""A model as data and embedded in a program, as ways of asking for rows."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import open_store
from cd4ml.models.embed.wheel import build_wheel
from cd4ml.models.follow import ModelFollower
from tests.serving.parity import Way

# -S leaves out the .pth files by which cd4ml is found: the wheel has to do without it.
_PROGRAM = """
import sys, json
sys.path[:0] = [{site!r}]
sys.path.append({libraries!r})
try:
    import cd4ml
except ImportError:
    pass
else:
    sys.exit("cd4ml can be imported")
import the_model
for line in sys.stdin:
    found = the_model.outputs(json.loads(line))
    columns = {{name: [float(value) for value in found[name]] for name in found}}
    print(json.dumps(columns), flush=True)
"""


@contextmanager
def embedded(folder: Path, place: Path) -> Iterator[Way]:
    """A program that imports the wheel of a bundle and nothing of cd4ml."""
    wheel = build_wheel(folder, place, package="the_model")
    site = place / "site"
    with zipfile.ZipFile(wheel.path) as archive:
        archive.extractall(site)
    program = _PROGRAM.format(site=str(site), libraries=sysconfig.get_path("purelib"))
    command = [sys.executable, "-S", "-P", "-B", "-c", program]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, env=clean, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(rows: list[dict[str, Any]]) -> dict[str, Any]:
            process.stdin.write(json.dumps(rows) + "\n")
            process.stdin.flush()
            return {name: np.array(values) for name, values in json.loads(process.stdout.readline()).items()}

        yield ask
        process.stdin.close()


@contextmanager
def followed(folder: Path, place: Path) -> Iterator[Way]:
    """A consumer that follows an alias of a registry with the bundle."""
    registry = Registry(open_store(str(place / "store")))
    version = registry.push(folder, "model")
    registry.set_alias("model", "champion", version.version)
    with ModelFollower("model@champion", store=registry.storage, folder=place / "kept") as follower:
        yield lambda rows: dict(follower.predict(rows).outputs)
