"""What fills and trims an image, on small trees."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from tests.images.dockerfiles import ROOT


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"images/shared/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(tmp_path):
    for path in (
        "numpy/core/tests/a.py",
        "numpy/testing/b.py",
        "numpy/c.pyi",
        "numpy/d.py",
        "other/tests/e.py",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x = 1\n")
    return tmp_path


def test_only_what_a_pattern_names_is_deleted(site):
    patterns = (ROOT / "images/shared/unneeded.txt").read_text(encoding="utf-8").splitlines()
    _load("install").prune(site, [line for line in patterns if line and not line.startswith("#")])
    assert sorted(path.relative_to(site).as_posix() for path in site.rglob("*.py*")) == [
        "numpy/d.py",
        "numpy/testing/b.py",
        "other/tests/e.py",
    ]


def test_the_list_of_a_package_names_files_that_are_there(site):
    record = site / "numpy-1.dist-info/RECORD"
    record.parent.mkdir()
    record.write_text('numpy/d.py,sha256=x,6\n"numpy/gone,too.py",sha256=y,6\nnumpy-1.dist-info/RECORD,,\n')
    _load("install").true_records(site)
    assert record.read_text() == "numpy/d.py,sha256=x,6\nnumpy-1.dist-info/RECORD,,\n"


def test_the_names_in_a_lock():
    names = _load("install").locked_names(ROOT / "requirements/seldon.txt")
    assert {"seldon-core", "setuptools", "numpy"} <= names
    assert _load("install").locked_names(ROOT / "requirements/build.txt") == {"setuptools"}


def test_a_package_of_debian_goes_with_its_files_and_its_entry(tmp_path):
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (tmp_path / "usr/bin").mkdir(parents=True)
    for name in ("apt", "shared", "cat"):
        (tmp_path / "usr/bin" / name).write_text("")
    (tmp_path / "usr/bin/link").symlink_to("apt")
    (info / "apt.list").write_text(
        "/.\n/usr\n/usr/bin\n/usr/bin/apt\n/usr/bin/link\n/usr/bin/shared\n/usr/bin/gone\n"
    )
    (info / "apt.md5sums").write_text("")
    (info / "coreutils:amd64.list").write_text("/.\n/usr/bin\n/usr/bin/cat\n/usr/bin/shared\n")
    status = tmp_path / "var/lib/dpkg/status"
    status.write_text("Package: apt\nStatus: x\n\nPackage: coreutils\nStatus: y\n z\n\n")

    trim = _load("trim")
    trim.remove_packages(tmp_path, ["apt", "not-there"])

    assert sorted(path.name for path in (tmp_path / "usr/bin").iterdir()) == ["cat", "shared"]
    assert sorted(path.name for path in info.iterdir()) == ["coreutils:amd64.list"]
    assert status.read_text() == "Package: coreutils\nStatus: y\n z\n\n"
    trim.remove_packages(tmp_path, ["coreutils"])
    assert list((tmp_path / "usr/bin").iterdir()) == []
    assert status.read_text().strip() == ""


def test_what_python_needs_of_debian_stays():
    trim = _load("trim")
    gone = {*trim.PACKAGES, *trim.COMMANDS}
    assert not gone & {"base-files", "ca-certificates", "libc6", "libssl3", "openssl", "python3.11", "tzdata"}
