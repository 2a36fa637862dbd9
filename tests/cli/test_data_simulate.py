"""`cd4ml data simulate` writes a shop, tells what no forecast beats, refuses the impossible in one line."""

import json
import os
import pty
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from cd4ml.cli.data_simulate import simulate
from cd4ml.cli.main import main
from cd4ml.errors import NotFoundError, UsageError

app = typer.Typer()
app.command("simulate")(simulate)


@app.callback()
def data() -> None:
    """Stand in for the noun."""


def run(*words):
    return CliRunner().invoke(app, ["simulate", *map(str, words)])


def test_the_last_line_says_where_the_files_lie(tmp_path):
    result = run("--rows", 1500, "--days", 60, "--out", tmp_path / "shop", "--seed", 4)
    assert result.exit_code == 0, result.exception
    lines = result.stdout.splitlines()
    assert lines[0].startswith("1500 rows of ") and lines[0].endswith("2017-06-17 to 2017-08-15, seed 4")
    assert lines[-1].endswith(f"are in {tmp_path / 'shop'}")
    assert len(lines) == 2 and result.stderr == ""
    assert not (tmp_path / "shop" / "truth.json").exists()


def test_the_oracle_prints_the_irreducible_errors(tmp_path):
    result = run("--rows", 1500, "--days", 60, "--out", tmp_path, "--oracle", "--scenario", "drift")
    assert "no forecast beats, last 16 days, written rows: mae " in result.stdout
    assert "planted drift: first_date 2017-07-27" in result.stdout


def test_json_is_the_summary_and_nothing_else(tmp_path):
    words = (
        "--rows",
        3000,
        "--days",
        60,
        "--out",
        tmp_path,
        "--scenario",
        "drift",
        "--scenario",
        "bias",
        "--json",
    )
    result = run(*words)
    summary = json.loads(result.stdout)
    assert summary["rows"] == 3000 and sorted(summary["scenarios"]) == ["bias", "drift"]
    assert summary["irreducible_error"]["last_57_days"]["written"]["nwrmsle"] > 0


def test_the_truth_is_written_when_it_is_asked_for(tmp_path):
    printed = run("--rows", 1500, "--days", 60, "--out", tmp_path, "--truth", "--json")
    assert json.loads((tmp_path / "truth.json").read_text()) == json.loads(printed.stdout)


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (("--rows", 100), UsageError, "found 100 rows for 730 days: give more --rows"),
        (("--days", 5000), UsageError, "found 5000"),
        (("--scenario", "drft"), NotFoundError, "did you mean 'drift'"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(tmp_path, words, kind, message):
    result = run(*words, "--out", tmp_path / "shop")
    assert isinstance(result.exception, kind) and message in str(result.exception)
    assert not (tmp_path / "shop").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "shop").write_text("a file")
    result = run("--out", tmp_path / "shop")
    assert isinstance(result.exception, UsageError) and "expected a folder, found the file" in str(
        result.exception
    )


def test_help_names_each_option_and_ends_with_an_example():
    text = simulate.__doc__.strip().splitlines()
    assert text[-1].strip().startswith("Example: cd4ml data simulate")
    shown = run("--help").stdout
    for option in ("--rows", "--days", "--out", "--seed", "--scenario", "--oracle", "--truth", "--json"):
        assert option in shown


COMMAND = [sys.executable, "-m", "cd4ml.cli", "data", "simulate", "--rows", "3000", "--days", "60"]


def test_progress_is_drawn_on_a_terminal_and_stdout_stays_json(tmp_path):
    terminal, stderr = pty.openpty()
    words = [*COMMAND, "--out", str(tmp_path), "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stderr) as process:
        os.close(stderr)
        drawn = b""
        try:  # read while it draws: a terminal holds 4 kB, and a slow machine draws more
            while piece := os.read(terminal, 1 << 16):
                drawn += piece
        except OSError:  # how Linux tells the end of a terminal
            pass
        os.close(terminal)
        assert process.stdout is not None
        told = process.stdout.read()
    assert process.returncode == 0
    assert b"simulating" in drawn and b"100%" in drawn
    assert json.loads(told)["rows"] == 3000


def test_nothing_is_drawn_into_a_file(tmp_path):
    done = subprocess.run([*COMMAND, "--out", str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.startswith("3000 rows of ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--days", "5"], "error: expected 28 to 1688 days, found 5"),
        (["--seed", "-1"], "error: expected a seed of 0 or more, found -1"),
        (["--scenario", "drit"], "error: no scenario is called 'drit'; did you mean 'drift'?"),
    ],
)
def test_the_command_ends_with_2_and_one_line_when_it_is_used_wrongly(tmp_path, capsys, words, told):
    assert main(["data", "simulate", "--out", str(tmp_path / "shop"), *words]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(told) and complaint.count("\n") == 1


def test_the_command_is_there_and_ends_with_0(tmp_path, capsys):
    assert main(["data", "simulate", "--rows", "500", "--days", "40", "--out", str(tmp_path / "shop")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"are in {tmp_path / 'shop'}")
