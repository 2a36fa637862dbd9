"""The reference pages say what the code has."""

from __future__ import annotations

import re

import pytest

from cd4ml.cli.main import NOUNS
from scripts import generate_commands, generate_errors, generate_metrics, generate_records
from scripts.generate_reference import components_page
from tests.docs.commands import commands, complaint


def test_each_command_is_there_with_each_of_its_options() -> None:
    page = generate_commands.render()
    sections = dict(re.findall(r"^##+ (cd4ml [^\n]*)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL))
    assert {name.split()[1] for name in sections} == NOUNS.keys()
    for name, command in generate_commands.commands():
        told = re.findall(r"`(-[^`]*)`", sections[name])
        wanted = [
            word
            for one in command.params
            if one.param_type_name == "option" and not one.hidden
            for word in one.opts
        ]
        assert set(wanted) - set(told) - {"--help"} == set()


def test_each_example_of_a_help_text_is_a_command_that_exists() -> None:
    examples = re.findall(r"^Examples?: `(.*)`$", generate_commands.render(), re.MULTILINE)
    assert len(examples) > 40
    found = [(text, complaint(words)) for text in examples for words in commands(text)]
    assert [one for one in found if one[1]] == []


def test_each_exit_code_has_words() -> None:
    page = generate_errors.render()
    assert "| 5 | a rollout was taken back |" in page
    assert "| `ConflictError` | `ServiceError` | 6 |" in page
    assert "| 413 | `too_large` |" in page


def test_each_metric_is_there_with_its_labels() -> None:
    page = generate_metrics.render()
    line = "| `cd4ml_requests_total` | counter | `model`, `version`, `variant`, `protocol`, `outcome` |"
    assert line in page
    assert "| `Cd4mlEventsDropped` | at once | warning |" in page


def test_the_fields_of_a_line_are_those_that_the_code_writes() -> None:
    page = generate_records.render()
    assert "| `actual` | What came true" in page
    with pytest.raises(ValueError, match=r"Outcomes: the code writes \['id', 'new'\]"):
        generate_records._section("Outcomes", {"id": ""}, ["id", "new"], "")


def test_a_component_of_an_unknown_stage_is_refused() -> None:
    text = "# one\n\n<!-- Generated. -->\n\nDoes it.\n\n## Inputs\n\n## Use\n\n```python\n```\n"
    page = components_page({"components/data/one/README.md": text})
    assert "### one\n\nDoes it.\n\n**Inputs**" in page
    assert "Use" not in page
    with pytest.raises(ValueError, match="magic"):
        components_page({"components/magic/one/README.md": text})
