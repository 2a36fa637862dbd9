"""The pages as a browser shows them, at a phone's and a desk's width, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.reports.pages import hostile, pages

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
ESCAPES = """
return [...document.querySelectorAll('main *, header *')].filter(e => {
  if (e.closest('.scroll, pre, svg') || e.closest('.skip')) return false;
  return e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5;
}).map(e => e.tagName + ' ' + e.textContent.slice(0, 40))"""
FIGURES = "return [...document.querySelectorAll('figure > svg')].map(s => s.getBoundingClientRect().width)"


class Recorder(SimpleHTTPRequestHandler):
    """Serves a folder and remembers what was asked for."""

    asked: list[str] = []  # noqa: RUF012 - one list for the one server of this module

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve all pages, as a browser treats files and servers differently."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in (pages() | hostile()).items():
        (folder / f"{name.replace(' ', '-')}.html").write_text(text, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Recorder, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def show(browser: Any, site: str, name: str, width: int, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(f"{site}/{name.replace(' ', '-')}.html")


def press(browser: Any, *keys: str) -> Any:
    """Press keys as a reader would and return what has the focus then."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()
    return browser.switch_to.active_element


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
