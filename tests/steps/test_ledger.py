"""A run looks at the holdout: counted before the scores are seen, decided upon, refused past the budget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cd4ml.adapters.audit import AuditLog
from cd4ml.adapters.ledger import Ledger
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY
from cd4ml.adapters.storage import FolderStorage
from cd4ml.domain.holdout_budget import HoldoutUse, ledger_gate
from cd4ml.errors import GateRejected, IntegrityError
from cd4ml.problem import HoldoutBudget
from cd4ml.steps.ledger import model_hash, record_verdict, refresh_holdout
from tests.adapters.s3_server import environment
from tests.steps.looks import Bakery


@pytest.fixture(autouse=True)
def no_keys() -> Iterator[None]:
    with environment(**{SIGNING_KEY: None, VERIFY_KEY: None, "CD4ML_ACTOR": "ann"}):
        yield


@pytest.fixture
def bakery(tmp_path: Path) -> Bakery:
    return Bakery(tmp_path, holdout_budget=HoldoutBudget(warn_looks=2, max_looks=3))


def status(bakery: Bakery) -> str:
    return ledger_gate(HoldoutUse.from_dict(json.loads(bakery.ledger.read_text()))).status


def test_each_new_model_is_a_look_and_past_the_budget_the_gate_refuses(bakery: Bakery) -> None:
    seen = [(bakery.look(model)["looks"], status(bakery)) for model in ("m1", "m2", "m2", "m3", "m4")]
    assert seen == [(1, "pass"), (2, "pass"), (2, "pass"), (3, "warn"), (4, "fail")]
    written = json.loads(bakery.ledger.read_text())
    assert (written["rows"], written["size"], written["look"]["by"]) == (28, 14, "ann")
    assert written["budget"] == {"warn_looks": 2, "max_looks": 3}


def test_the_decision_is_told_beside_the_look(bakery: Bakery, tmp_path: Path) -> None:
    bakery.look("m1")
    gates = [{"name": "bias:sex", "status": "warn"}, {"name": "contract", "status": "pass"}]
    verdict = {
        "decision": "needs_approval",
        "model": "bakery",
        "gates": gates,
        "subject": {"bundle": "b" * 64},
    }
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    assert record_verdict(tmp_path / "verdict.json", bakery.ledger, bakery.store)
    assert not record_verdict(tmp_path / "verdict.json", bakery.ledger, bakery.store)
    (look,) = (
        Ledger(FolderStorage(bakery.store)).looks(json.loads(bakery.ledger.read_text())["holdout"]).values()
    )
    assert (look.decision, look.bundle, look.git_commit) == ("needs_approval", "b" * 64, "c" * 40)
    line = list(AuditLog(FolderStorage(bakery.store)).lines())[-1]
    assert (line.kind, line.facts["gates_warn"], line.facts["gates_fail"]) == ("verdict", ["bias:sex"], [])


def test_the_same_holdout_is_not_fresh(bakery: Bakery) -> None:
    bakery.look("m1")
    with pytest.raises(GateRejected, match=r"the same 28 rows, looked at 1 times. Bring newer data"):
        refresh_holdout(bakery.problem, bakery.snapshot, bakery.store, "please")


def test_a_holdout_with_enough_new_rows_is_fresh_and_one_with_few_is_not(tmp_path: Path) -> None:
    bakery = Bakery(tmp_path, holdout_budget=HoldoutBudget(warn_looks=2, max_looks=3))
    whole = (bakery.sources / "sales.csv").read_text()
    bakery.cut(10)
    bakery.snapshot = bakery.take("old")
    for number in range(4):
        bakery.look(f"m{number}")
    old = json.loads(bakery.ledger.read_text())["holdout"]
    (bakery.sources / "sales.csv").write_text(whole)
    bakery.cut(9)
    with pytest.raises(GateRejected, match=r"that counts as 3.714 looks of 3. Bring more rows"):
        refresh_holdout(bakery.problem, bakery.take("one day"), bakery.store, "please")
    (bakery.sources / "sales.csv").write_text(whole)
    bakery.snapshot = bakery.take("new")
    found = refresh_holdout(bakery.problem, bakery.snapshot, bakery.store, "ten new days")
    assert (found["own"], found["inherited"], found["in_place_of"]) == (0, pytest.approx(4 * 4 / 14), old)
    assert bakery.look("m9")["looks"] == pytest.approx(1 + 4 * 4 / 14)
    assert status(bakery) == "warn"


def test_the_hash_of_a_model_knows_its_treatment(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("m")
    plain = model_hash(tmp_path)
    (tmp_path / "search.json").write_text("{}")
    assert model_hash(tmp_path) == plain
    (tmp_path / "treatment.json").write_text("{}")
    assert model_hash(tmp_path) != plain
    with pytest.raises(IntegrityError, match=r"expected model.onnx"):
        model_hash(tmp_path / "none")
