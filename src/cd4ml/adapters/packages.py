"""The Python packages that an extra of cd4ml asks for, held against those that are installed."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from cd4ml.errors import UsageError

__all__ = ["PackageState", "package_states", "required_python"]


@dataclass(frozen=True)
class PackageState:
    """One requirement.

    Attributes
    ----------
    wanted : str
        As setup.cfg has it, e.g. "<1.10,>=1.6"; "" for any version.
    installed : str
        The version that is there; "" for none.
    fits : bool
        It is there, in a version that is wanted.
    """

    name: str
    wanted: str
    installed: str
    fits: bool


def package_states(extra: str = "", distribution: str = "cd4ml") -> list[PackageState]:
    """Return what an extra needs on this platform and what is installed of it; "" is the base alone.

    Raises
    ------
    UsageError
        If `distribution` is not installed, so that nobody knows what it needs.
    """
    from packaging.requirements import Requirement

    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            f"'{distribution}' is not installed as a package; install it with: pip install {distribution}"
        ) from error
    found = []
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        always = marker is None or marker.evaluate({"extra": ""})
        asked = (
            always if not extra else not always and marker is not None and marker.evaluate({"extra": extra})
        )
        if asked:
            installed = _installed(requirement.name)
            fits = bool(installed) and requirement.specifier.contains(installed, prereleases=True)
            found.append(PackageState(requirement.name, str(requirement.specifier), installed, fits))
    return found


def required_python(distribution: str = "cd4ml") -> str:
    """Return which versions of Python a package wants, e.g. ">=3.11"; "" where it does not say."""
    try:
        found = metadata.metadata(distribution)
    except metadata.PackageNotFoundError:
        return ""
    return str(found.json.get("requires_python") or "")


def _installed(name: str) -> str:
    try:
        return metadata.version(name) or ""
    except metadata.PackageNotFoundError:
        return ""
