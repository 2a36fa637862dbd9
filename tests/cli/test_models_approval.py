"""`cd4ml models approve`, `reject`, and what they let an alias do."""

import json
from pathlib import Path

import pytest

from cd4ml.adapters.manifest import bundle_id
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY, generate_keypair
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from cd4ml.steps.approval import await_approval
from tests.adapters.s3_server import environment
from tests.steps.governed import make_governed, write_verdict

WHY = ["--reason", "seen"]
PLAIN = {SIGNING_KEY: None, VERIFY_KEY: None, "GITHUB_ACTOR": None, "CD4ML_ACTOR": None, "USER": "ann"}


@pytest.fixture(autouse=True)
def registry(tmp_path):
    with environment(CD4ML_STORE=str(tmp_path / "store"), **PLAIN):
        yield Registry(FolderStorage(tmp_path / "store"))


@pytest.fixture
def bundle(tmp_path, registry):
    bundle = make_governed(tmp_path / "run")
    registry.push(bundle, "shop", "needs_approval")
    return bundle


def champion(capsys):
    code = main(["models", "alias", "shop@1", "champion", "--reason", "go"])
    return code, capsys.readouterr().err


def test_an_approval_lets_the_champion_move_and_a_rejection_stops_it(bundle, capsys):
    code, said = champion(capsys)
    assert code == 3
    assert (
        f"the verdict is 'needs_approval' and nobody has decided on the bundle {bundle_id(bundle)[:12]}"
        in said
    )
    assert main(["models", "approve", "shop@1", *WHY]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"shop@1: bundle {bundle_id(bundle)[:12]} approved by ann, until ")
    assert "UNSIGNED: nobody vouches" in shown.err
    assert champion(capsys)[0] == 0
    assert main(["models", "alias", "shop", "champion", "--remove"]) == 0
    capsys.readouterr()
    assert main(["models", "reject", "shop@1", "--by", "bob", *WHY, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["choice"], found["by"], found["bundle"]) == ("reject", "bob", bundle_id(bundle))
    code, said = champion(capsys)
    assert (code, "was rejected by bob" in said) == (3, True)


def test_one_changed_byte_after_the_approval_is_exit_code_4(bundle, capsys, registry):
    assert main(["models", "approve", "shop@1", *WHY]) == 0
    stored = Path(registry.storage_uri(registry.get("shop"))) / "features/state.json"
    stored.write_text("[]")
    code, said = champion(capsys)
    assert (code, "'features/state.json' was changed" in said) == (4, True)
    assert registry.aliases("shop") == {}


def test_an_approval_is_not_for_another_version(bundle, capsys, registry, tmp_path):
    registry.push(make_governed(tmp_path / "other", "another model"), "shop", "needs_approval")
    assert main(["models", "approve", "shop@1", *WHY]) == 0
    assert main(["models", "alias", "shop@2", "champion"]) == 3
    assert "shop@2: the verdict is 'needs_approval' and nobody has decided" in capsys.readouterr().err
    assert main(["models", "alias", "shop@2", "champion", "--force", "--reason", "a drill"]) == 0
    assert main(["audit", "list", "--kind", "alias", "--json"]) == 0
    (line,) = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert (line["facts"]["forced"], line["facts"]["reason"], line["by"]) == (True, "a drill", "ann")


def test_a_folder_is_approved_with_the_verdict_beside_it(bundle, capsys):
    assert main(["models", "approve", str(bundle), *WHY]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("bike-demand: bundle ")
    assert shown[1] == "  answered for: bias:sex: the ratio is 0.9"
    elsewhere = bundle.parent / "verdict.json"
    elsewhere.rename(bundle.parent / "other.json")
    assert main(["models", "approve", str(bundle), *WHY]) == 2
    assert "no verdict.json beside" in capsys.readouterr().err
    assert main(["models", "approve", str(bundle), *WHY, "--verdict", str(bundle.parent / "other.json")]) == 0
    assert main(["models", "approve", str(bundle), *WHY, "--verdict", str(bundle.parent / "none.json")]) == 2
    write_verdict(bundle, "needs_approval", of="f" * 64)
    assert main(["models", "approve", str(bundle), *WHY]) == 4
    assert "judges the bundle ffffffffffff" in capsys.readouterr().err


def test_a_changed_bundle_a_rejected_one_and_silence_are_refused(bundle, capsys):
    assert main(["models", "approve", "shop@1"]) == 2
    assert "a decision needs a reason; say --reason" in capsys.readouterr().err
    with environment(USER=None):
        assert main(["models", "approve", "shop@1", *WHY]) == 2
    assert "a decision needs who decided; say --by" in capsys.readouterr().err
    write_verdict(bundle, "reject")
    assert main(["models", "approve", str(bundle), *WHY]) == 3
    assert "has the verdict 'reject'" in capsys.readouterr().err
    (bundle / "model.onnx").write_text("!")
    assert main(["models", "reject", str(bundle), *WHY]) == 4
    assert "'model.onnx' was changed" in capsys.readouterr().err


def test_a_signed_approval_needs_our_key(bundle, capsys, tmp_path, registry):
    private, public = generate_keypair()
    with environment(**{SIGNING_KEY: private}):
        assert main(["models", "push", str(bundle), "--name", "shop"]) == 0
        capsys.readouterr()
        assert main(["models", "approve", "shop@1", *WHY]) == 0
        assert capsys.readouterr().err == ""
        with environment(**{VERIFY_KEY: public}):
            assert champion(capsys)[0] == 0
    with environment(**{VERIFY_KEY: generate_keypair()[1]}):
        assert champion(capsys)[0] == 4
    with environment(**{VERIFY_KEY: public}):
        assert main(["models", "approve", "shop@1", *WHY]) == 2
        assert "an unsigned decision would not count" in capsys.readouterr().err


def test_what_waits_is_listed(bundle, capsys, tmp_path):
    assert main(["models", "approve"]) == 0
    assert capsys.readouterr().out == "nothing waits for an approval\n"
    run = bundle.parent
    assert await_approval(run / "problem.json", bundle, run / "verdict.json", "", 0) == "pending"
    assert main(["models", "approve"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:3] == ["bike-demand", bundle_id(bundle)[:12], "pending"]
    assert main(["models", "approve", str(bundle), *WHY]) == 0
    capsys.readouterr()
    assert main(["models", "approve", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
