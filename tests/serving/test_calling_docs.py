"""Every block of docs/calling.md works, in the language that it is written in, against a real server."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.serving.model_server import Running, running
from tests.serving.small_sales import small_sales

PAGE = Path(__file__).parents[2] / "docs" / "calling.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
NUMBER = r"-?\d+(\.\d+)?(e-?\d+)?"
PROMISED = {
    "sh": (
        rf'"predictions":\[{NUMBER},{NUMBER}\],"quantiles":\[{NUMBER},{NUMBER}\],"model_name":"sales-forecast"',
        rf'"id":"order-4711".*"name":"prediction".*"data":\[{NUMBER},{NUMBER}\]',
        rf'"name":"prediction".*"data":\[{NUMBER},{NUMBER}\]',
        '"explanations":',
        r'"field":"store_nbr","found":"0","allowed":"a whole number from 1","row":0',
    ),
    "python": (
        r"not seen in training: store_nbr \['99'\]\n.*"
        r"refused: row 0, date: '16.08.2017' is not a date such as",
        "4500 predictions",
        rf"[0-9a-f-]{{36}} \[{NUMBER}\]",
        r"order-4711 \w+ prediction \[.*order-4711 \w+ quantile \[",
        r"order-4711 \w+ stable",
    ),
    "js": (
        r"predictions: \[.*refused: 400 store_nbr row 0: field 'store_nbr' must be a whole number from 1",
        r"\w+ prediction \[.*\w+ quantile \[",
    ),
}
CASES = [
    pytest.param(language, text, promised, id=f"{language}-{place}")
    for language, promises in PROMISED.items()
    for place, (text, promised) in enumerate(
        zip([block for found, block in BLOCKS if found == language], promises, strict=True)
    )
]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with running(small_sales(), "sales-forecast") as found:
        yield found


def run(language: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    name = {"sh": "block.sh", "python": "block.py", "js": "block.mjs"}[language]
    program = {"sh": "bash", "python": sys.executable, "js": "node"}[language]
    (folder / name).write_text(text, encoding="utf-8")
    return subprocess.run(
        [program, name],
        cwd=folder,
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_each_block_is_of_a_language_that_is_tried() -> None:
    assert {language for language, _ in BLOCKS} == PROMISED.keys()


@pytest.mark.parametrize(("language", "text", "promised"), CASES)
def test_a_block_does_what_the_page_says(
    language: str, text: str, promised: str, server: Running, tmp_path: Path
) -> None:
    needed = {"sh": "curl", "python": sys.executable, "js": "node"}[language]
    if shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed")
    assert "http://localhost:8080" in text
    done = run(language, text.replace("http://localhost:8080", server.url), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(promised, done.stdout, re.DOTALL), done.stdout


def test_a_page_of_another_origin_is_not_let_in_as_the_page_says(server: Running) -> None:
    headers = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    asked = requests.options(f"{server.url}/v1/models/sales-forecast:predict", headers=headers, timeout=10)
    assert asked.status_code == 405
    sent = server.v1([{"date": "2017-08-16", "store_nbr": 3, "item_nbr": 103665}], headers=headers)
    assert sent.status_code == 200
    assert not [
        name for name in {**asked.headers, **sent.headers} if name.lower().startswith("access-control")
    ]


def test_the_limits_are_those_of_the_page(server: Running) -> None:
    metadata = server.get("/v2/models/sales-forecast").json()
    assert metadata["limits"] == {"body_bytes": 16 * 2**20, "rows": 10_000}
