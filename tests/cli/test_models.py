"""`cd4ml models`: bundles and the registry on the command line."""

import json
import stat

import pytest

from cd4ml.adapters.manifest import bundle_id
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.signing import SIGNING_KEY, VERIFY_KEY
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from tests.adapters.s3_server import environment
from tests.adapters.samples import make_bundle

PLAIN = {SIGNING_KEY: None, VERIFY_KEY: None, "GITHUB_ACTOR": None, "CD4ML_ACTOR": None, "USER": "ann"}


@pytest.fixture(autouse=True)
def registry(tmp_path):
    with environment(CD4ML_STORE=str(tmp_path / "store"), **PLAIN):
        yield Registry(FolderStorage(tmp_path / "store"))


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "out/bundle")


@pytest.fixture
def two(registry, bundle, tmp_path):
    registry.push(bundle, "shop", "accept")
    other = make_bundle(tmp_path / "other", "another model", snapshot="6" * 64)
    registry.push(other, "shop", "reject")
    return registry


def verdict(bundle, decision="accept", of=None):
    path = bundle.parent / "verdict.json"
    path.write_text(json.dumps({"decision": decision, "subject": {"bundle": of or bundle_id(bundle)}}))
    return path


def test_push_gives_a_number_and_the_same_one_the_second_time(bundle, capsys, registry):
    verdict(bundle)
    assert main(["models", "push", str(bundle), "--name", "shop"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("shop@1  ")
    assert shown.out.strip().endswith(f"bundles/{bundle_id(bundle)}")
    assert "UNSIGNED" in shown.err
    assert main(["models", "push", str(bundle), "-n", "shop", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["verdict"]) == (1, "accept")
    assert len(registry.versions("shop")) == 1


def test_push_without_a_verdict_is_said_and_with_one_of_another_bundle_refused(bundle, capsys):
    assert main(["models", "push", str(bundle), "-n", "shop"]) == 0
    assert "no verdict beside" in capsys.readouterr().err
    path = verdict(bundle, of="f" * 64)
    assert main(["models", "push", str(bundle), "-n", "shop"]) == 4
    assert "judges the bundle ffffffffffff" in capsys.readouterr().err
    assert (
        main(["models", "push", str(bundle), "-n", "shop", "--verdict", str(path.parent / "none.json")]) == 2
    )


def test_push_signs_with_the_key_that_is_set_and_verify_asks_for_it(bundle, capsys, tmp_path):
    assert main(["models", "keys", "--out", str(tmp_path / "keys")]) == 0
    assert f"export {SIGNING_KEY}=" in capsys.readouterr().out
    private, public = tmp_path / "keys/private.pem", tmp_path / "keys/public.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert main(["models", "keys", "--out", str(tmp_path / "keys")]) == 2
    with environment(**{VERIFY_KEY: str(public)}):
        assert main(["models", "verify", str(bundle)]) == 4
        with environment(**{SIGNING_KEY: str(private)}):
            assert main(["models", "push", str(bundle), "-n", "shop"]) == 0
        capsys.readouterr()
        assert main(["models", "verify", "shop", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["signature"] == "valid"
        (bundle / "manifest.json.sig").write_text("{}")
        assert main(["models", "verify", str(bundle)]) == 4
        assert "manifest.json.sig" in capsys.readouterr().err


def test_verify_counts_the_files_and_says_that_nobody_signed(bundle, capsys):
    assert main(["models", "verify", str(bundle)]) == 0
    shown = capsys.readouterr()
    assert f"4 files, bundle {bundle_id(bundle)[:12]}, signature: unsigned" in shown.out
    assert "UNSIGNED" in shown.err


def test_one_changed_byte_anywhere_fails_verify_with_the_name_of_the_file(bundle, capsys):
    paths = sorted(path for path in bundle.rglob("*") if path.is_file())
    assert len(paths) == 5
    for path in paths:
        data = path.read_bytes()
        for place in {*range(0, len(data), 61), len(data) - 1}:
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            assert main(["models", "verify", str(bundle)]) == 4, (path.name, place)
            assert f"'{path.relative_to(bundle)}'" in capsys.readouterr().err, (path.name, place)
        path.write_bytes(data)
    assert main(["models", "verify", str(bundle)]) == 0


def test_a_missing_and_an_additional_file_fail_verify_by_name(bundle, capsys):
    (bundle / "more").write_text("")
    assert main(["models", "verify", str(bundle)]) == 4
    assert "'more' is additional" in capsys.readouterr().err
    (bundle / "more").unlink()
    (bundle / "features/state.json").unlink()
    assert main(["models", "verify", str(bundle)]) == 4
    assert "'features/state.json' is missing" in capsys.readouterr().err


def test_list_shows_versions_verdicts_and_aliases(two, capsys):
    two.set_alias("shop", "champion", 1)
    two.set_alias("shop", "proven", 1)
    assert main(["models", "list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1][:5] == ["shop", "1", "accept", "champion,", "proven"]
    assert rows[2][:4] == ["shop", "2", "reject", "-"]
    assert main(["models", "list", "shop", "--json"]) == 0
    assert [version["version"] for version in json.loads(capsys.readouterr().out)] == [1, 2]
    assert main(["models", "list", "shpo"]) == 2
    assert "did you mean 'shop'" in capsys.readouterr().err


def test_an_empty_registry_says_what_to_do(capsys):
    assert main(["models", "list"]) == 0
    assert "push one with 'cd4ml models push" in capsys.readouterr().out


def test_show_gives_the_record_of_a_version_and_of_a_folder(two, bundle, capsys):
    assert main(["models", "show", "shop@1"]) == 0
    assert bundle_id(bundle) in capsys.readouterr().out
    assert main(["models", "show", str(bundle), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bundle"] == bundle_id(bundle)
    assert found["metrics"]["wape"]["estimate"] == 0.25


def test_pull_writes_the_bundle(two, bundle, capsys, tmp_path):
    folder = tmp_path / "pulled"
    assert main(["models", "pull", "shop@1", "--out", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    assert bundle_id(folder) == bundle_id(bundle)
    assert main(["models", "pull", str(bundle), "--out", str(folder)]) == 2
    assert "is a folder" in capsys.readouterr().err


def test_lineage_goes_from_the_snapshot_to_the_bundle(two, bundle, capsys):
    assert main(["models", "lineage", "shop@1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["snapshot: " + "5" * 64, "  |", "git:", "  | branch = main"]
    assert lines[-1] == f"bundle: {bundle_id(bundle)}"
    assert main(["models", "lineage", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == [7]
    (bundle / "lineage.json").unlink()
    assert main(["models", "lineage", str(bundle)]) == 2


def test_compare_shows_what_differs_between_versions(two, capsys):
    assert main(["models", "compare", "shop@1", "shop@2"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["what", "shop@1", "shop@2"]
    assert ["verdict", "accept", "reject"] in rows
    assert main(["models", "compare", "shop@1", "shop@1"]) == 0
    assert "do not differ" in capsys.readouterr().out
    assert main(["models", "compare", "shop@1", "shop@2", "--json"]) == 0
    names = [row["name"] for row in json.loads(capsys.readouterr().out)]
    assert names == ["bundle", "lineage.snapshot", "verdict"]


def test_an_alias_moves_to_an_accepted_version_and_is_kept_in_the_history(two, capsys):
    assert main(["models", "alias", "shop@1", "champion", "--expected", "0", "--reason", "first"]) == 0
    assert capsys.readouterr().out == "shop: champion - -> 1\n"
    assert main(["models", "alias", "shop"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "champion: 1"
    assert shown[-1].split()[1:] == ["champion", "-", "1", "ann", "first"]
    assert main(["models", "alias", "shop", "champion", "--remove", "--by", "bob", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["from"], found["to"], found["by"]) == (1, None, "bob")
    assert two.aliases("shop") == {}


def test_an_alias_that_was_moved_meanwhile_is_exit_code_6(two, capsys):
    two.set_alias("shop", "champion", 1)
    assert main(["models", "alias", "shop@1", "champion", "--expected", "0"]) == 6
    assert "moved by somebody else" in capsys.readouterr().err
    assert len(two.history("shop")) == 1


def test_a_rejected_version_takes_an_alias_only_by_force_and_with_a_reason(two, capsys):
    assert main(["models", "alias", "shop@2", "champion"]) == 3
    assert "has the verdict 'reject'" in capsys.readouterr().err
    assert main(["models", "alias", "shop@2", "champion", "--force"]) == 2
    assert "--force needs a --reason" in capsys.readouterr().err
    assert two.aliases("shop") == {}
    assert main(["models", "alias", "shop@2", "champion", "--force", "--reason", "a drill"]) == 0
    assert two.history("shop")[-1].reason == "a drill"


def test_aliases_of_a_model_without_any(two, capsys):
    assert main(["models", "alias", "shop"]) == 0
    assert capsys.readouterr().out == "'shop' has no aliases\n"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("no/such/folder", "is no folder"),
        ("~nobody-has-this-name/x", "is no folder"),
        ("", "is no folder"),
        ("shop@", "lacks what follows '@'"),
        ("shop@9", "no version '9'"),
    ],
)
def test_a_reference_to_nothing_is_one_line(two, capsys, reference, said):
    assert main(["models", "show", reference]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
