"""`cd4ml problem`: check, draft, schema."""

import json
import os
from pathlib import Path

import pytest

from cd4ml.adapters.problem_files import load
from cd4ml.cli.main import main


def test_check_says_what_was_found(capsys):
    assert main(["problem", "check", "sales-forecast"]) == 0
    assert "regression, 6 tables" in capsys.readouterr().out


def test_list_and_show_agree(capsys):
    assert main(["problem", "list", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert main(["problem", "show", sorted(names)[0]]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == sorted(names)[0]


def test_the_schema_accepts_the_normal_form_and_refuses_an_unknown_key(capsys):
    import jsonschema

    assert main(["problem", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    document = load("bike-demand").model_dump(mode="json")
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "horizn": "1d"}, schema)


def test_init_drafts_a_classification_that_is_right(tmp_path, capsys):
    rows = "\n".join(f"{i},{'ab'[i % 2]},{i * 0.5},{'yes' if i % 3 else 'no'}" for i in range(200))
    (tmp_path / "loans.csv").write_text(f"id,job,amount,repaid\n{rows}\n")
    out = tmp_path / "loans.yaml"
    assert (
        main(["problem", "init", str(tmp_path / "loans.csv"), "--target", "repaid", "--out", str(out)]) == 0
    )
    problem = load(str(out))
    assert problem.task == "classification"
    assert problem.target.positive == "yes"
    assert {feature.kind for feature in problem.features} == {"columns", "category"}


def test_init_drafts_a_forecast_that_is_right(tmp_path):
    days = [f"2024-{m:02d}-{d:02d}" for m in range(1, 7) for d in range(1, 29)]
    rows = "\n".join(f"{day},{shop},{i % 7}" for i, day in enumerate(days) for shop in "AB")
    (tmp_path / "sales.csv").write_text(f"day,shop,units\n{rows}\n")
    out = tmp_path / "sales.yaml"
    arguments = [
        "--target",
        "units",
        "--time",
        "day",
        "--entity",
        "shop",
        "--horizon",
        "7d",
        "--out",
        str(out),
    ]
    assert main(["problem", "init", str(tmp_path / "sales.csv"), *arguments]) == 0
    problem = load(str(out))
    assert (problem.time.column, problem.entity, problem.split.kind) == ("day", ["shop"], "time")


@pytest.mark.parametrize(
    ("content", "arguments", "code"),
    [
        ("a,b\n", ["--target", "b"], 4),
        ("a,b\n1,2\n", ["--target", "c"], 2),
        ("a,b\nx,p\ny,q\nz,r\n", ["--target", "b"], 2),
        ("a,b\n1,2\n2,3\n3,4\n", ["--target", "b", "--time", "a"], 2),
    ],
)
def test_init_refuses_what_it_cannot_use_in_one_line(tmp_path, capsys, content, arguments, code):
    (tmp_path / "s.csv").write_text(content)
    assert main(["problem", "init", str(tmp_path / "s.csv"), *arguments]) == code
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "Traceback" not in shown


def test_init_overwrites_nothing(tmp_path, capsys):
    (tmp_path / "s.csv").write_text("a,b\n1,2\n2,3\n3,4\n")
    (tmp_path / "s.yaml").write_text("mine")
    arguments = [
        "problem",
        "init",
        str(tmp_path / "s.csv"),
        "--target",
        "b",
        "--out",
        str(tmp_path / "s.yaml"),
    ]
    assert main(arguments) == 2
    assert (tmp_path / "s.yaml").read_text() == "mine"


@pytest.mark.skipif("CD4ML_TEST_DATA" not in os.environ, reason="needs CD4ML_TEST_DATA")
@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("bike/hour.csv", ["--target", "cnt"]),
        (
            "dominicks_oj/oj-train.csv",
            ["--target", "Quantity", "--time", "WeekStarting", "--entity", "Store"],
        ),
    ],
)
def test_init_drafts_real_tables(tmp_path, file, arguments):
    sample = Path(os.environ["CD4ML_TEST_DATA"]) / file
    out = tmp_path / "draft.yaml"
    assert main(["problem", "init", str(sample), *arguments, "--out", str(out)]) == 0
    assert load(str(out)).tables
