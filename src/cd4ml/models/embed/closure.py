"""Which of our modules a model needs to predict, found by following imports, and their text for a package.

A package's `__init__` that is there only because a module lies beneath it becomes empty: what it imports
besides (such as the S3 client beside our atomic files) is not needed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import cd4ml
from cd4ml.errors import Cd4mlError

__all__ = ["ROOTS", "Closure", "find_closure", "requirements", "vendored"]

ROOTS = ("cd4ml.models.embed.embedded", "cd4ml.models.embed.application")
_OWN = "cd4ml"
_OPTIONAL = {"cryptography": "signed"}
"""Needed where a bundle is signed, and nowhere else."""


@dataclass(frozen=True)
class Closure:
    """What was found.

    Attributes
    ----------
    modules : tuple of str
        Our modules whose text is needed, sorted.
    parents : tuple of str
        Packages above them whose text is not.
    libraries : tuple of str
        Top-level modules of others that they import, at any place, sorted.
    """

    modules: tuple[str, ...]
    parents: tuple[str, ...]
    libraries: tuple[str, ...]


def _path(module: str, root: Path) -> Path | None:
    """Return the file of one of our modules; None when there is no such module."""
    base = root.joinpath(*module.split(".")[1:])
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file() and (path.name == "__init__.py" or module != _OWN):
            return path
    return None


def _imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports that can run; those under TYPE_CHECKING cannot."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from _imports(node)


def find_closure(roots: tuple[str, ...] = ROOTS, root: Path | None = None) -> Closure:
    """Follow the imports of modules, in functions too.

    Parameters
    ----------
    root : Path, optional
        The folder of the package cd4ml; that of the running one by default.
    """
    root = Path(cd4ml.__file__).parent if root is None else root
    waiting, seen, libraries = list(roots), set[str](), set[str]()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        path = _path(module, root)
        if path is None:
            raise Cd4mlError(f"'{module}' is imported and is no module of {_OWN}; install it anew")
        for node in _imports(ast.parse(path.read_bytes())):
            for name in _targets(node, root):
                if name.partition(".")[0] == _OWN:
                    waiting.append(name)
                else:
                    libraries.add(name.partition(".")[0])
    parents = {".".join(name.split(".")[:n]) for name in seen for n in range(1, name.count(".") + 1)}
    other = libraries - set(sys.stdlib_module_names)
    return Closure(tuple(sorted(seen)), tuple(sorted(parents - seen)), tuple(sorted(other)))


def _targets(node: ast.Import | ast.ImportFrom, root: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif node.level:
        raise Cd4mlError(f"relative import in line {node.lineno}: imports of {_OWN} are absolute")
    elif node.module:
        ours = node.module.partition(".")[0] == _OWN
        beneath = [f"{node.module}.{alias.name}" for alias in node.names] if ours else []
        modules = [name for name in beneath if _path(name, root) is not None]
        yield from modules
        if len(modules) < len(node.names):
            yield node.module


def vendored(closure: Closure, package: str, root: Path | None = None) -> dict[str, str]:
    """Return the modules' texts by path beneath the new place, their imports leading to `package`.

    Parameters
    ----------
    package : str
        The dotted name of the place, e.g. "sales_forecast_model._runtime".
    """
    root = Path(cd4ml.__file__).parent if root is None else root
    files = {}
    for module in (*closure.modules, *closure.parents):
        path = _path(module, root)
        assert path is not None
        text = path.read_text(encoding="utf-8") if module in closure.modules else ""
        files[path.relative_to(root).as_posix()] = _moved(text, package)
    return files


def _moved(text: str, package: str) -> str:
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == _OWN:
            place = node.lineno - 1
            lines[place] = lines[place].replace(f"from {_OWN}", f"from {package}", 1)
        elif isinstance(node, ast.Import) and any(a.name.partition(".")[0] == _OWN for a in node.names):
            raise Cd4mlError(f"'import {node.names[0].name}' cannot be moved; write 'from ... import ...'")
    return "\n".join(lines)


def requirements(closure: Closure, signed: bool) -> dict[str, str]:
    """Return the distributions that the modules need -> the version of each that is installed here.

    Raises
    ------
    Cd4mlError
        If a library belongs to no distribution, so that nobody could be told to install it.
    """
    owners, found = metadata.packages_distributions(), dict[str, str]()
    for library in closure.libraries:
        if library in _OPTIONAL and not signed:
            continue
        if not owners.get(library):
            raise Cd4mlError(f"library '{library}' is imported and is not installed; install it")
        name = sorted(owners[library])[0]
        found[name] = metadata.version(name)
    return dict(sorted(found.items()))
