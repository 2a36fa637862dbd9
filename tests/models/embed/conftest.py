"""Wheels of the two small problems, made once, and unpacked as an installer would."""

import os
import subprocess
import sys
import sysconfig
import zipfile

import pytest

from cd4ml.models.embed.wheel import build_wheel
from tests.models.bundles import bundle


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    """The wheels of "shop" and "people"."""
    out = tmp_path_factory.mktemp("wheels")
    names = {"shop": "corner_shop", "people": "people_who_stay"}
    return {name: build_wheel(bundle(name), out, package=package) for name, package in names.items()}


@pytest.fixture(scope="session")
def site(wheels, tmp_path_factory):
    """A folder with both packages."""
    folder = tmp_path_factory.mktemp("site")
    for wheel in wheels.values():
        with zipfile.ZipFile(wheel.path) as archive:
            archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def alone(site, tmp_path_factory):
    """Runs Python with the packages and the installed libraries, but without cd4ml."""
    # -S leaves out the .pth files by which cd4ml is found; where it was copied in, there is no test of this.
    libraries = sysconfig.get_path("purelib")
    away = tmp_path_factory.mktemp("away")
    start = f"import sys; sys.path[:0] = [{str(site)!r}]; sys.path.append({libraries!r})\n"
    start += "try:\n    import cd4ml\nexcept ImportError: pass\nelse: sys.exit('cd4ml can be imported')\n"

    def run(code, input=""):
        return subprocess.run(
            [sys.executable, "-S", "-P", "-B", "-c", start + code],
            input=input,
            cwd=away,
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
