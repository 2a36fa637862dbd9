"""What an embedded model needs is found by following imports."""

import ast

import pytest

from cd4ml.errors import Cd4mlError
from cd4ml.models.embed.closure import find_closure, requirements, vendored


def tree(folder, files):
    for name, text in {"__init__.py": "", **files}.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


def test_imports_are_followed_into_functions_and_not_into_type_checking(tmp_path):
    root = tree(
        tmp_path,
        {
            "a.py": "from typing import TYPE_CHECKING\nfrom cd4ml.parts import one\n"
            "if TYPE_CHECKING:\n    from cd4ml.never import Nothing\n    import polars\n"
            "def f():\n    from cd4ml.late import g\n    import onnxruntime\n    return g\n",
            "parts/__init__.py": "from cd4ml.heavy import thing\n",
            "parts/one.py": "import json\nimport numpy as np\n",
            "late.py": "from cd4ml.whole import name\ng = 1\n",
            "whole/__init__.py": "from cd4ml.whole.inner import name\n",
            "whole/inner.py": "name = 1\n",
            "heavy.py": "import minio\n",
        },
    )
    found = find_closure(("cd4ml.a",), root)
    assert found.modules == ("cd4ml.a", "cd4ml.late", "cd4ml.parts.one", "cd4ml.whole", "cd4ml.whole.inner")
    assert found.parents == ("cd4ml", "cd4ml.parts")
    assert found.libraries == ("numpy", "onnxruntime")
    files = vendored(found, "shop._runtime", root)
    assert files["parts/__init__.py"] == ""  # its S3 client, say, is not needed
    assert "from shop._runtime.parts import one\n" in files["a.py"]
    assert "    from shop._runtime.late import g\n" in files["a.py"]
    assert files["whole/__init__.py"] == "from shop._runtime.whole.inner import name\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("from cd4ml.absent import x\n", "'cd4ml.absent' is imported and is no module"),
        ("from . import x\n", "relative import in line 1"),
    ],
)
def test_imports_that_cannot_be_followed_are_refused(tmp_path, text, told):
    with pytest.raises(Cd4mlError, match=told):
        find_closure(("cd4ml.a",), tree(tmp_path, {"a.py": text}))


def test_an_import_that_cannot_be_moved_is_refused(tmp_path):
    root = tree(tmp_path, {"a.py": "import cd4ml.b\n", "b.py": ""})
    with pytest.raises(Cd4mlError, match=r"'import cd4ml\.b' cannot be moved"):
        vendored(find_closure(("cd4ml.a",), root), "x", root)


def test_our_own_closure_is_closed_and_has_only_what_predicts():
    found = find_closure()
    assert {"cd4ml.models.runtime", "cd4ml.models.rows", "cd4ml.features.transform"} <= set(found.modules)
    assert not [
        m for m in found.modules if "s3" in m or m.split(".")[1] in ("cli", "steps", "tables", "serving")
    ]
    assert set(found.libraries) == {"cryptography", "numpy", "onnxruntime", "pydantic"}
    assert set(requirements(found, signed=False)) == {"numpy", "onnxruntime", "pydantic"}
    files = vendored(found, "m._runtime")
    for text in files.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("m._runtime"):
                path = node.module.removeprefix("m._runtime.").replace(".", "/")
                assert f"{path}.py" in files or f"{path}/__init__.py" in files, node.module
            assert not (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cd4ml"))
