"""The program of docs/as-data.md, run as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.models.follow_samples import event_server, expected, registry_with, rows, variant

PAGE = Path(__file__).parents[2] / "docs/as-data.md"


def program() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def test_the_program_of_the_page_predicts_and_follows_an_alias(tmp_path: Path) -> None:
    registry = registry_with(tmp_path / "store", variant(15), variant(5))
    (tmp_path / "consumer.py").write_text(program())
    with event_server(tmp_path / "store") as server:
        process = subprocess.Popen(
            [sys.executable, "consumer.py", "shop@champion", server.url],
            cwd=tmp_path,
            env={**os.environ, "CD4ML_STORE": str(tmp_path / "store")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        for version, trees in ((1, 15), (2, 5)):
            assert process.stderr.readline() == f"now version {version}\n"
            process.stdin.write(json.dumps(rows(1)[0]) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert answer == {"prediction": expected(trees, 1)[0], "version": version}
            registry.set_alias("shop", "champion", 2)
        _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert rest == ""


def test_the_event_on_the_page_is_one_that_is_told(tmp_path: Path) -> None:
    from cd4ml.adapters.registry_events import events_since

    (shown,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    registry = registry_with(tmp_path / "store", variant(15))
    told = events_since(registry, "shop")[0][-1].to_dict()
    assert json.loads(shown).keys() == told.keys()
