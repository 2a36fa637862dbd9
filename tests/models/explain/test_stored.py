"""What a bundle keeps of a model to explain its predictions: the same numbers, without the estimator."""

import subprocess
import sys

import numpy as np
import pytest

from cd4ml.errors import IntegrityError
from cd4ml.models.explain.contributions import contribute, raw_prediction, raw_scale
from cd4ml.models.explain.stored import CONTRIBUTIONS, dump_model, load_stored
from cd4ml.models.fit import Fitted, fit
from cd4ml.problem import Candidate
from tests.models.bundles import bundle, people, shop


def fitted(case: str, family: str, **more: object) -> tuple[Fitted, np.ndarray]:
    made = {"shop": shop, "people": people}[case]()
    X, y = made.holdout.X, made.holdout.actual
    candidate = Candidate(name="tried", family=family, **more)  # type: ignore[arg-type]
    return fit(made.problem, candidate, {}, X, y, np.ones(len(y)), 7), X


MODELS = [
    ("shop", "gradient_boosting", {"parameters": {"max_iter": 8}}),
    ("shop", "random_forest", {"parameters": {"n_estimators": 6}}),
    ("shop", "ridge", {}),
    ("people", "gradient_boosting", {"parameters": {"max_iter": 8}}),
    ("people", "random_forest", {"parameters": {"n_estimators": 6}}),
    ("people", "logistic", {}),
]


@pytest.mark.parametrize(("case", "family", "more"), MODELS)
def test_what_is_kept_gives_the_estimators_own_contributions(case, family, more):
    model, X = fitted(case, family, **more)
    data = dump_model(model)
    assert data is not None and data == dump_model(model)

    stored = load_stored(data)
    kept, wanted = stored.contribute(X), contribute(model, X)

    assert stored.scale == raw_scale(model)
    np.testing.assert_allclose(kept.values, wanted.values, rtol=0, atol=1e-12)
    assert kept.base == pytest.approx(wanted.base, abs=1e-12)
    raw = kept.base + kept.values.sum(axis=1)
    np.testing.assert_allclose(raw, raw_prediction(model, X), atol=1e-5)
    np.testing.assert_allclose(stored.predict(raw), model.predict(X), rtol=1e-5, atol=1e-5)


def test_counts_are_predicted_on_their_own_scale():
    model, X = fitted("shop", "gradient_boosting", loss="poisson", parameters={"max_iter": 5})
    stored = load_stored(dump_model(model) or b"")
    found = stored.contribute(X)
    assert "log" in stored.scale
    np.testing.assert_allclose(
        stored.predict(found.base + found.values.sum(axis=1)), model.predict(X), rtol=1e-5
    )


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no archive", b"\x93NUMPY"])
def test_bytes_that_are_no_model_are_refused(data):
    with pytest.raises(IntegrityError, match=CONTRIBUTIONS):
        load_stored(data)


def test_reading_it_imports_no_library_of_training():
    code = (
        "import sys\nfrom pathlib import Path\nfrom cd4ml.models.explain.stored import load_stored\n"
        "import numpy as np\n"
        f"folder = Path({str(bundle('shop'))!r})\n"
        "X = np.load(folder / 'holdout/features.npy')\n"
        f"load_stored((folder / {CONTRIBUTIONS!r}).read_bytes()).contribute(X)\n"
        "assert not {'sklearn', 'skops', 'onnx', 'pandas', 'polars'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
