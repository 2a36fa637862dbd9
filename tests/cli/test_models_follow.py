"""`cd4ml models events` and `follow` on the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from cd4ml.adapters.manifest import MANIFEST, bundle_id
from cd4ml.cli.main import main
from tests.adapters.s3_server import environment
from tests.models.follow_samples import registry_with, until, variant


@pytest.fixture
def registry(tmp_path):
    with environment(CD4ML_STORE=str(tmp_path / "store")):
        yield registry_with(tmp_path / "store", variant(15), variant(5))


def begin(tmp_path, *arguments):
    command = [sys.executable, "-c", "from cd4ml.cli.main import run; run()", "models", *arguments]
    environment = {**os.environ, "CD4ML_STORE": str(tmp_path / "store")}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    )


def end(process):
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    return process.returncode, out, err


def events(text):
    return [json.loads(line)["id"] for line in text.splitlines()]


def test_events_are_lines_of_json_from_any_cursor_on(registry, capsys):
    assert main(["models", "events", "shop"]) == 0
    shown = capsys.readouterr().out
    assert sorted(events(shown)) == ["alias-1", "version-1", "version-2"]
    assert main(["models", "events", "--since", "2.0"]) == 0
    assert events(capsys.readouterr().out) == ["alias-1"]
    assert main(["models", "events", "shop", "--since", "2.1"]) == 0
    assert capsys.readouterr().out == ""


def test_what_cannot_be_asked_for_is_one_line(registry, capsys):
    for arguments, code, said in (
        (["shopp"], 2, "no model 'shopp'"),
        (["shop", "--since", "x"], 2, "a cursor is"),
        (["shop", "--since", "9.9"], 2, "restored from an older copy"),
        (["shop", "--listen", "127.0.0.1:0"], 2, "leave out NAME"),
        (["--listen", "here"], 2, "HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], 2, "HOST:PORT"),
        (["--listen", "192.0.2.1:80"], 2, "cannot listen on"),
    ):
        assert main(["models", "events", *arguments]) == code
        assert said in capsys.readouterr().err


def test_follow_prints_events_as_they_happen_until_ctrl_c(registry, tmp_path):
    process = begin(tmp_path, "events", "--follow", "--poll-seconds", "0.02")
    first = [process.stdout.readline() for _ in range(3)]
    assert len(events("".join(first))) == 3
    registry.set_alias("shop", "champion", 2)
    assert events(process.stdout.readline()) == ["alias-2"]
    assert end(process)[0] == 130


def test_follow_ends_when_nobody_reads_any_more(registry, tmp_path):
    process = begin(tmp_path, "events", "--follow", "--poll-seconds", "0.02")
    process.stdout.readline()
    process.stdout.close()
    for number in (2, 1, 2, 1):
        registry.set_alias("shop", "champion", number)
    assert process.wait(20) == 0
    assert "Traceback" not in process.stderr.read()


def test_events_are_served_at_the_address_that_is_printed(registry, tmp_path):
    process = begin(tmp_path, "events", "--listen", "127.0.0.1:0")
    url = process.stdout.readline().strip()
    with requests.get(f"{url}/models/shop/events", stream=True, timeout=10) as found:
        assert b"event: state" in next(found.iter_content(200)) + next(found.iter_content(200))
    assert "no password" not in end(process)[2]


def test_once_fetches_the_newest_bundle_and_points_to_it(registry, tmp_path, capsys):
    out = tmp_path / "model"
    assert main(["models", "follow", "shop@champion", "--out", str(out), "--once"]) == 0
    shown = capsys.readouterr().out
    assert shown == f"shop@champion: version 1, bundle {bundle_id(variant(15))[:12]}, at {out}/current\n"
    assert bundle_id(out / "current") == bundle_id(variant(15))
    registry.set_alias("shop", "champion", 2)
    assert main(["models", "follow", "shop@champion", "-o", str(out), "--once", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["version"], one["from"]) for one in told] == [(1, None), (2, 1)]
    assert (out / "current").readlink() == Path("bundles") / bundle_id(variant(5))


def test_once_says_by_its_code_that_the_newest_version_was_not_taken(registry, tmp_path, capsys):
    out = tmp_path / "model"
    follow = ["models", "follow", "shop@champion", "--out", str(out), "--once"]
    assert main(follow) == 0
    registry.storage.put(f"bundles/{bundle_id(variant(5))}/{MANIFEST}", b"{}")
    registry.set_alias("shop", "champion", 2)
    assert main(follow) == 4
    assert "warning: shop@champion: version 2 was refused" in capsys.readouterr().err
    assert bundle_id(out / "current") == bundle_id(variant(15)), "the link stays"
    shutil.rmtree(tmp_path / "store")
    assert main(follow) != 0
    assert main(["models", "follow", "shop@champion", "--out", str(tmp_path / "new"), "--once"]) == 2
    assert "no model 'shop'" in capsys.readouterr().err


def test_the_base_installation_follows_and_says_what_predicting_and_listening_need(registry, tmp_path):
    script = """if True:
        import sys
        from cd4ml.models.replay import ImportGuard
        sys.meta_path.insert(0, ImportGuard(frozenset({"onnxruntime", "uvicorn", "kserve", "starlette"})))
        from cd4ml.cli.main import main
        from cd4ml.errors import UsageError
        from cd4ml.models.follow import ModelFollower
        print(main(["models", "follow", "shop@champion", "--out", sys.argv[1], "--once"]))
        print(main(["models", "events", "--listen", "127.0.0.1:0"]))
        try:
            ModelFollower("shop@champion", folder=sys.argv[1])
        except UsageError as error:
            print(error)
    """
    command = [sys.executable, "-c", script, str(tmp_path / "model")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lines = found.stdout.splitlines()
    assert lines[0].startswith("shop@champion: version 1")
    assert lines[1:3] == ["0", "2"]
    assert "pip install 'cd4ml[serve]'" in lines[3]
    assert "--listen needs a web server" in found.stderr


def test_follow_moves_the_link_until_ctrl_c(registry, tmp_path):
    process = begin(tmp_path, "follow", "shop@champion", "--out", "model", "--poll-seconds", "0.02")
    assert "version 1" in process.stdout.readline()
    registry.set_alias("shop", "champion", 2)
    assert "version 2" in process.stdout.readline()
    until(lambda: bundle_id(tmp_path / "model/current") == bundle_id(variant(5)))
    assert end(process)[0] == 130
