"""The pages as a browser shows them, at a phone's and a desk's width, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import (
    BLOCKS,
    CUT_OFF,
    ESCAPES,
    FIGURES,
    NEEDED,
    OVERLAPS,
    TEXT_SIZES,
    WIDTHS,
    Recorder,
    press,
    serving,
    show,
)
from tests.reports.pages import hostile, pages

pytestmark = NEEDED


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("site"), pages() | hostile()) as address:
        yield address


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", pages())
def test_a_page_fits_its_window_and_its_figures_can_be_read(
    browser: Any, site: str, name: str, width: int
) -> None:
    show(browser, site, name, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")

    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert browser.execute_script(ESCAPES) == []
    assert all(size >= 9 for size in browser.execute_script(TEXT_SIZES))
    assert browser.execute_script(CUT_OFF) == []
    assert browser.execute_script(OVERLAPS) == []
    assert browser.execute_script(BLOCKS) == 0
    boxes = browser.execute_script(FIGURES)
    assert all(box > 300 for box in boxes)
    if name in {"regression", "classification", "profile", "runs"}:
        assert boxes


@pytest.mark.parametrize("name", pages() | hostile())
def test_a_page_asks_for_nothing_but_itself_and_breaks_no_policy(browser: Any, site: str, name: str) -> None:
    browser.get_log("browser")
    Recorder.asked.clear()
    show(browser, site, name, 1280)
    assert browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert browser.get_log("browser") == []
    # A browser may ask a server for its icon by itself; no page of ours names one.
    assert set(Recorder.asked) - {"/favicon.ico"} == {f"/{name.replace(' ', '-')}.html"}
    assert browser.execute_script("return document.scripts.length") == 0


def test_the_style_of_a_page_is_applied_under_its_policy(browser: Any, site: str) -> None:
    show(browser, site, "regression", 1280)
    assert (
        browser.execute_script("return getComputedStyle(document.querySelector('.facts')).display") == "grid"
    )
    blocked = """
    const style = document.createElement('style'); style.textContent = 'h1{color:rgb(1,2,3)}';
    document.head.append(style); return getComputedStyle(document.querySelector('h1')).color"""
    assert browser.execute_script(blocked) != "rgb(1, 2, 3)"


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1280, 2)])
def test_figures_stand_in_one_column_on_a_phone_and_in_two_on_a_desk(
    browser: Any, site: str, width: int, columns: int
) -> None:
    show(browser, site, "regression", width)
    lefts = browser.execute_script(
        "return [...document.querySelectorAll('#over-time figure')].map(f => f.getBoundingClientRect().left)"
    )
    assert len(set(lefts)) == columns


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_follow_the_readers_scheme(browser: Any, site: str, scheme: str) -> None:
    show(browser, site, "regression", 1280, scheme)
    back = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    ink = browser.execute_script("return getComputedStyle(document.querySelector('svg text')).fill")
    sums = [sum(int(part) for part in colour.strip("rgb()").split(",")) for colour in (back, ink)]
    assert (sums[0] > sums[1]) == (scheme == "light")


def test_a_page_can_be_used_by_the_keyboard_alone(browser: Any, site: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, site, "regression", 1280)
    skip = press(browser, Keys.TAB)
    assert skip.text == "To the content" and skip.rect["x"] >= 0
    press(browser, Keys.ENTER)
    assert browser.execute_script("return document.activeElement.id") == "content"
    seen = []
    for _ in range(12):
        found = press(browser, Keys.TAB)
        seen.append(found.tag_name)
        if found.tag_name == "summary":
            break
    assert seen[0] == "div" and seen[-1] == "summary"
    details = "return document.activeElement.closest('details').open"
    assert not browser.execute_script(details)
    press(browser, Keys.ENTER)
    assert browser.execute_script(details)


def test_a_table_wider_than_a_phone_scrolls_within_itself(browser: Any, site: str) -> None:
    show(browser, site, "regression", 390)
    wide = """
    const region = [...document.querySelectorAll('.scroll')].find(e => e.scrollWidth > e.clientWidth + 20);
    region.scrollLeft = 50; return [region.scrollLeft, region.tabIndex, region.role, scrollX]"""
    assert browser.execute_script(wide) == [50, 0, "region", 0]
