"""The command line: help without imports, exit codes, one line an error."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from cd4ml.cli.main import NOUNS, main


def test_help_lists_every_noun(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(noun in shown for noun in NOUNS)


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_every_command_has_an_example_in_its_help(noun):
    import importlib

    module = importlib.import_module(f"cd4ml.cli.{noun}")
    functions = (
        [module.command]
        if hasattr(module, "command")
        else [c.callback for c in module.app.registered_commands]
    )
    assert functions
    for function in functions:
        assert "Example: cd4ml" in function.__doc__, function.__name__


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("cd4ml ")


def test_wrong_use_is_exit_code_2(capsys):
    assert main(["modles"]) == 2
    assert main(["problem", "chek"]) == 2
    assert main(["problem", "check", "no-such-problem"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_an_error_is_one_line_and_debug_shows_the_traceback(tmp_path):
    command = [sys.executable, "-m", "cd4ml.cli", "problem", "check", str(tmp_path)]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert plain.stderr.count("\n") == 1
    assert plain.stderr.startswith("error: expected a problem file")
    debug = subprocess.run(
        [*command[:3], "--debug", *command[3:]], capture_output=True, text=True, check=False
    )
    assert "Traceback" in debug.stderr


def test_json_is_all_that_stdout_has(capsys):
    assert main(["problem", "check", "bike-demand", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bike-demand"


def test_starting_up_imports_nothing_heavy():
    code = (
        "import sys; from cd4ml.cli.main import main; main(['--version']); main(['problem', 'list']);"
        "print([m for m in ('polars','duckdb','sklearn','kfp','pandas','minio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip().endswith("[]")


def test_ctrl_c_ends_a_command_with_one_line(tmp_path):
    """Of a simulation that would take minutes; what it wrote aside is removed."""
    words = ["data", "simulate", "--rows", "50000000", "--out", str(tmp_path / "shop")]
    # A background process of some shells ignores SIGINT, and a child would inherit that.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
    code += "from cd4ml.cli.main import main; sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any((tmp_path / "shop").glob(".*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert [line for line in said.splitlines() if line] == [
        "stopped; nothing half-made is kept, and the same command goes on from what was done"
    ]
    assert not (tmp_path / "shop" / "train.csv").exists()
