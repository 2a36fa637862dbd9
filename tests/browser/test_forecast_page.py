"""The forecast page as people use it: by hand, by keyboard alone, on a phone, with and without its script."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from cd4ml.models.runtime import Bundle
from tests.browser.chromium import CUT_OFF, ESCAPES, NEEDED, OVERLAPS, TEXT_SIZES, press
from tests.models.bundles import bundle
from tests.serving.model_server import Running, free_port, running

pytestmark = NEEDED
QUERY = "day=2020-06-09&store=north&promoted=true&price=4.5&weather=sun&visitors=30&opened=2020-06-09T08%3A00"
WIDE = "return document.documentElement.scrollWidth <= innerWidth"


@dataclass(frozen=True)
class Site:
    url: str
    folder: Path
    server: Running

    def decisions(self) -> list[dict[str, Any]]:
        path = self.folder / "decisions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def events(self) -> list[dict[str, Any]]:
        files = [*self.folder.glob("events/*.jsonl"), *self.folder.glob("events/*.open")]
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("page"), free_port()
    with running(bundle("shop"), "shop", "--events", str(folder / "events")) as server:
        arguments = ["--endpoint", server.url, "--model", "shop", "--http-port", str(port)]
        module = [sys.executable, "-m", "cd4ml.serving.page", *arguments, "--decisions", str(folder)]
        process = subprocess.Popen(module, env=os.environ)
        try:
            _await(f"http://127.0.0.1:{port}/healthz")
            yield Site(f"http://127.0.0.1:{port}", folder, server)
        finally:
            process.terminate()
            process.wait(20)


def _await(address: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            assert time.monotonic() < end, "the page did not start"
            time.sleep(0.05)


def show(browser: Any, address: str, width: int = 1280, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(address)


def until(browser: Any, script: str) -> Any:
    """Return what a script returns, once that is true."""
    end = time.monotonic() + 15
    while not (found := browser.execute_script(script)):
        assert time.monotonic() < end, f"{script}: {browser.find_element('tag name', 'body').text}"
        time.sleep(0.02)
    return found


def walk_to(browser: Any, identity: str) -> Any:
    """Press Tab until an element has the focus; each on the way must show that it has it."""
    from selenium.webdriver.common.keys import Keys

    for _ in range(40):
        found = press(browser, Keys.TAB)
        outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", found.get_attribute("outerHTML")[:120]
        if found.get_attribute("id") == identity:
            return found
    raise AssertionError(f"the keyboard does not reach {identity}")


def test_by_keyboard_alone_from_the_form_to_a_decision_in_the_log(browser: Any, site: Site) -> None:
    from selenium.webdriver.common.keys import Keys

    before = len(site.decisions())
    show(browser, site.url)
    assert press(browser, Keys.TAB).text == "To the content"
    assert browser.find_element("id", "field-day").get_attribute("value") == "2020-06-09"
    walk_to(browser, "field-opened")
    press(browser, "060920200800AM")
    assert browser.find_element("id", "field-opened").get_attribute("value") == "2020-06-09T08:00"
    walk_to(browser, "field-promoted")
    press(browser, Keys.SPACE)
    walk_to(browser, "field-store")
    press(browser, "north")
    walk_to(browser, "field-visitors")
    press(browser, "30", Keys.ENTER)

    until(browser, "return document.activeElement.id === 'answer'")
    said = until(browser, "return document.getElementById('said').textContent")
    assert said.startswith("The forecast is ") and "interval from" in said
    sent = {
        "day": "2020-06-09",
        "opened": "2020-06-09T08:00",
        "promoted": True,
        "store": "north",
        "visitors": 30,
    }
    expected = Bundle.load(bundle("shop")).predict_rows([sent])["prediction"][0]
    assert f"{expected:.1f}".removesuffix(".0") in browser.find_element("css selector", ".number").text

    walk_to(browser, "override-value")
    press(browser, "41.5")
    walk_to(browser, "override-reason")
    press(browser, "a fair next door", Keys.ENTER)
    until(browser, "return document.activeElement.id === 'decision'")
    assert "Overridden: 41.5 in place of" in browser.find_element("css selector", ".done").text
    assert "Overridden: 41.5" in browser.find_element("id", "said").text

    lines = site.decisions()[before:]
    assert [(line["decision"], line["value"], line["reason"]) for line in lines] == [
        ("overridden", 41.5, "a fair next door")
    ]
    line = lines[0]
    assert line["inputs"]["store"] == "north" and line["output"]["prediction"] == pytest.approx(expected)
    end = time.monotonic() + 10  # the server's log of predictions has the same id
    while not (events := [event for event in site.events() if event["id"] == line["id"]]):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert len(events) == 1 and events[0]["version"] == line["version"]
    assert browser.get_log("browser") == []


def test_a_forecast_shows_interval_plot_reasons_and_version(browser: Any, site: Site) -> None:
    show(browser, f"{site.url}/forecast?{QUERY}")
    text = browser.find_element("id", "result").text
    served = Bundle.load(bundle("shop"))
    assert served.id[:12] in text and "stable" in text and "90 % of the values" in text
    plot = browser.find_element("css selector", "svg.plot")
    assert "units: the last weeks" in plot.find_element("css selector", "title").get_attribute("textContent")
    assert len(browser.find_elements("css selector", "svg.plot circle.forecast")) == 2  # one in the legend
    assert len(browser.find_elements("css selector", ".bars li")) >= 5
    browser.find_element("css selector", "summary").click()
    rows = browser.find_elements("css selector", "tbody tr")
    assert rows[0].text.startswith("2020-06-08") and len(rows) >= 40


def test_an_error_stands_at_its_field_and_has_the_focus(browser: Any, site: Site) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, f"{site.url}/forecast?{QUERY}", 375)
    price = browser.find_element("id", "field-price")
    price.clear()
    price.send_keys("99", Keys.ENTER)
    until(browser, "return document.activeElement.getAttribute('aria-invalid') === 'true'")
    wrong = browser.switch_to.active_element
    assert wrong.get_attribute("id") == "field-price" and wrong.get_attribute("value") == "99"
    told = browser.find_element("id", "error-price")
    assert "It must be a number from 0.5" in told.text
    assert "error-price" in wrong.get_attribute("aria-describedby")
    below = wrong.rect["y"] + wrong.rect["height"]
    assert 0 <= told.rect["y"] - below < 60
    assert "Not forecast" in browser.find_element("id", "said").text
    assert browser.execute_script(WIDE)


def test_a_number_that_cannot_be_is_refused_where_it_was_typed(browser: Any, site: Site) -> None:
    before = len(site.decisions())
    show(browser, f"{site.url}/forecast?{QUERY}")
    browser.find_element("id", "override-value").send_keys("-3")
    browser.find_element("css selector", "#override button").click()
    until(browser, "return document.activeElement.id === 'override-value'")
    assert "found -3" in browser.find_element("id", "override-error").text
    browser.find_element("css selector", "#accept button").click()
    until(browser, "return document.querySelector('.done')")
    assert [line["decision"] for line in site.decisions()[before:]] == ["accepted"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 768, 1280])
def test_it_fits_a_phone_and_a_desk_in_light_and_dark(
    browser: Any, site: Site, width: int, scheme: str
) -> None:
    show(browser, f"{site.url}/forecast?{QUERY}", width, scheme)
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.execute_script(WIDE)
    assert browser.execute_script(ESCAPES) == []
    assert all(size >= 9 for size in browser.execute_script(TEXT_SIZES))
    assert browser.execute_script(CUT_OFF) == [] and browser.execute_script(OVERLAPS) == []
    low = "return [...document.querySelectorAll('input:not([type=checkbox],[type=hidden]), select, button')]"
    assert browser.execute_script(f"{low}.every(e => e.getBoundingClientRect().height >= 44)")
    assert browser.get_log("browser") == []


def test_every_control_has_a_name_and_the_page_asks_itself_alone(browser: Any, site: Site) -> None:
    show(browser, f"{site.url}/forecast?{QUERY}")
    nameless = "return [...document.querySelectorAll('select, input:not([type=hidden])')]"
    assert browser.execute_script(f"{nameless}.filter(e => !e.labels.length).map(e => e.id)") == []
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert set(asked) == {f"{site.url}/page.css", f"{site.url}/page.js"}


def test_suggestions_follow_what_is_typed(browser: Any, site: Site) -> None:
    show(browser, site.url)
    browser.execute_script("document.getElementById('field-store').dataset.choices = ''")
    browser.find_element("id", "field-store").send_keys("th")
    options = "[...document.querySelectorAll('#list-store option')].map(o => o.value).join()"
    until(browser, f"return {options} === 'north,south'")
    assert browser.execute_script(f"return {options}") == "north,south"


def test_it_works_without_its_script(browser: Any, site: Site) -> None:
    before = len(site.decisions())
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(f"{site.url}/forecast?{QUERY}")
        browser.find_element("css selector", "#accept button").click()
        end = time.monotonic() + 10
        while len(site.decisions()) == before:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert "Accepted:" in browser.find_element("css selector", ".done").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
