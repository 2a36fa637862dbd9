"""Models that treat predictions by group: embedded they decide as judged, other forms are refused."""

from importlib import metadata

import numpy as np
import pytest

from cd4ml.errors import UsageError
from cd4ml.models.embed.embedded import Embedded
from cd4ml.models.embed.wheel import build_wheel
from cd4ml.models.portable import write_portable
from cd4ml.models.runtime import holdout_rows
from cd4ml.models.stock_runtime import write_stock
from tests.models.treated_people import hired


@pytest.fixture(scope="module")
def treated():
    return hired("[{kind: group_thresholds, columns: [sex], min_rows: 100}]").work / "bundle"


def test_decisions_by_group_travel_with_an_embedded_model(treated, tmp_path):
    wheel = build_wheel(treated, tmp_path)
    assert wheel.parity.largest_difference == 0
    model, rows = Embedded(treated, wheel.naming.bundle_id, "1"), holdout_rows(treated)
    found = model.outputs(rows)
    assert (found["decision"] == np.load(treated / "holdout" / "decision.npy")).all()
    # a row whose group is not told is decided as well
    unknown = [{**row, "sex": None} for row in rows[:50]]
    assert model.outputs(unknown)["prediction"].tolist() == found["prediction"][:50].tolist()
    assert set(model.outputs(unknown)["decision"].tolist()) <= {0.0, 1.0}


def test_forms_that_see_features_alone_refuse_and_say_why(treated, tmp_path):
    with pytest.raises(UsageError, match="has group thresholds by sex, which plain ONNX would leave out"):
        write_portable(treated, tmp_path / "out")
    with pytest.raises(UsageError, match="has group thresholds by sex: a stock runtime sees features alone"):
        write_stock(treated, tmp_path / "out", scikit_learn=metadata.version("scikit-learn"))
    assert not (tmp_path / "out").exists()
