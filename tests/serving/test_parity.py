"""What was judged is what is answered: each protocol and batch prediction, shuffled, alone, spoilt."""

from pathlib import Path

import numpy as np
import pytest

from cd4ml.models.runtime import holdout_rows
from tests.models.bundles import bundle
from tests.serving.model_server import Running
from tests.serving.parity import UNSEEN, Ways, batch_faults, differing, faults, judged, orders, spoilt
from tests.serving.small_sales import small_sales


@pytest.mark.parametrize("name", ["shop", "people"])
def test_every_protocol_answers_what_was_judged(
    name: str, shop_server: Running, people_server: Running
) -> None:
    server = {"shop": shop_server, "people": people_server}[name]
    assert list(faults(server, bundle(name), batch=23, alone=30)) == []


@pytest.mark.parametrize("name", ["shop", "people", "sales"])
def test_batch_prediction_gives_what_was_judged(name: str, tmp_path: Path) -> None:
    folder = small_sales() if name == "sales" else bundle(name)
    assert list(batch_faults(folder, tmp_path)) == []


def test_rows_are_spoilt_in_each_way_that_the_contract_takes() -> None:
    rows = spoilt(bundle("shop"), holdout_rows(bundle("shop")))
    fields = set(holdout_rows(bundle("shop"))[0])
    assert any(row.get("store") == UNSEEN for row in rows)
    assert any(row.keys() == fields and row["price"] is None for row in rows)
    assert any("weather" not in row for row in rows)
    people = spoilt(bundle("people"), holdout_rows(bundle("people")))
    assert not any(row.get("plan") == UNSEEN for row in people)  # it refuses what it does not know


def test_an_answer_that_is_off_is_found(shop_server: Running) -> None:
    rows, expected = holdout_rows(bundle("shop")), judged(bundle("shop"))
    ways = Ways(shop_server, bundle("shop"))
    off = {**expected, "quantile": expected["quantile"] * (1 + 3e-5) + 3e-5}
    for way in ways.all().values():
        assert differing(way, rows, off, orders(len(rows), 40, 0)["in batches"]) == ["quantile"]
    swapped = {name: np.roll(values, 1) for name, values in expected.items()}
    assert differing(ways.v1, rows, swapped, orders(len(rows), 1, 5)["alone"]) == ["prediction", "quantile"]
    ways.close()
