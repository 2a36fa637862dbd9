"""Bundles: complete, the same bytes each time, without pickle, and no byte can be changed."""

import json
import os
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cd4ml.adapters import problem_files
from cd4ml.adapters.manifest import MANIFEST, SIGNATURE, bundle_id, verify_manifest
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair, require_signature
from cd4ml.errors import DataError, IntegrityError, UsageError
from cd4ml.features.columns import take
from cd4ml.models.bundle import REPLAY_ROWS, Holdout
from cd4ml.models.persist import load_model
from cd4ml.models.runtime import Bundle, holdout_rows
from cd4ml.models.session import open_session, run
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, category, contents, copy, document, people, shop

PRIVATE, PUBLIC = generate_keypair()


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None}):
        yield


@pytest.mark.parametrize(("name", "case"), [("shop", shop), ("people", people)])
def test_writing_twice_gives_the_same_bytes(name: str, case: Any, tmp_path: Path) -> None:
    with environment(**{SIGNING_KEY: PRIVATE}):
        first, second = case().write(tmp_path / "a"), case().write(tmp_path / "somewhere" / "else")
    assert contents(tmp_path / "a") == contents(tmp_path / "somewhere" / "else")
    assert first == second == bundle_id(bundle(name))


def test_another_process_with_other_hashes_and_threads_gives_the_same_bytes(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from tests.models.bundles import shop;"
    code += "shop().write(Path(sys.argv[1]), signed=False)"
    variables = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", code, str(tmp_path / "bundle")]
    subprocess.run(command, env=variables, cwd=Path(__file__).parents[2], check=True)
    found, expected = contents(tmp_path / "bundle"), contents(bundle("shop"))
    # The lineage has the hash of the code, which somebody may be editing; card and manifest depend on it.
    for name in sorted(expected.keys() - {"lineage.json", "card.json", "card.md", MANIFEST}):
        assert found[name] == expected[name], name


def test_it_has_all_that_serving_and_judging_again_need() -> None:
    parts = {
        "bias",
        "card",
        "contract",
        "data",
        "lineage",
        "metrics",
        "model",
        "problem",
        "slices",
        "versions",
    }
    expected = {f"{part}.json" for part in parts} | {"card.md", "model.onnx", "estimator.skops", MANIFEST}
    expected |= {"contributions.npz"}
    held = ("inputs.jsonl", "features.npy", "prediction.npy", "actual.npy", "holdout.json")
    expected |= {f"holdout/{name}" for name in held} | {"features/state.json"}
    assert expected == set(contents(bundle("people")))
    more = {"model-quantile.onnx", "estimator-quantile.skops", "holdout/quantile.npy"}
    assert expected | more <= set(contents(bundle("shop")))


def test_no_file_says_where_or_when_it_was_written(tmp_path: Path) -> None:
    shop().write(tmp_path / "place-to-find")
    for name, data in contents(tmp_path / "place-to-find").items():
        assert b"place-to-find" not in data, name
        assert str(Path.cwd()).encode() not in data, name


def test_no_file_is_or_holds_a_pickle() -> None:
    for name, data in {**contents(bundle("shop")), **contents(bundle("people"))}.items():
        assert not data.startswith(b"\x80"), name
        if name.endswith(".npy"):
            assert b"'O'" not in data[:128], name
        if name.endswith(".skops"):
            with zipfile.ZipFile(bundle("shop" if "quantile" in name else "people") / name) as archive:
                for part in archive.namelist():
                    assert part == "schema.json" or archive.read(part).startswith(b"\x93NUMPY"), part
        with pytest.raises((ValueError, IndexError, UnicodeDecodeError)):
            list(pickletools.genops(data))


def test_one_changed_byte_anywhere_is_found_and_the_file_named(tmp_path: Path) -> None:
    folder = copy("shop", tmp_path / "bundle")
    with environment(**{SIGNING_KEY: PRIVATE}):
        from cd4ml.adapters.signing import sign

        sign(folder)
    for name, right in contents(folder).items():
        for place in {0, len(right) // 2, len(right) - 1}:
            (folder / name).write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
            with pytest.raises(IntegrityError, match=f"'{name}'"):
                Bundle.load(folder)
            (folder / name).write_bytes(right)
    assert Bundle.load(folder).signature


def test_a_missing_or_an_added_file_is_found_and_named(tmp_path: Path) -> None:
    folder = copy("shop", tmp_path / "bundle")
    for name, right in contents(folder).items():
        (folder / name).unlink()
        with pytest.raises(IntegrityError, match=name):
            Bundle.load(folder)
        (folder / name).write_bytes(right)
    for place in ("extra.bin", "holdout/extra.npy", "features/.hidden"):
        (folder / place).write_bytes(b"")
        with pytest.raises(IntegrityError, match=f"'{place}' is additional"):
            Bundle.load(folder)
        (folder / place).unlink()
    verify_manifest(folder)


def test_it_is_signed_when_there_is_a_key_and_not_otherwise(tmp_path: Path) -> None:
    people().write(tmp_path / "plain")
    assert not (tmp_path / "plain" / SIGNATURE).exists()
    with environment(**{SIGNING_KEY: PRIVATE}):
        people().write(tmp_path / "signed")
        people().write(tmp_path / "refrained", signed=False)
    assert require_signature(tmp_path / "signed", [PUBLIC]).state == "valid"
    assert not (tmp_path / "refrained" / SIGNATURE).exists()


def test_without_a_key_a_signature_that_is_asked_for_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=SIGNING_KEY):
        people().write(tmp_path / "bundle", signed=True)
    assert not list(tmp_path.iterdir())


def test_a_bundle_that_was_there_is_replaced_as_a_whole(tmp_path: Path) -> None:
    shop().write(tmp_path / "bundle")
    people().write(tmp_path / "bundle")
    assert contents(tmp_path / "bundle") == contents(bundle("people"))


def test_the_holdout_is_what_the_model_alone_predicts_and_what_came_true() -> None:
    folder = bundle("shop") / "holdout"
    X = np.load(folder / "features.npy")
    for model, name in (("model.onnx", "prediction"), ("model-quantile.onnx", "quantile")):
        found = run(open_session((bundle("shop") / model).read_bytes()), X).astype(np.float32)
        assert found.tobytes() == np.load(folder / f"{name}.npy").tobytes()
    assert np.load(folder / "actual.npy").tolist() == shop().holdout.actual.tolist()
    assert X.tobytes() == shop().holdout.X.tobytes()


def test_export_and_estimator_agree_on_the_whole_holdout_and_it_is_recorded() -> None:
    judged = shop()
    expected = judged.model.fitted.predict(judged.holdout.X)
    found = run(open_session(judged.model.onnx), judged.holdout.X)
    relative = float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())
    recorded = document(bundle("shop"), "holdout/holdout.json")["parity"]
    assert relative * 0.99 <= recorded["prediction"]["max_rel"] < judged.problem.gates.parity_tolerance
    assert recorded["quantile"]["max_rel"] < judged.problem.gates.parity_tolerance


def test_the_estimator_comes_back_and_predicts_the_same() -> None:
    model = load_model(bundle("shop"))
    judged = shop()
    assert (
        model.fitted.predict(judged.holdout.X).tolist()
        == judged.model.fitted.predict(judged.holdout.X).tolist()
    )


def test_of_many_holdout_rows_some_are_kept_by_seed(tmp_path: Path) -> None:
    held, index = people().holdout, np.arange(REPLAY_ROWS + 500) % 100
    many = Holdout(np.ascontiguousarray(held.X[index]), take(held.inputs, index), held.actual[index])
    people().changed(holdout=many).write(tmp_path / "bundle")
    about = document(tmp_path / "bundle", "holdout/holdout.json")
    assert (about["rows"], about["of"]) == (REPLAY_ROWS, REPLAY_ROWS + 500)
    assert len(holdout_rows(tmp_path / "bundle")) == REPLAY_ROWS
    assert len(np.load(tmp_path / "bundle" / "holdout" / "prediction.npy")) == REPLAY_ROWS


def strange_inputs() -> Any:
    """Return the people's inputs with a plan that training did not see in the first 10 rows."""
    inputs = dict(people().holdout.inputs)
    plans: list[str | None] = ["new"] * 10 + ["basic"] * 90
    return inputs | {"plan": category(plans)}


def test_holdout_rows_that_serving_refuses_are_left_out_and_counted(tmp_path: Path) -> None:
    case = people().changed(holdout=replace(people().holdout, inputs=strange_inputs()))
    case.write(tmp_path / "bundle")
    about = document(tmp_path / "bundle", "holdout/holdout.json")
    assert (about["rows"], about["refused"]) == (90, 10)
    assert about["refusal"].startswith("field 'plan' must be")
    assert np.load(tmp_path / "bundle" / "holdout" / "features.npy").shape[0] == 90


def test_a_contract_that_refuses_the_whole_holdout_is_no_contract(tmp_path: Path) -> None:
    case = people().changed(known={"plan": [], "note": []})
    with pytest.raises(DataError, match="no holdout row holds the contract of serving; the first: field"):
        case.write(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    shop_case, held = shop(), shop().holdout
    without = {name: values for name, values in held.inputs.items() if name != "visitors"}
    wrong = {
        r"one length; found 84, 84, 83": shop_case.changed(
            holdout=replace(held, inputs=take(held.inputs, slice(0, 83)))
        ),
        "needs holdout rows": shop_case.changed(
            holdout=Holdout(held.X[:0], take(held.inputs, slice(0, 0)), held.actual[:0])
        ),
        "inputs must have 'visitors'": shop_case.changed(holdout=replace(held, inputs=without)),
        "of one training": shop_case.changed(state=people().state),
        "give `known`": people().changed(known=None),
    }
    for message, case in wrong.items():
        with pytest.raises((UsageError, DataError), match=message):
            case.write(tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_papers_that_are_not_given_are_left_out(tmp_path: Path) -> None:
    papers = replace(people().papers, bias=None, data=None, evaluation=None)
    people().changed(papers=papers).write(tmp_path / "bundle")
    missing = set(contents(bundle("people"))) - set(contents(tmp_path / "bundle"))
    assert missing == {"bias.json", "data.json", "slices.json"}


def test_every_document_is_json_and_the_problem_reads_back() -> None:
    folder = bundle("shop")
    for path in folder.rglob("*.json"):
        json.loads(path.read_bytes())
    assert problem_files.loads((folder / "problem.json").read_text()) == shop().problem
    assert document(folder, "data.json")["rows"]["used"] == 300
    assert set(document(folder, "slices.json")) == {"holdout", "importances", "slices"}
