"""Each extra brings what its part needs: nothing else can be imported while the part works."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cd4ml.models.reload import forbidden_modules

ROOT = Path(__file__).parent.parent

PARTS = {
    "": "from cd4ml.cli.main import main\n"
    "assert main(['problem', 'check', 'sales-forecast']) == 0\n"
    "assert main(['problem', 'schema']) == 0\n"
    "assert main(['models', 'list']) == 0\n"
    "assert main(['runs', 'list']) == 0\n",
    "train": "from pathlib import Path\n"
    "from tests.steps.small_run import train\n"
    "Path('work').mkdir()\n"
    "assert train(Path('work'), Path('store')).version == 1\n",
    "kfp": "from pathlib import Path\n"
    "from pipelines.__main__ import main\n"
    "main(['--out', 'compiled'])\n"
    "assert Path('compiled/training.yaml').stat().st_size > 1000\n",
}


@pytest.mark.parametrize("extra", PARTS)
def test_an_extra_is_enough_for_its_part(extra, tmp_path):
    guard = (
        "import sys, json\n"
        "from cd4ml.models.replay import ImportGuard\n"
        "sys.meta_path.insert(0, ImportGuard(frozenset(json.load(sys.stdin))))\n"
    )
    (tmp_path / "store").mkdir()

    done = subprocess.run(
        [sys.executable, "-c", guard + PARTS[extra]],
        input=json.dumps(forbidden_modules(extra=extra)),
        cwd=tmp_path,
        env={
            **os.environ,
            "CD4ML_STORE": str(tmp_path / "store"),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_an_extra_does_not_bring_cannot_be_imported():
    forbidden = set(forbidden_modules(extra=""))
    assert {"polars", "sklearn", "kfp", "kserve", "onnxruntime"} <= forbidden
    assert not {"numpy", "pydantic", "typer", "minio"} & forbidden
