"""The steps that write pages, on a small training: slices, card and approval."""

import json
import re

import numpy as np
import pytest

from cd4ml.reports.card_page import card_page
from cd4ml.steps.approval_page import write_approval_page
from cd4ml.steps.slices_page import write_slices_page
from cd4ml.tables.dataset import Dataset
from tests.steps.small_run import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a run."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "store").mkdir()
    train(folder, folder / "store")
    return folder


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))


def test_the_explorer_has_every_row_of_the_holdout_and_its_columns(trained, tmp_path):
    out = tmp_path / "slices.html"
    write_slices_page(trained / "problem.json", trained / "dataset", trained / "evaluation", out)
    data, dataset = data_of(out), Dataset.load(trained / "dataset")
    assert data["rows"] == data["of"] == int((dataset.role == 1).sum())
    assert data["clusters"] == 14 and data["metrics"][0]["name"] == "wape"
    names = [one["name"] for one in data["columns"]]
    assert {"day", "shop", "(predicted)", "(actual)"} <= set(names) and "loaves" not in names
    assert [one["name"] for one in data["predictions"]] == ["model", "week_before"]
    assert "14 clusters (by day)" in out.read_text(encoding="utf-8")


def test_the_champion_stands_beside_the_model_where_it_was_scored(trained, tmp_path):
    champion = tmp_path / "champion"
    champion.mkdir()
    paths = (trained / "problem.json", trained / "dataset", trained / "evaluation", tmp_path / "s.html")
    write_slices_page(*paths, champion)
    assert [one["name"] for one in data_of(paths[-1])["predictions"]] == ["model", "week_before"]
    np.save(champion / "predictions.npy", np.load(trained / "evaluation" / "predictions.npy") * 1.1)
    write_slices_page(*paths, champion)
    assert [one["name"] for one in data_of(paths[-1])["predictions"]][:2] == ["model", "champion"]


def test_the_card_of_a_bundle_is_a_page(trained):
    card = json.loads((trained / "bundle" / "card.json").read_text(encoding="utf-8"))
    text = card_page(card)
    assert "Bakery" in text and "Intended use" in text
    assert f"{card['metrics']['scores'][0]['model']['estimate']:.4g}" in text


def test_the_approval_page_is_written_of_a_run_and_the_champions_bundle(trained, tmp_path):
    verdict = tmp_path / "verdict.json"
    gate = {"name": "drift", "status": "warn", "measured": None, "limit": None, "interval": None}
    gates = [gate | {"reason": "the days are warmer", "axis": "data", "required": True}]
    verdict.write_text(json.dumps({"decision": "needs_approval", "model": "bakery", "gates": gates}))
    paths = (trained / "problem.json", trained / "bundle", verdict, "bakery@1", tmp_path / "approval.html")
    write_approval_page(*paths)
    text = paths[-1].read_text(encoding="utf-8")
    assert "there is no champion yet" in text and "models approve bakery@1" in text
    ledger = tmp_path / "ledger.json"
    ledger.write_text(json.dumps({"looks": 3, "budget": {"warn_looks": 20, "max_looks": 50}}))
    write_approval_page(
        *paths,
        evaluation=trained / "evaluation",
        champion=trained / "bundle",
        ledger=ledger,
        standing={"state": "pending", "reason": "nobody has decided"},
    )
    text = paths[-1].read_text(encoding="utf-8")
    assert "Nothing: data, code, parameters and problem are those of the champion." in text
    assert "3 of 50" in text and "Nobody has decided." in text
