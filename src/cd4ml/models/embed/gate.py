"""The gate of an embedded model: it predicts its holdout where only what it asks for can be imported."""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence

from cd4ml.errors import GateRejected
from cd4ml.models.form_parity import FormParity
from cd4ml.models.reload import modules_outside, requirement_closure
from cd4ml.models.replay import ImportGuard

__all__ = ["judge_wheel"]

# The guard comes as text: nothing of cd4ml can be imported where it runs.
_SCRIPT = f"""from __future__ import annotations
import importlib, importlib.abc, json, sys
{inspect.getsource(ImportGuard)}
asked = json.load(sys.stdin)
sys.meta_path.insert(0, ImportGuard(frozenset(asked["forbidden"])))
sys.path.insert(0, asked["site"])
package = importlib.import_module(asked["package"])
json.dump(package._model.compare().to_dict(), sys.stdout)
"""


def judge_wheel(
    wheel: bytes, package: str, requirements: Sequence[str], *, timeout_seconds: float = 300
) -> FormParity:
    """Unpack a wheel and predict its holdout in a process of its own.

    Parameters
    ----------
    package : str
        What it brings.
    requirements : sequence of str
        The distributions that it asks for: these and what they need can be imported, cd4ml cannot.

    Raises
    ------
    GateRejected
        If it does not predict, or not what was judged.
    """
    allowed = set[str]().union(*(requirement_closure(name, "") for name in requirements))
    forbidden = {*modules_outside(allowed), "cd4ml"}
    with tempfile.TemporaryDirectory(prefix="cd4ml-wheel-") as site:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            archive.extractall(site)
        asked = {"forbidden": sorted(forbidden), "site": site, "package": package}
        try:
            done = subprocess.run(  # noqa: S603 - our own text
                [sys.executable, "-P", "-B", "-c", _SCRIPT],
                input=json.dumps(asked),
                cwd=site,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise GateRejected(
                f"package '{package}' did not predict its holdout in {timeout_seconds:g} seconds"
            ) from None
    if done.returncode:
        line = (done.stderr.strip().splitlines() or ["no word"])[-1][:300]
        raise GateRejected(f"package '{package}' does not predict where cd4ml is absent: {line}")
    return FormParity(**json.loads(done.stdout)).require()
