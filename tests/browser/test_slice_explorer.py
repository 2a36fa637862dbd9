"""The slice explorer as a reader uses it: what it shows is what the library computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from cd4ml.domain.metrics import METRICS, score, score_by
from cd4ml.features.columns import CategoryArray
from cd4ml.reports.explorer_data import Judged
from cd4ml.reports.slice_explorer import slice_explorer_page
from tests.browser.chromium import ESCAPES, NEEDED, WIDTHS, Recorder, press, serving, show
from tests.reports.explorer_samples import classification_rows, problem_of, regression_rows

pytestmark = NEEDED
ROWS = """
return [...document.querySelectorAll('#body tr:not(.detail)')].map(row => {
  const cell = name => [...row.cells].find(one => one.dataset.name === name);
  return {slice: row.querySelector('button').textContent, shown: row.cells[COLUMN].textContent,
    value: row.cells[COLUMN].dataset.value, n: +row.cells[1].dataset.value,
    interval: cell('interval').textContent};
})"""
SMALL = """
return [...document.querySelectorAll('select, input, button')].filter(e => e.checkVisibility()
  && e.getBoundingClientRect().height < 20).map(e => e.id)"""
JUDGED = {"regression": regression_rows, "classification": classification_rows}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pages = {task: slice_explorer_page(problem_of(task), made()) for task, made in JUDGED.items()}
    with serving(tmp_path_factory.mktemp("slices"), pages) as address:
        yield address


def choose(browser: Any, **values: str) -> None:
    """Set controls as a reader does, with the events that follow."""
    for name, value in values.items():
        browser.execute_script(
            "const it = document.getElementById(arguments[0]); it.value = arguments[1];"
            "for (const kind of ['input', 'change']) it.dispatchEvent(new Event(kind, {bubbles: true}))",
            name,
            value,
        )


def rows(browser: Any, task: str) -> list[dict[str, Any]]:
    column = {"regression": "3", "classification": "2"}[task]
    return browser.execute_script(ROWS.replace("COLUMN", column))


def number(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def decimals(text: str) -> int:
    return len(text.partition(".")[2])


def ends(text: str) -> list[float]:
    return [number(end) for end in text.split(" to ")] if text != "–" else []


def groups(judged: Judged, first: str, second: str = "") -> tuple[np.ndarray, list[str]]:
    """Return the code of each row and the names, as the page has them."""
    codes, names = np.zeros(len(judged.actual), dtype=np.int64), [""]
    for name in filter(None, (first, second)):
        column = judged.columns[name]
        assert isinstance(column, CategoryArray)
        labels = [*column.categories, "no value"]
        own = np.where(column.codes < 0, len(labels) - 1, column.codes)
        codes = codes * len(labels) + own
        names = [f"{a} × {b}" if a else b for a in names for b in labels]
    return codes, names


@pytest.mark.parametrize("task", JUDGED)
def test_every_number_is_the_librarys_for_every_metric(browser: Any, site: str, task: str) -> None:
    judged, names = JUDGED[task](), [name for name, spec in METRICS.items() if spec.task == task]
    names = [name for name in names if name != "pinball"]
    first = "store" if task == "regression" else "race"
    codes, labels = groups(judged, first)
    common = {"weight": judged.weight, "cluster": judged.cluster}
    expected = score_by(codes, names, judged.actual, judged.predictions["model"], **common)
    whole = score(names, judged.actual, judged.predictions["model"], **common)
    by_name = {labels[code]: entry for code, entry in expected.items()}
    show(browser, site, task, 1280, address=f"#first={first}")
    for name in names:
        choose(browser, metric=name)
        found = rows(browser, task)
        assert {one["slice"] for one in found} == set(by_name)
        for one in found:
            wanted = by_name[one["slice"]]
            assert one["n"] == wanted["n"]
            if wanted[name] is None:
                assert one["shown"] == "–"
                continue
            estimate = wanted[name].estimate
            assert float(one["value"]) == pytest.approx(estimate, rel=2e-5, abs=2e-6), (name, one)
            assert number(one["shown"]) == pytest.approx(estimate, abs=0.51 * 10 ** -decimals(one["shown"]))
        shown = browser.execute_script("return document.getElementById('whole').dataset.value")
        assert float(shown) == pytest.approx(whole[name].estimate, rel=2e-5, abs=2e-6)


@pytest.mark.parametrize(
    ("task", "metric"),
    [("regression", name) for name in ("wape", "nwrmsle", "rmse", "bias", "r2")]
    + [("classification", name) for name in ("roc_auc", "pr_auc", "log_loss", "recall", "f1")],
)
def test_intervals_are_as_wide_as_the_clustered_bootstraps(
    browser: Any, site: str, task: str, metric: str
) -> None:
    judged, first = JUDGED[task](), {"regression": "store", "classification": "race"}[task]
    codes, labels = groups(judged, first)
    expected = score_by(
        codes, [metric], judged.actual, judged.predictions["model"], weight=judged.weight,
        cluster=judged.cluster,
    )  # fmt: skip
    show(browser, site, task, 1280, address=f"#first={first}&metric={metric}")
    by_name = {one["slice"]: ends(one["interval"]) for one in rows(browser, task)}
    compared = 0
    for code, entry in expected.items():
        if entry["n"] < 200:
            continue
        low, high = by_name[labels[code]]
        wanted = entry[metric]
        assert (high - low) == pytest.approx(wanted.high - wanted.low, rel=0.25), labels[code]
        assert low == pytest.approx(wanted.low, abs=0.25 * (wanted.high - wanted.low))
        compared += 1
    assert compared >= 3


def test_the_quantiles_of_student_are_right(browser: Any, site: str) -> None:
    show(browser, site, "regression", 1280)
    for tails, z in ((0.05, 1.959963984540054), (0.1, 1.6448536269514722)):
        for freedom in (1, 2, 3, 4, 5, 9, 30, 200, 16000):
            found = browser.execute_script(f"return Slices.tQuantile({tails}, {z}, {freedom})")
            assert found == pytest.approx(t.ppf(1 - tails / 2, freedom), rel=2e-4)


def test_two_columns_are_crossed_and_a_map_shows_the_same(browser: Any, site: str) -> None:
    judged = classification_rows()
    codes, labels = groups(judged, "sex", "race")
    expected = score_by(codes, ["recall"], judged.actual, judged.predictions["model"])
    show(browser, site, "classification", 1280, address="#first=sex&second=race&metric=recall")
    found = {one["slice"]: one for one in rows(browser, "classification")}
    assert len(found) == len(expected) and "Female × Black" in found
    for code, entry in expected.items():
        if entry["recall"] is not None:
            assert float(found[labels[code]]["value"]) == pytest.approx(entry["recall"].estimate, rel=1e-6)
    choose(browser, view="map")
    cells = browser.execute_script(
        "return [...document.querySelectorAll('#map td[data-value]')].map(one => +one.dataset.value)"
    )
    known = sorted(entry["recall"].estimate for entry in expected.values() if entry["recall"] is not None)
    assert sorted(cells) == pytest.approx(known, rel=1e-6)
    assert not browser.execute_script("return document.getElementById('slices').checkVisibility()")


@pytest.mark.parametrize("rule", ["rows", "width", "each"])
def test_bins_hold_the_rows_between_the_ends_that_they_name(browser: Any, site: str, rule: str) -> None:
    judged = regression_rows()
    visitors = np.asarray(judged.columns["visitors"])
    show(browser, site, "regression", 1280, address=f"#first=visitors&rule={rule}&bins=4")
    found = rows(browser, "regression")
    assert len(found) == (40 if rule == "each" else 4)
    for one in found:
        low, high = (ends(one["slice"]) * 2)[:2]
        assert one["n"] == ((visitors >= low) & (visitors <= high)).sum()
    sizes = [one["n"] for one in found]
    assert sum(sizes) == len(visitors)
    if rule == "rows":
        assert max(sizes) < 1.3 * min(sizes)


def test_missing_numbers_are_a_slice_and_times_are_cut_into_days(browser: Any, site: str) -> None:
    judged = regression_rows()
    show(browser, site, "regression", 1280, address="#first=price&bins=3")
    sizes = {one["slice"]: one["n"] for one in rows(browser, "regression")}
    assert sizes["no value"] == np.isnan(np.asarray(judged.columns["price"], dtype=float)).sum()
    assert len(sizes) == 4
    choose(browser, first="day", bins="2", order="values")
    names = [one["slice"] for one in rows(browser, "regression")]
    assert names[0].startswith("2026-03-01 to 2026-03-") and names[1].endswith("to 2026-04-29")


def test_headings_and_the_list_order_the_slices(browser: Any, site: str) -> None:
    show(browser, site, "regression", 1280, address="#first=store")

    def column(key: str) -> list[Any]:
        return [one[key] for one in rows(browser, "regression")]

    worst = [number(text) for text in column("shown")]
    assert worst == sorted(worst, reverse=True)
    for expected, sort in ((True, "descending"), (False, "ascending")):
        browser.find_element("css selector", '[data-order="rows"]').click()
        assert column("n") == sorted(column("n"), reverse=expected)
        heading = browser.find_element("css selector", "#head [aria-sort]")
        assert heading.get_attribute("aria-sort") == sort and heading.text.startswith("rows")
    choose(browser, order="best")
    best = [number(text) for text in column("shown")]
    assert best == sorted(best)


def test_filters_leave_what_matches_and_say_how_many(browser: Any, site: str) -> None:
    show(browser, site, "classification", 1280, address="#first=sex&second=race&metric=log_loss")
    choose(browser, text="black")
    assert {one["slice"] for one in rows(browser, "classification")} == {"Female × Black", "Male × Black"}
    said = browser.find_element("id", "said").text
    assert said.startswith("10 slices of sex × race, 2 match")
    choose(browser, text="", least="100")
    assert all(one["n"] >= 100 for one in rows(browser, "classification"))
    choose(browser, least="1")
    browser.find_element("id", "worse").click()
    assert {one["slice"] for one in rows(browser, "classification")} == {"Female × Black", "Male × Black"}


def test_other_predictions_can_be_chosen(browser: Any, site: str) -> None:
    judged = regression_rows()
    codes, labels = groups(judged, "store")
    expected = score_by(codes, ["mae"], judged.actual, judged.predictions["last_week"])
    show(browser, site, "regression", 1280, address="#first=store&metric=mae&prediction=last_week")
    found = {one["slice"]: float(one["value"]) for one in rows(browser, "regression")}
    wanted = {labels[code]: entry["mae"].estimate for code, entry in expected.items()}
    assert found == pytest.approx(wanted, rel=1e-5)


def test_it_can_be_used_by_the_keyboard_alone(browser: Any, site: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, site, "regression", 1280, address="#first=store")
    assert press(browser, Keys.TAB).text == "To the content"
    assert press(browser, Keys.TAB).get_attribute("id") == "first"
    browser.execute_script("document.querySelector('button.slice').focus()")
    names = [one["slice"] for one in rows(browser, "regression")]
    assert press(browser, Keys.ARROW_DOWN).text == names[1]
    assert press(browser, Keys.END).text == names[-1]
    assert press(browser, Keys.ARROW_DOWN).text == names[-1]
    assert press(browser, Keys.HOME).text == names[0]
    opened = press(browser, Keys.ENTER)
    assert opened.text == names[0] and opened.get_attribute("aria-expanded") == "true"
    detail = browser.find_element("css selector", "tr.detail").text
    assert "mean actual" in detail and "% of all" in detail
    closed = press(browser, Keys.ESCAPE)
    assert closed.text == names[0] and closed.get_attribute("aria-expanded") == "false"
    assert press(browser, "/").get_attribute("id") == "text"
    press(browser, "A")
    assert all("a" in one["slice"].lower() for one in rows(browser, "regression"))
    assert browser.find_element("id", "text").get_attribute("value") == "A"


def test_the_choices_stand_in_the_address_and_strange_ones_are_ignored(browser: Any, site: str) -> None:
    show(browser, site, "regression", 1280)
    choose(browser, first="visitors", metric="rmse", bins="7")
    address = browser.current_url
    show(browser, site, "regression", 1280, address="#" + address.partition("#")[2])
    assert len(rows(browser, "regression")) == 7
    strange = "#first=nothing&second=store&metric=x&bins=9999&least=-4&order=up&prediction=%3Cb%3E"
    show(browser, site, "regression", 1280, address=strange)
    assert browser.find_element("id", "bins").get_attribute("value") == "40"
    assert browser.find_element("id", "least").get_attribute("value") == "1"
    assert rows(browser, "regression") and browser.get_log("browser") == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("task", "address"),
    [
        ("regression", "#first=store"),
        ("classification", "#first=sex&second=race&view=map"),
        ("classification", "#first=age&second=race"),
    ],
)
def test_it_fits_its_window_and_breaks_no_policy(
    browser: Any, site: str, task: str, address: str, width: int
) -> None:
    browser.get_log("browser")
    Recorder.asked.clear()
    show(browser, site, task, width, address=address)
    browser.execute_script("document.getElementById('finer').open = true")
    if "view" not in address:
        browser.execute_script("document.querySelector('button.slice').click()")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script(ESCAPES) == []
    assert set(Recorder.asked) <= {"/favicon.ico", f"/{task}.html"}
    assert browser.execute_script("return document.scripts.length") == 2
    assert browser.execute_script(SMALL) == []


def test_every_control_has_a_name_and_changes_are_announced(browser: Any, site: str) -> None:
    show(browser, site, "regression", 1280)
    nameless = (
        "return [...document.querySelectorAll('select, input')].filter(e => !e.labels.length).map(e => e.id)"
    )
    assert browser.execute_script(nameless) == []
    assert browser.find_element("id", "said").get_attribute("role") == "status"
    assert browser.execute_script(
        "return [...document.querySelectorAll('#head th')].every(e => e.scope === 'col')"
    )


def test_texts_from_the_data_are_shown_and_not_obeyed(browser: Any, site: str) -> None:
    show(browser, site, "regression", 1280, address="#first=store")
    names = [one["slice"] for one in rows(browser, "regression")]
    assert any("<script>" in name for name in names)
    assert browser.execute_script("return document.querySelectorAll('main script').length") == 0


def test_script_from_elsewhere_does_not_run(browser: Any, site: str) -> None:
    show(browser, site, "regression", 1280)
    planted = """
    const script = document.createElement('script'); script.textContent = 'window.planted = 1';
    document.body.append(script); return window.planted === undefined"""
    assert browser.execute_script(planted)
    assert "Content Security Policy" in browser.get_log("browser")[-1]["message"]


def test_a_hundred_thousand_rows_are_cut_while_the_reader_waits(browser: Any, tmp_path: Path) -> None:
    page = slice_explorer_page(problem_of("classification"), classification_rows(100_000))
    assert len(page) < 3_300_000
    with serving(tmp_path, {"large": page}) as address:
        show(browser, address, "large", 1280, address="#first=race&second=age&metric=roc_auc")
        script = """
        const start = performance.now(), it = document.getElementById('bins'); it.value = 12;
        it.dispatchEvent(new Event('input', {bubbles: true})); return performance.now() - start"""
        assert browser.execute_script(script) < 1500


def test_the_scripts_have_no_way_to_turn_text_into_markup_or_to_ask_for_anything() -> None:
    folder = resources.files("cd4ml.reports").joinpath("templates")
    for name in ("slice_metrics.js", "slice_explorer.js"):
        text = folder.joinpath(name).read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|eval\(|Function\(|fetch|XMLHttp|import\(", text
        )
