"""Take from the last stage of an image what only builds need: `trim.py [--without-shell]`, as root.

Package managers, pip, compilers, setuid programs and most commands go. Tasks of Kubeflow Pipelines are
started by `sh`, so an image of theirs keeps a plain shell and coreutils; servers keep Python alone.
"""

from __future__ import annotations

import compileall
import py_compile
import re
import shutil
import stat
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

__all__ = ["COMMANDS", "PACKAGES", "main", "remove_packages"]

USER = 10001
PACKAGES = (
    "adduser",
    "apt",
    "bash",
    "bsdutils",
    "debconf",
    "debian-archive-keyring",
    "diffutils",
    "dpkg",
    "e2fsprogs",
    "findutils",
    "gpgv",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libapt-pkg6.0",
    "libc-dev-bin",
    "linux-libc-dev",
    "login",
    "logsave",
    "mawk",
    "mount",
    "ncurses-bin",
    "passwd",
    "perl-base",
    "python3-pip",
    "python3-pip-whl",
    "python3-pkg-resources",
    "python3-setuptools",
    "python3-setuptools-whl",
    "python3-venv",
    "python3-wheel",
    "python3.11-venv",
    "sed",
    "sysvinit-utils",
    "tar",
    "util-linux-extra",
)
"""Packages of Debian that no image needs, where the base has them."""
COMMANDS = ("coreutils", "dash", "debianutils", "util-linux")
"""Packages that an image keeps where a shell starts its programs."""
_PYTHON_TOOLS = ("ensurepip", "idlelib", "lib2to3", "test", "turtledemo")
_SITE_TOOLS = (
    "_distutils_hack",
    "pip",
    "pip-*",
    "pkg_resources",
    "setuptools",
    "setuptools-*",
    "wheel",
    "wheel-*",
)
_PROGRAMS = ("2to3*", "idle*", "pip*", "pydoc*", "wheel*")
_FOLDERS = ("/etc/apt", "/usr/lib/apt", "/usr/share/python-wheels", "/var/cache/apt", "/var/lib/apt")


def main(argv: list[str]) -> int:
    """Trim the image that this runs in; return the exit code."""
    without_shell = "--without-shell" in argv
    _add_user()
    _trim_python()
    remove_packages(Path("/"), [*PACKAGES, *(COMMANDS if without_shell else ())])
    if without_shell:
        _leave_python_alone(
            Path(folder) for folder in ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin")
        )
    for folder in _FOLDERS:
        shutil.rmtree(folder, ignore_errors=True)
    _unset_privileges(Path(folder) for folder in ("/usr/bin", "/usr/sbin", "/usr/lib", "/usr/local"))
    Path(__file__).unlink()
    return 0


def remove_packages(root: Path, names: Iterable[str]) -> None:
    """Delete what belongs to these packages of Debian alone, and what the database says of them.

    The database stays: scanners read it.
    """
    info = root / "var/lib/dpkg/info"
    lists = {path.stem.split(":")[0]: path for path in info.glob("*.list")}
    gone = {name: lists[name] for name in names if name in lists}
    others = [path for name, path in lists.items() if name not in gone]
    kept = {line for path in others for line in path.read_text(encoding="utf-8").splitlines()}
    for path in gone.values():
        for line in path.read_text(encoding="utf-8").splitlines():
            file = root / line.lstrip("/")
            if line not in kept and (file.is_symlink() or file.is_file()):
                file.unlink()
    for name in gone:
        for path in (*info.glob(f"{name}.*"), *info.glob(f"{name}:*")):
            path.unlink(missing_ok=True)
    status = root / "var/lib/dpkg/status"
    stanzas = re.split(r"\n\n+", status.read_text(encoding="utf-8").strip())
    left = [one for one in stanzas if re.findall(r"^Package: (\S+)", one, re.MULTILINE)[0] not in gone]
    status.write_text("\n\n".join(left) + "\n\n", encoding="utf-8")


def _add_user() -> None:
    """Give the user a name: some libraries ask for it."""
    for file, line in (
        ("/etc/passwd", f"cd4ml:x:{USER}:{USER}::/tmp:/usr/sbin/nologin"),
        ("/etc/group", f"cd4ml:x:{USER}:"),
    ):
        with Path(file).open("a", encoding="utf-8") as out:
            out.write(f"{line}\n")


def _trim_python() -> None:
    """Delete pip, what builds packages, and tests; compile the standard library where it is not."""
    library = Path(sysconfig.get_paths()["stdlib"])
    for name in _PYTHON_TOOLS:
        shutil.rmtree(library / name, ignore_errors=True)
    for site in (library / "site-packages", Path("/usr/lib/python3/dist-packages")):
        for path in [path for name in _SITE_TOOLS for path in site.glob(name)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (site / "distutils-precedence.pth").unlink(missing_ok=True)
    for folder in ("/usr/bin", "/usr/local/bin"):
        for path in [path for name in _PROGRAMS for path in Path(folder).glob(name)]:
            path.unlink()
    if not any((library / "__pycache__").glob("*.pyc")):
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(library, quiet=2, workers=1, invalidation_mode=mode)


def _leave_python_alone(folders: Iterable[Path]) -> None:
    """Delete all programs but Python; what loads libraries stays."""
    for folder in folders:
        for path in folder.iterdir():
            if not path.name.startswith(("python", "ld.so", "ldconfig")):
                path.unlink()


def _unset_privileges(folders: Iterable[Path]) -> None:
    for folder in folders:
        for path in folder.rglob("*"):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
