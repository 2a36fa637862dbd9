"""Mitigations that a problem may ask for."""

import pytest

from cd4ml.adapters import problem_files
from cd4ml.errors import ProblemError
from cd4ml.problem import Problem
from tests.models.treated_people import HIRED, PAID


def hired(mitigations: str, sensitive: str = "[sex]") -> Problem:
    text = HIRED.replace("PRIMARY", "roc_auc").replace("sensitive: [sex]", f"sensitive: {sensitive}")
    return problem_files.loads(text.replace("MITIGATIONS", mitigations))


@pytest.mark.parametrize(
    ("mitigations", "sensitive", "said"),
    [
        ("[{kind: recalibration}]", "[]", "needs `columns`"),
        ("[{kind: recalibration, columns: sx}]", "[sex]", "neither in `slices` nor .* did you mean 'sex'"),
        ("[{kind: recalibration}, {kind: recalibration, columns: sex}]", "[sex]", "by sex is there twice"),
    ],
)
def test_mitigations_that_make_no_sense_are_refused(mitigations: str, sensitive: str, said: str) -> None:
    with pytest.raises(ProblemError, match=said) as caught:
        hired(mitigations, sensitive)
    assert caught.value.path[0] == "mitigations"
    assert caught.value.line is not None


@pytest.mark.parametrize("kind", ["group_thresholds", "reweighing"])
def test_what_needs_classes_is_refused_for_numbers(kind: str) -> None:
    with pytest.raises(ProblemError, match="belongs to classification") as caught:
        problem_files.loads(PAID.replace("MITIGATIONS", f"[{{kind: {kind}}}]"))
    assert caught.value.path == ("mitigations", 0, "kind")


def test_a_treatment_of_predictions_may_not_know_the_target() -> None:
    text = PAID.replace("MITIGATIONS", "[{kind: KIND, columns: [well_paid]}]")
    text += "derived: {well_paid: wage > 20}\nslices: [well_paid]\n"
    with pytest.raises(ProblemError, match="'well_paid' leaks"):
        problem_files.loads(text.replace("KIND", "recalibration"))
    assert problem_files.loads(text.replace("KIND", "bounded_group_loss")).mitigations


def test_times_are_no_groups() -> None:
    text = HIRED.replace("grade: {type: integer}", "grade: {type: date}").replace("PRIMARY", "roc_auc")
    with pytest.raises(ProblemError, match="'grade' is time"):
        problem_files.loads(text.replace("MITIGATIONS", "[{kind: recalibration, columns: [grade]}]"))


def test_the_shipped_variant_differs_from_its_base_in_its_mitigations_alone() -> None:
    parity, base = problem_files.load("adult-income-parity"), problem_files.load("adult-income")
    assert parity.mitigations[0].kind == "group_thresholds"
    assert parity.mitigations[0].columns == parity.sensitive == ["sex", "race"]
    other = {"name": parity.name, "owner": parity.owner, "mitigations": parity.mitigations}
    assert base.model_copy(update=other) == parity
