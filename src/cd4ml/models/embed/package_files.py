"""The text files of an embedded model's package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Naming", "init_text", "main_text", "metadata_text", "runtime_init_text", "wheel_text"]


@dataclass(frozen=True)
class Naming:
    """What a package is called.

    Attributes
    ----------
    package : str
        What is imported, e.g. "sales_forecast_model".
    version : str
        Of the distribution, by PEP 440.
    bundle_id : str
        64 hexadecimal digits.
    """

    package: str
    version: str
    bundle_id: str

    @property
    def distribution(self) -> str:
        """What is installed, e.g. "sales-forecast-model"."""
        return self.package.strip("_").replace("_", "-")

    @property
    def runtime(self) -> str:
        """Where our modules lie."""
        return f"{self.package}._runtime"

    @property
    def info(self) -> str:
        """The folder of the metadata."""
        return f"{self.package}-{self.version}.dist-info"

    @property
    def wheel(self) -> str:
        """The name of the file."""
        return f"{self.package}-{self.version}-py3-none-any.whl"


_INIT = '''"""{title}.

The model lies inside. Its files are verified on first use, and nothing is fetched.

>>> import {package} as model
>>> model.predict(frame)  # a pandas or Polars DataFrame, a dict of columns, or a list of rows
"""

from __future__ import annotations

from pathlib import Path as _Path
from typing import Any

import numpy as _np
import numpy.typing as _npt

from {runtime}.errors import DataError, GateRejected, IntegrityError, RowError
from {runtime}.models.embed.embedded import Embedded as _Embedded
from {runtime}.models.form_parity import FormParity

__all__ = [
    "DataError",
    "FormParity",
    "GateRejected",
    "IntegrityError",
    "RowError",
    "bundle_id",
    "contract",
    "outputs",
    "predict",
    "tested_with",
    "verify",
    "version",
]

version = "{version}"
"""The version of this package."""
__version__ = version
bundle_id = "{bundle_id}"
"""Which bundle lies inside: the SHA-256 of its manifest, as verdict and registry know it."""
tested_with: dict[str, str] = {tested}
"""The versions with which the holdout was predicted when this package was made."""

_model = _Embedded(_Path(__file__).parent / "_bundle", bundle_id, version)


def predict(rows: Any) -> _npt.NDArray[_np.float64]:
    """Return one prediction a row, shape (n,).

    Parameters
    ----------
    rows : data frame, mapping of columns, or list of rows
        pandas or Polars, or plain Python. Columns that the contract does not know are left out; an unknown
        field of a single row is refused. NaN, NaT and NA are null.

    Raises
    ------
    RowError
        If a row breaks the contract: it knows `row`, `field`, `found` and `allowed`.
    IntegrityError
        If a file of the model was changed.
    """
    return _model.predict(rows)


def outputs(rows: Any) -> dict[str, _npt.NDArray[_np.float64]]:
    """Return all outputs by name, each of shape (n,): {outputs}. See `predict`."""
    return _model.outputs(rows)


def contract() -> dict[str, Any]:
    """Return what a row must have (`inputs`, a JSON Schema) and what comes back."""
    return _model.contract()


def verify() -> FormParity:
    """Predict the holdout inside again and compare with what was judged.

    Raises
    ------
    GateRejected
        If a prediction is off by more than 1e-5 of max(1, |y|), e.g. under other libraries.
    """
    return _model.verify()
'''
_MAIN = '''"""`python -m {package}`: JSON lines in, JSON lines out."""

import sys

from {package} import _model
from {runtime}.models.embed.application import main

sys.exit(main(_model))
'''


def init_text(naming: Naming, title: str, tested: Mapping[str, str], outputs: list[str]) -> str:
    """Return `__init__.py` of the package."""
    plain = title.replace("\\", "/").replace('"""', "'''").rstrip(' .?"')
    return _INIT.format(
        title=" ".join(plain.split()),
        package=naming.package,
        runtime=naming.runtime,
        version=naming.version,
        bundle_id=naming.bundle_id,
        tested=dict(tested),
        outputs=", ".join(f"`{name}`" for name in outputs),
    )


def main_text(naming: Naming) -> str:
    """Return `__main__.py` of the package."""
    return _MAIN.format(package=naming.package, runtime=naming.runtime)


def runtime_init_text(cd4ml_version: str) -> str:
    """Return `_runtime/__init__.py`, which says what lies there."""
    return (
        f'"""The parts of cd4ml {cd4ml_version} that predict, copied (Apache License 2.0, see LICENSE).\n\n'
        'Private to this package: two models of different versions of cd4ml do not meet."""\n'
    )


def metadata_text(
    naming: Naming, summary: str, tested: Mapping[str, str], contract: Mapping[str, Any]
) -> str:
    """Return METADATA: the versions compatible with the tested ones; the extra `tested` pins these."""
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {naming.distribution}",
        f"Version: {naming.version}",
        f"Summary: {' '.join(summary.split())}",
        "Requires-Python: >=3.11",
        *(f"Requires-Dist: {name} {_compatible(version)}" for name, version in tested.items()),
        "Provides-Extra: tested",
        *(f'Requires-Dist: {name} =={version} ; extra == "tested"' for name, version in tested.items()),
        "Description-Content-Type: text/markdown",
        "",
        f"Bundle `{naming.bundle_id}`.",
        "",
        f"Fields of a row: {', '.join(f'`{name}`' for name in contract['inputs']['properties'])}.",
        "",
    ]
    return "\n".join(lines)


def _compatible(version: str) -> str:
    """Return from this minor version on, below the next major one."""
    major, minor, *_ = version.split(".")
    return f">={major}.{minor},<{int(major) + 1}"


def wheel_text() -> str:
    """Return WHEEL."""
    return "Wheel-Version: 1.0\nGenerator: cd4ml\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
