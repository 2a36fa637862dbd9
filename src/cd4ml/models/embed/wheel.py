"""A bundle as a wheel: the model, what predicts it, and nothing of cd4ml to install.

References
----------
.. [1] PEP 427, The Wheel Binary Package Format; PEP 440, Version Identification.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import keyword
import re
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cd4ml
from cd4ml.adapters.manifest import SIGNATURE, verify_manifest
from cd4ml.adapters.manifest import bundle_id as id_of
from cd4ml.adapters.signing import require_signature
from cd4ml.adapters.storage import atomic
from cd4ml.errors import UsageError
from cd4ml.models.embed.closure import find_closure, requirements, vendored
from cd4ml.models.embed.gate import judge_wheel
from cd4ml.models.embed.package_files import (
    Naming,
    init_text,
    main_text,
    metadata_text,
    runtime_init_text,
    wheel_text,
)
from cd4ml.models.form_parity import FormParity, judged_outputs

__all__ = ["Wheel", "build_wheel", "package_name"]

_FIXED_DATE = (1980, 1, 1, 0, 0, 0)
_VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc)[0-9]+)?(\.post[0-9]+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?")


@dataclass(frozen=True)
class Wheel:
    """A wheel that was made and predicts what was judged.

    Attributes
    ----------
    requirements : mapping
        Distribution -> the version with which it was tested.
    """

    path: Path
    naming: Naming
    requirements: Mapping[str, str]
    parity: FormParity


def package_name(model: str) -> str:
    """Return the package of a model: "sales-forecast" gives "sales_forecast_model"."""
    stem = re.sub(r"[^a-z0-9]+", "_", model.lower()).strip("_")
    return f"{'m_' if stem[:1].isdigit() else ''}{stem}_model"


def build_wheel(bundle: Path, out: Path, *, package: str = "", version: str = "") -> Wheel:
    """Write a wheel with the bundle inside, after it predicted the holdout where cd4ml cannot be imported.

    The same bundle, names and cd4ml give the same bytes (compression is that of Python's zlib).

    Parameters
    ----------
    bundle : Path
        A bundle; it is verified.
    out : Path
        The folder for the wheel.
    package : str
        What applications import; made from the problem's name by default.
    version : str
        By PEP 440; `0+` and the first digits of the bundle's id by default.

    Raises
    ------
    GateRejected
        If the package does not predict what was judged: nothing is written.
    UsageError
        If the name cannot be imported, or the version is none.
    """
    manifest = verify_manifest(bundle)
    require_signature(bundle)
    identity = id_of(bundle)
    package = package or package_name(str(manifest["problem"]))
    naming = Naming(package, version or f"0+{identity[:12]}", identity)
    _check(naming)
    needed = requirements(find_closure(), signed=(bundle / SIGNATURE).is_file())
    data = _zipped(_files(bundle, naming, needed), naming)
    parity = judge_wheel(data, package, tuple(needed))
    atomic.write_bytes(out / naming.wheel, data)
    return Wheel(out / naming.wheel, naming, needed, parity)


def _check(naming: Naming) -> None:
    name = naming.package
    taken = name in sys.stdlib_module_names or name == "cd4ml" or keyword.iskeyword(name)
    if taken or not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name):
        raise UsageError(
            "expected a package name in lower case that nobody has, such as sales_forecast_model; found"
            f" '{name}'"
        )
    if not _VERSION.fullmatch(naming.version):
        raise UsageError(f"expected a version such as 3 or 1.2.0; found '{naming.version}'")


def _files(bundle: Path, naming: Naming, needed: Mapping[str, str]) -> dict[str, bytes]:
    """Return the wheel's files but RECORD, by name."""
    problem = json.loads((bundle / "problem.json").read_bytes())
    contract = json.loads((bundle / "contract.json").read_bytes())
    title = str(problem.get("description") or "") or f"Predictions of {problem['name']}"
    package, info = naming.package, naming.info
    texts = {
        f"{package}/__init__.py": init_text(naming, title, needed, list(judged_outputs(bundle))),
        f"{package}/__main__.py": main_text(naming),
        f"{package}/py.typed": "",
        f"{info}/METADATA": metadata_text(naming, title, needed, contract),
        f"{info}/WHEEL": wheel_text(),
    }
    for name, text in vendored(find_closure(), naming.runtime).items():
        texts[f"{package}/_runtime/{name}"] = text
    texts[f"{package}/_runtime/__init__.py"] = runtime_init_text(cd4ml.__version__)
    files = {name: text.encode() for name, text in texts.items()}
    if licence := _licence():
        files[f"{package}/_runtime/LICENSE"] = licence
    inside = sorted(path for path in bundle.rglob("*") if path.is_file())
    return files | {
        f"{package}/_bundle/{path.relative_to(bundle).as_posix()}": path.read_bytes() for path in inside
    }


def _licence() -> bytes:
    """Return the text of cd4ml's licence, which goes where its code goes; empty when it was not installed."""
    named = [file for file in metadata.files("cd4ml") or [] if file.name == "LICENSE"]
    paths = [Path(str(file.locate())) for file in named]
    paths += [Path(cd4ml.__file__).parents[2] / "LICENSE"]
    return next((path.read_bytes() for path in paths if path.is_file()), b"")


def _zipped(files: Mapping[str, bytes], naming: Naming) -> bytes:
    record = f"{naming.info}/RECORD"
    lines = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in sorted(files.items())]
    whole = {**dict(sorted(files.items())), record: "".join([*lines, f"{record},,\n"]).encode()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in whole.items():
            entry = zipfile.ZipInfo(name, _FIXED_DATE)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED, 6)
    return buffer.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
