"""`cd4ml consumers`: draft, add, list, show, check and remove contracts on the command line."""

import json
from pathlib import Path

import pytest

from cd4ml.adapters.consumer_files import load
from cd4ml.adapters.manifest import write_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage
from cd4ml.cli.main import main
from tests.adapters.s3_server import environment
from tests.models.bundles import bundle, copy, document


class Desk:
    """The command, with a store and a drafted contract."""

    def __init__(self, folder, capsys):
        self.folder, self.capsys = folder, capsys
        self.file = folder / "planner.yaml"
        self.model = str(bundle("shop"))

    def run(self, *words, code=0):
        assert main(["consumers", *map(str, words)]) == code
        return self.capsys.readouterr()

    def json(self, *words, code=0):
        return json.loads(self.run(*words, "--json", code=code).out)

    def draft(self, *words):
        names = ("--consumer", "planner", "--owner", "ann@example.com")
        return self.run("init", self.model, *names, *words)

    def bent(self, change):
        """Return a bundle whose serving contract was changed."""
        folder = copy("shop", self.folder / "bent")
        found = document(folder, "contract.json")
        change(found)
        (folder / "contract.json").write_text(json.dumps(found))
        write_manifest(folder, format="1")
        return folder


@pytest.fixture
def desk(tmp_path, capsys):
    with environment(CD4ML_STORE=str(tmp_path / "store"), CD4ML_ACTOR="carl", CD4ML_VERIFY_KEY=None):
        yield Desk(tmp_path, capsys)


def test_a_draft_goes_to_standard_output_or_to_a_new_file(desk):
    text = desk.draft("--rows", "3").out
    desk.file.write_text(text)
    assert len(load(desk.file).requests) == 3
    assert load(desk.file).relies_on.tolerance is None
    assert "exists" in run_again(desk)
    desk.file.unlink()
    shown = desk.draft("--relative", "0.2", "--out", desk.file)
    assert shown.out == "" and f"cd4ml consumers add {desk.file}" in shown.err
    assert load(desk.file).relies_on.tolerance.relative == 0.2
    assert load(desk.file).owner == "ann@example.com"


def run_again(desk):
    words = ("init", desk.model, "--consumer", "planner", "--owner", "ann", "--out", desk.file)
    return desk.run(*words, code=2).err


def test_a_name_that_is_none_is_one_line(desk):
    error = desk.run("init", desk.model, "--consumer", "My Planner", "--owner", "ann", code=2).err
    assert "expected a name such as 'shelf-planner'; found 'My Planner'" in error
    assert error.count("\n") == 1


def test_add_list_show_and_remove_keep_who_and_why(desk):
    desk.draft("--out", desk.file)
    assert desk.run("add", desk.file).out == "corner-shop: planner is at revision 1\n"
    assert desk.json("add", desk.file)["number"] == 1
    assert desk.run("list").out.splitlines()[1].split()[:5] == [
        "corner-shop",
        "planner",
        "ann@example.com",
        "5",
        "1",
    ]
    assert desk.json("list", "corner-shop")[0]["error"] is None
    assert desk.json("list", "people") == []
    shown = desk.folder / "shown.yaml"
    shown.write_text(desk.run("show", "corner-shop", "planner").out)
    assert load(shown) == load(desk.file)
    desk.run("remove", "corner-shop", "planner", "--reason", "retired", "--by", "dora")
    assert "no consumer has a contract" in desk.run("list").out
    assert "it has none; add one" in desk.run("show", "corner-shop", "planner", code=2).err
    desk.run("add", desk.file, "--reason", "back")
    history = desk.json("show", "corner-shop", "planner")["history"]
    assert [(entry["by"], entry["reason"]) for entry in history] == [
        ("carl", ""),
        ("dora", "retired"),
        ("carl", "back"),
    ]


def test_add_with_another_revision_than_expected_is_exit_code_6(desk):
    desk.draft("--out", desk.file)
    desk.run("add", desk.file, "--expected", "0")
    desk.file.write_text(desk.file.read_text().replace("ann@example.com", "bob"))
    assert "at revision 0 and is at 1" in desk.run("add", desk.file, "--expected", "0", code=6).err
    assert desk.json("show", "corner-shop", "planner")["contract"]["owner"] == "ann@example.com"


def test_a_wrong_file_is_named_with_line_and_key(desk):
    desk.draft("--out", desk.file)
    desk.file.write_text(desk.file.read_text().replace("owner:", "owned:"))
    error = desk.run("add", desk.file, code=2).err
    assert f"{desk.file}:8: unknown key 'owned'; did you mean 'owner'?" in error.replace("`owned`: ", "")
    assert "No such file" in desk.run("add", desk.folder / "none.yaml", code=2).err


def test_a_model_that_keeps_all_contracts_is_exit_code_0(desk):
    assert "no consumer of corner-shop has committed a contract" in desk.run("check", desk.model).out
    desk.draft("--out", desk.file)
    desk.run("add", desk.file)
    shown = desk.run("check", desk.model)
    assert "consumer:planner" in shown.out and "schema" not in shown.out
    found = desk.json("check", desk.model)
    assert [check["status"] for check in found["checks"]] == ["pass"]
    assert found["schema"]["status"] == "not_compared"


def test_a_model_that_breaks_one_is_exit_code_3_with_the_consumers_name(desk):
    desk.draft("--out", desk.file)
    desk.run("add", desk.file)
    bent = desk.bent(lambda found: found["inputs"]["properties"].pop("price"))
    shown = desk.run("check", bent, code=3)
    assert shown.err.count("\n") == 1
    assert "this model breaks consumer 'planner' (owner: ann@example.com)" in shown.err
    assert "unknown field 'price'" in shown.err
    assert desk.json("check", bent, code=3)["checks"][0]["status"] == "fail"


def test_a_file_is_checked_before_it_is_added(desk):
    desk.draft("--out", desk.file)
    text = desk.file.read_text().replace("relies_on:", "relies_on:\n  accepts_null: [visitors]", 1)
    desk.file.write_text(text)
    error = desk.run("check", desk.model, "--file", desk.file, code=3).err
    assert "request 1 with null 'visitors'" in error
    assert desk.run("check", desk.model).out.startswith(f"{desk.model}: no consumer of corner-shop")


def test_the_serving_contract_is_compared_with_the_champions(desk):
    registry = Registry(FolderStorage(desk.folder / "store"))
    registry.push(Path(desk.model), "shop", "accept")
    registry.set_alias("shop", "champion", 1)
    assert (
        "whoever calls the champion may call this model"
        in desk.run("check", desk.model, "--against", "shop@champion").out
    )
    bent = desk.bent(lambda found: found["inputs"]["properties"]["visitors"].update(maximum=50))
    shown = desk.run("check", bent, "--against", "shop@champion", code=3)
    assert "breaks callers of the champion: input 'visitors': maximum was open and is 50" in shown.err


def test_a_contract_that_cannot_be_read_is_listed_with_why_and_breaks_every_model(desk):
    desk.draft("--out", desk.file)
    desk.run("add", desk.file)
    (desk.folder / "store/consumers/corner-shop/planner.json").write_text("{}")
    assert "is not as it was written" in desk.json("list")[0]["error"]
    assert "consumer 'planner': its contract cannot be read" in desk.run("check", desk.model, code=3).err


def test_an_altered_bundle_is_refused(desk):
    folder = copy("shop", desk.folder / "altered")
    (folder / "contract.json").write_text("{}")
    assert "'contract.json' was changed" in desk.run("check", folder, code=4).err
