"""Names and quantities as Kubernetes and kfp both take them: what one would refuse is refused here."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from cd4ml.problem.quantities import Duration

__all__ = [
    "Claim",
    "Cpu",
    "EnvName",
    "LabelKey",
    "LabelValue",
    "Memory",
    "MountPath",
    "Mounted",
    "ObjectName",
    "PlainEnvName",
    "PlainText",
    "ResourceName",
    "Seconds",
    "Size",
    "cores",
    "size_bytes",
]

_UNITS = {"": 1, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_UNITS |= {f"{name}i": 2 ** (10 * power) for power, name in enumerate("KMGTPE", start=1)}
_CPU = re.compile(r"[0-9]+m|[0-9]+(\.[0-9]{1,3})?")
_SIZE = re.compile(r"([0-9]+)([KMGTPE]i|[MGTPE])?")
_MOST_SECONDS = 2**31 - 1
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SHORT = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_OF_THE_PLATFORM = ("pipelines.kubeflow.org/", "workflows.argoproj.io/")
_MOUNTED_BY_PIPELINES = (
    "/.cache",
    "/.config",
    "/.local",
    "/gcs",
    "/kfp-launcher",
    "/kfp-workspace",
    "/minio",
    "/s3",
)
_SECRET = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|API_?KEY|(ACCESS|PRIVATE|SECRET|SIGNING)_KEY(_ID)?)$",
    re.IGNORECASE,
)


def cores(text: str) -> Decimal:
    """Return a quantity of processor in cores; "500m" is half of one."""
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)


def size_bytes(text: str) -> int:
    """Return a quantity of memory or storage in bytes."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a size such as 512Mi or 8Gi; found {text!r}")
    return int(found[1]) * _UNITS[found[2] or ""]


def _text(value: object) -> object:
    """Return a number that YAML has read as the text that was written."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _quoted(value: object) -> object:
    """Refuse what YAML has read as something else than text, and say how to write it."""
    if isinstance(value, bool | int | float):
        written = str(value).lower()
        raise ValueError(f'expected text in quotes, such as "{written}"; found {written} without')
    return value


def _cpu(text: str) -> str:
    if not _CPU.fullmatch(text):
        raise ValueError(f"expected cores such as 2, 0.5 or 500m; found {text!r}")
    if not cores(text):
        raise ValueError(f"expected more than no processor; found {text!r}")
    return text


def _size(text: str) -> str:
    if not _SIZE.fullmatch(text):
        hint = "; Kubernetes knows no 'K', write Ki" if re.fullmatch(r"[0-9]+K", text) else ""
        raise ValueError(f"expected a whole number with a unit, such as 512Mi or 8Gi; found {text!r}{hint}")
    if not size_bytes(text):
        raise ValueError(f"expected more than nothing; found {text!r}")
    return text


def _seconds(value: timedelta) -> timedelta:
    if not 1 <= value.total_seconds() <= _MOST_SECONDS:
        raise ValueError(f"expected between 1s and {_MOST_SECONDS}s; found {value.total_seconds():.0f}s")
    return value


def _label_key(text: str) -> str:
    prefix, slash, name = text.rpartition("/")
    well_formed = re.fullmatch(_SHORT, name) and (
        not slash or (len(prefix) <= 253 and re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", prefix))
    )
    if not well_formed:
        raise ValueError(f"expected a key such as team or example.org/team; found {text!r}")
    if text.startswith(_OF_THE_PLATFORM):
        raise ValueError(f"keys of Kubeflow Pipelines are its own; found {text!r}. Take another")
    return text


def _resource_name(text: str) -> str:
    if "/" not in text:
        raise ValueError(f"expected a resource with its domain, such as nvidia.com/gpu; found {text!r}")
    return _label_key(text)


def _mount_path(text: str) -> str:
    parts = text.split("/")[1:]
    if not text.startswith("/") or ":" in text or not all(part not in ("", ".", "..") for part in parts):
        raise ValueError(f"expected an absolute path such as /mnt/data; found {text!r}")
    if any(text == one or text.startswith(f"{one}/") for one in _MOUNTED_BY_PIPELINES):
        raise ValueError(f"Kubeflow Pipelines mounts {text!r} itself; take another path")
    return text


def _plain(name: str) -> str:
    if _SECRET.search(name):
        raise ValueError(
            f"a value of '{name}' would be readable in the pipeline; put it into a Secret and name that under"
            f" `secrets`; found it under `env`"
        )
    return name


_QUANTITY = {"anyOf": [{"type": "string"}, {"type": "number"}]}

Cpu = Annotated[
    str, BeforeValidator(_text), AfterValidator(_cpu), WithJsonSchema({**_QUANTITY, "examples": ["500m", 2]})
]
"""Cores, e.g. 2, 0.5 or "500m"; more than none."""
Memory = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_size),
    WithJsonSchema({**_QUANTITY, "examples": ["512Mi", "8Gi"]}),
]
"""Bytes, or a whole number with a unit such as "512Mi"; more than none. kfp takes no fractions."""
Size = Memory
"""The same for storage."""
Seconds = Annotated[Duration, AfterValidator(_seconds)]
"""A duration of at least a second that fits into 32 bits."""
ObjectName = Annotated[str, Field(pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]
"""Name of a Secret, a ConfigMap or a storage class."""
Mounted = Annotated[str, Field(pattern=rf"^{_LABEL}$")]
"""A name that Kubeflow Pipelines makes the name of a volume, which may have no dots."""
Claim = Mounted
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, Field(pattern=rf"^({_SHORT})?$"), BeforeValidator(_quoted)]
PlainText = Annotated[str, BeforeValidator(_quoted)]
ResourceName = Annotated[str, AfterValidator(_resource_name)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
PlainEnvName = Annotated[EnvName, AfterValidator(_plain)]
"""A variable whose value everybody may read."""
MountPath = Annotated[str, AfterValidator(_mount_path)]
