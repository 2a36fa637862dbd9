"""Other forms of a model as steps and on the command line."""

import json
import sys
import zipfile
from pathlib import Path

import pytest

from cd4ml.adapters.manifest import bundle_id
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from cd4ml.errors import ServiceError, UsageError
from cd4ml.steps.embed import ImageRequest, embed_bundle, portable_bundle, stock_bundle
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle

LOCK = Path(__file__).parents[2] / "requirements" / "dev.txt"


def test_a_version_in_the_registry_names_the_package_and_its_version(tmp_path, capsys):
    with environment(CD4ML_STORE=str(tmp_path / "store"), CD4ML_SIGNING_KEY=None, CD4ML_VERIFY_KEY=None):
        version = Registry(FolderStorage(tmp_path / "store")).push(bundle("people"), "will-stay", "accept")
        command = ["models", "embed", "will-stay", "--wheel", "--out", str(tmp_path / "out")]
        assert main([*command, "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert (version.version, found["package"]) == (1, "will_stay_model")
    assert found["version"] == f"1+{bundle_id(bundle('people'))[:12]}"
    assert found["parity"]["rows"] == 100
    assert "UNSIGNED" in shown.err
    with zipfile.ZipFile(found["wheel"]) as archive:
        assert "will_stay_model/__init__.py" in archive.namelist()


def test_an_image_that_cannot_be_built_leaves_wheel_and_context_and_exits_with_6(tmp_path, capsys):
    request = ImageRequest(LOCK, builders=("no-such-builder",))
    with pytest.raises(ServiceError, match="no docker, podman or buildah") as caught:
        embed_bundle(bundle("people"), tmp_path / "out", image=request)
    assert caught.value.exit_code == 6
    assert (tmp_path / "out" / "image" / "Dockerfile").is_file()
    assert len(list((tmp_path / "out").glob("*.whl"))) == 1
    command = ["models", "embed", str(bundle("people")), "--image", "--context-only", "--lock", str(LOCK)]
    assert main([*command, "--out", str(tmp_path / "other")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(
        f"{tmp_path / 'other' / 'image'}: build it with docker build --tag people-model:0-"
    )


def test_what_is_not_said_or_not_there_is_wrong_use(tmp_path, capsys):
    command = ["models", "embed", str(bundle("people")), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "say what to make: --wheel, or --image" in capsys.readouterr().err
    assert main([*command, "--image", "--lock", str(tmp_path / "none")]) == 2
    assert "found no" in capsys.readouterr().err
    assert main([*command, "--wheel", "--package", "No-Name"]) == 2
    assert not (tmp_path / "out").exists()
    with pytest.raises(UsageError, match="locked requirements"):
        embed_bundle(bundle("people"), tmp_path / "out", image=ImageRequest(tmp_path / "none"))


def test_a_folder_with_something_else_is_not_replaced(tmp_path):
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "mine.txt").write_text("kept")
    (tmp_path / "file").write_text("kept")
    for out in (tmp_path, tmp_path / "image", tmp_path / "file"):
        with pytest.raises(UsageError, match=r"or one with portable\.json; .* has something else"):
            portable_bundle(bundle("people"), out)
        with pytest.raises(UsageError, match=r"or one with stock\.json"):
            stock_bundle(bundle("people"), out, runtime="sklearnserver", python=Path(sys.executable))
    with pytest.raises(UsageError, match="or one with Dockerfile"):
        embed_bundle(bundle("people"), tmp_path, image=ImageRequest(LOCK, context_only=True))
    assert (tmp_path / "image" / "mine.txt").read_text() == (tmp_path / "file").read_text() == "kept"


def test_portable_and_stock_say_what_they_wrote(tmp_path, capsys):
    out = tmp_path / "portable"
    assert main(["models", "portable", str(bundle("people")), "--out", str(out)]) == 0
    assert f"{out}: takes rows, 100 holdout rows as they were judged" in capsys.readouterr().out
    assert main(["models", "portable", str(bundle("shop")), "--out", str(out)]) == 0
    assert "feature 'opening_hour' is made of a joined" in capsys.readouterr().out
    assert main(["models", "stock", str(bundle("people")), "--out", str(tmp_path / "stock")]) == 2
    assert "nobody can tell whether it reads this model" in capsys.readouterr().err
    command = ["models", "stock", str(bundle("people")), "--out", str(tmp_path / "stock"), "--json"]
    assert main([*command, "--python", sys.executable]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runtime"] == "sklearnserver"
    assert (tmp_path / "stock" / "model.joblib").is_file()
