"""The pages as a browser shows them, at a phone's and a desk's width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.test_report import pages

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (Path("/usr/bin/chromium").exists() and Path("/usr/bin/chromedriver").exists()),
        reason="needs chromium and chromedriver (Debian: chromium-driver)",
    ),
]
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = (390, 1280)
TEXT_SIZES = """
return [...document.querySelectorAll('svg')].flatMap(svg => {
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return [...svg.querySelectorAll('text')].map(t => parseFloat(getComputedStyle(t).fontSize) * scale);
})"""
CUT_OFF = """
const wide = document.documentElement.clientWidth;
return [...document.querySelectorAll('svg text')].filter(t => {
  const box = t.getBoundingClientRect();
  return box.left < -0.5 || box.right > wide + 0.5;
}).map(t => t.textContent)"""
OVERLAPS = """
const found = [];
for (const svg of document.querySelectorAll('svg')) {
  const texts = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  for (let i = 0; i < texts.length; i++) for (let j = i + 1; j < texts.length; j++) {
    const [a, p] = texts[i], [b, q] = texts[j];
    const across = Math.min(p.right, q.right) - Math.max(p.left, q.left);
    const down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
    if (across > 1 && down > Math.min(p.height, q.height) * 0.35) found.push(a + ' / ' + b);
  }
}
return found"""
BLOCKS = """
const boxes = [...document.querySelectorAll('header, section, footer')].map(e => e.getBoundingClientRect());
return boxes.slice(1).filter((box, i) => box.top < boxes[i].bottom - 1).length"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    yield driver
    driver.quit()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", pages())
def test_a_page_fits_its_window_and_its_figures_can_be_read(
    browser: Any, tmp_path: Path, name: str, width: int
) -> None:
    file = tmp_path / "page.html"
    file.write_text(pages()[name], encoding="utf-8")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(file.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")

    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert all(size >= 9 for size in browser.execute_script(TEXT_SIZES))
    assert browser.execute_script(CUT_OFF) == []
    assert browser.execute_script(OVERLAPS) == []
    assert browser.execute_script(BLOCKS) == 0
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width)"
    )
    assert all(box > 300 for box in boxes)
    if name in {"regression", "classification", "profile", "runs"}:
        assert boxes


@pytest.mark.parametrize(("width", "columns"), [(390, 1), (1280, 2)])
def test_figures_stand_in_one_column_on_a_phone_and_in_two_on_a_desk(
    browser: Any, tmp_path: Path, width: int, columns: int
) -> None:
    file = tmp_path / "page.html"
    file.write_text(pages()["regression"], encoding="utf-8")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(file.as_uri())
    lefts = browser.execute_script(
        "return [...document.querySelectorAll('#over-time figure')].map(f => f.getBoundingClientRect().left)"
    )
    assert len(set(lefts)) == columns
