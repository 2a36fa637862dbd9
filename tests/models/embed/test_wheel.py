"""A model as a wheel: whole, repeatable, right where cd4ml is absent."""

import base64
import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.signing import generate_keypair, sign
from cd4ml.errors import GateRejected, IntegrityError, UsageError
from cd4ml.models.embed.gate import judge_wheel
from cd4ml.models.embed.wheel import build_wheel, package_name
from cd4ml.models.runtime import Bundle, holdout_rows
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, copy


def members(wheel):
    with zipfile.ZipFile(wheel.path) as archive:
        return {item.filename: (item.date_time, archive.read(item)) for item in archive.infolist()}


def test_the_record_names_every_file_with_its_hash(wheels):
    found = members(wheels["shop"])
    record = next(name for name in found if name.endswith(".dist-info/RECORD"))
    rows = list(csv.reader(io.StringIO(found[record][1].decode())))
    assert [row[0] for row in rows] == list(found)
    for name, digest, size in rows[:-1]:
        data = found[name][1]
        assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip(
            "="
        )
        assert int(size) == len(data)
    assert rows[-1] == [record, "", ""]


def test_the_same_bundle_gives_the_same_bytes(wheels, tmp_path):
    again = build_wheel(copy("shop", tmp_path / "elsewhere"), tmp_path / "out", package="corner_shop")
    assert again.path.read_bytes() == wheels["shop"].path.read_bytes()
    assert {time for time, _ in members(again).values()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_bundle_lies_inside_byte_by_byte_and_the_metadata_say_what_is_needed(wheels):
    wheel, found = wheels["shop"], members(wheels["shop"])
    folder = bundle("shop")
    inside = {n.partition("_bundle/")[2]: d for n, (_, d) in found.items() if "/_bundle/" in n}
    assert inside == {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    text = found[f"{wheel.naming.info}/METADATA"][1].decode()
    needed = re.findall(r"^Requires-Dist: (\S+) (?!.*extra)", text, re.MULTILINE)
    assert needed == ["numpy", "onnxruntime", "pydantic"]
    assert f'Requires-Dist: numpy =={np.__version__} ; extra == "tested"' in text
    assert not [name for name in found if "s3" in name or "/cli/" in name or "/steps/" in name]
    assert not [name for name, (_, d) in found.items() if name.endswith(".py") and b"from cd4ml" in d]
    assert wheel.parity.rows == 84
    assert wheel.parity.largest_difference == 0


def test_two_models_predict_their_holdout_in_one_process_without_cd4ml(alone):
    code = (
        "import corner_shop, people_who_stay, json\n"
        "for model in (corner_shop, people_who_stay):\n"
        "    found = model.verify()\n"
        "    print(json.dumps([found.rows, found.largest_difference, model.version, model.bundle_id]))\n"
        "assert corner_shop._runtime is not people_who_stay._runtime\n"
    )
    done = alone(code)
    assert done.returncode == 0, done.stderr
    for line, name in zip(done.stdout.splitlines(), ("shop", "people"), strict=True):
        identity = Bundle.load(bundle(name)).id
        assert json.loads(line) == [84 if name == "shop" else 100, 0.0, f"0+{identity[:12]}", identity]


def test_unseen_categories_and_nulls_are_as_in_the_bundle(alone):
    rows = [dict(row) for row in holdout_rows(bundle("shop"))[:30]]
    for number, row in enumerate(rows):
        row.update([{"store": "nobody knows"}, {"weather": None}, {"price": None}][number % 3])
    expected = Bundle.load(bundle("shop")).predict_rows(rows)
    code = (
        "import corner_shop, json, sys\n"
        "rows = json.load(sys.stdin)\n"
        "one = [corner_shop.predict([row])[0] for row in rows]\n"
        "columns = {name: [row.get(name) for row in rows] for name in rows[0]}\n"
        "print(json.dumps([one, *(v.tolist() for v in corner_shop.outputs(columns).values())]))\n"
    )
    done = alone(code, json.dumps(rows))
    assert done.returncode == 0, done.stderr
    one, prediction, quantile = json.loads(done.stdout)
    assert one == prediction == expected["prediction"].tolist()
    assert quantile == expected["quantile"].tolist()


def test_a_changed_file_is_named_on_first_use(wheels, tmp_path):
    with zipfile.ZipFile(wheels["people"].path) as archive:
        archive.extractall(tmp_path)
    inside = tmp_path / "people_who_stay" / "_bundle"
    (inside / "metrics.json").write_text("{}")
    code = "import people_who_stay as m\ntry: m.predict([])\nexcept m.IntegrityError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'metrics.json' was changed" in done.stdout
    write_manifest(inside, format="1", problem="people")  # whoever changes files can write a new manifest
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "expected bundle" in done.stdout


def test_a_signed_bundle_asks_for_what_verifies_it(tmp_path):
    folder = copy("people", tmp_path / "bundle")
    private, public = generate_keypair()
    with environment(CD4ML_SIGNING_KEY=private, CD4ML_VERIFY_KEY=public):
        sign(folder)
        assert "cryptography" in build_wheel(folder, tmp_path / "out").requirements
    with (
        environment(CD4ML_VERIFY_KEY=generate_keypair()[1]),
        pytest.raises(IntegrityError, match="was refused"),
    ):
        build_wheel(folder, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_package_that_predicts_something_else_is_not_handed_out(tmp_path):
    folder = copy("people", tmp_path / "bundle")
    judged = np.load(folder / "holdout" / "prediction.npy")
    judged[3] += np.float32(2e-5)
    np.save(folder / "holdout" / "prediction.npy", judged)
    write_manifest(folder, format="1", problem="people")
    with pytest.raises(GateRejected, match="prediction of holdout row 3 is off by 2e-05"):
        build_wheel(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_package_that_needs_more_than_it_says_is_not_handed_out(wheels):
    data = wheels["people"].path.read_bytes()
    with pytest.raises(GateRejected, match="pydantic is not among the libraries"):
        judge_wheel(data, "people_who_stay", ("numpy", "onnxruntime"))


def test_names_and_versions_that_nobody_can_install_are_refused(tmp_path):
    for package in ("Model", "json", "cd4ml", "two-words", "class", "_x"):
        with pytest.raises(UsageError, match="expected a package name"):
            build_wheel(bundle("people"), tmp_path, package=package)
    with pytest.raises(UsageError, match="expected a version"):
        build_wheel(bundle("people"), tmp_path, version="new")
    assert [package_name(name) for name in ("sales-forecast", "3 Räder")] == [
        "sales_forecast_model",
        "m_3_r_der_model",
    ]


@pytest.mark.serving
def test_pip_installs_it_and_the_entry_point_answers(wheels, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--no-index", "--no-deps", "--quiet"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([*command, str(wheels["people"].path)], check=True, env=environment)
    (tmp_path / "libraries").mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "cd4ml" not in path.name:
            (tmp_path / "libraries" / path.name).symlink_to(path)
    environment["PYTHONPATH"] = str(tmp_path / "libraries")
    rows = holdout_rows(bundle("people"))
    done = subprocess.run(
        [str(python), "-m", "people_who_stay"],
        input="".join(json.dumps(row) + "\n" for row in rows),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line)["prediction"] for line in done.stdout.splitlines()]
    judged = np.load(bundle("people") / "holdout" / "prediction.npy")
    assert np.abs(np.array(found) - judged).max() <= 1e-5
    gone = subprocess.run(
        [str(python), "-c", "import cd4ml"], env=environment, capture_output=True, check=False
    )
    assert b"ModuleNotFoundError" in gone.stderr
