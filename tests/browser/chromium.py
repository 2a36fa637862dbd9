"""Chromium as the tests drive it, and what they ask of a page that it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

NEEDED = [
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

    asked: list[str] = []  # noqa: RUF012 - one list: servers do not run at once

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextmanager
def serving(folder: Path, pages: Mapping[str, str]) -> Iterator[str]:
    """Serve pages by name, as a browser treats files and servers differently."""
    for name, text in pages.items():
        (folder / f"{name.replace(' ', '-')}.html").write_text(text, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Recorder, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def show(browser: Any, site: str, name: str, width: int, scheme: str = "light", address: str = "") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(f"{site}/{name.replace(' ', '-')}.html{address}")


def press(browser: Any, *keys: str) -> Any:
    """Press keys as a reader would and return what has the focus then."""
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()
    return browser.switch_to.active_element
