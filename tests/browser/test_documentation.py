"""The documentation as a browser shows it: from a disk, at a phone's and a desk's width, without network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import NEEDED, WIDTHS
from tests.docs.built import build_site

pytestmark = NEEDED
pytest.importorskip("material", reason="needs mkdocs-material (make install)")
_PAGES = (
    "index",
    "tutorial",
    "shop",
    "security",
    "reference/commands",
    "reference/metrics",
    "problem-format",
)
_TOO_WIDE = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
_LOADED = "return performance.getEntriesByType('resource').map(one => one.name)"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("documentation"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", _PAGES)
def test_a_page_fits_its_window_and_needs_no_network(browser: Any, site: Path, page: str, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((site / f"{page}.html").as_uri())
    assert browser.execute_script(_TOO_WIDE) <= 0
    assert [one for one in browser.execute_script(_LOADED) if not one.startswith("file:")] == []
    assert [line["message"] for line in browser.get_log("browser")] == []


def test_the_search_finds_pages_that_are_opened_from_a_disk(browser: Any, site: Path) -> None:
    from selenium.webdriver.common.by import By

    size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((site / "reference/errors.html").as_uri())
    box = browser.find_element(By.CSS_SELECTOR, ".md-search__input")
    box.click()
    box.send_keys("compare-and-swap")
    end, found = time.monotonic() + 20, ""
    while "matching" not in found and time.monotonic() < end:
        time.sleep(0.1)
        found = browser.find_element(By.CSS_SELECTOR, ".md-search-result__meta").text
    assert "matching documents" in found
    assert browser.find_elements(By.CSS_SELECTOR, ".md-search-result__item a[href*='registry.html']")
