"""The step that holds a bundle against its consumers and against the champion's serving contract."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cd4ml.adapters.consumer_files import ConsumerStore
from cd4ml.adapters.manifest import bundle_id, write_manifest
from cd4ml.adapters.registry import Registry
from cd4ml.adapters.storage import FolderStorage
from cd4ml.domain.gates import Gate
from cd4ml.domain.judge import decide
from cd4ml.errors import IntegrityError
from cd4ml.models.consumers import draft_contract
from cd4ml.steps.consumers import check_consumers
from tests.models.bundles import bundle, copy, document


class Place:
    """A store with a champion, and a challenger to check."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.storage = FolderStorage(folder / "store")
        self.consumers = ConsumerStore(self.storage)
        self.challenger = copy(name, folder / "challenger")
        self.champion({"status": "first_release", "reason": "no version has the alias 'champion'"})

    def champion(self, about: dict[str, Any]) -> None:
        (self.folder / "champion").mkdir(exist_ok=True)
        (self.folder / "champion" / "champion.json").write_text(json.dumps(about))

    def release(self) -> str:
        """Make the plain bundle the champion."""
        found = Registry(self.storage).push(bundle(self.name), "shop", "accept").bundle
        self.champion({"status": "scored", "bundle": found, "name": "shop", "version": 1})
        return found

    def commit(self, consumer: str, **parts: Any) -> None:
        contract = replace(draft_contract(bundle(self.name), consumer, "ann", requests=2), **parts)
        self.consumers.add(contract, by="ann")

    def bend(self, change: Any) -> None:
        """Change the serving contract of the challenger."""
        found = document(self.challenger, "contract.json")
        change(found)
        (self.challenger / "contract.json").write_text(json.dumps(found))
        write_manifest(self.challenger, format="1")

    def check(self) -> tuple[dict[str, float], dict[str, Gate]]:
        out = self.folder / "out"
        paths = (self.challenger / "problem.json", self.challenger, str(self.folder / "store"))
        numbers = check_consumers(*paths, self.folder / "champion", out)
        self.found = document(out, "consumers.json")
        return numbers, {gate["name"]: Gate.from_dict(gate) for gate in self.found["gates"]}


@pytest.fixture
def shop(tmp_path: Path) -> Place:
    return Place(tmp_path, "shop")


@pytest.fixture
def people(tmp_path: Path) -> Place:
    return Place(tmp_path, "people")


def statuses(gates: dict[str, Gate]) -> dict[str, str]:
    return {name: gate.status for name, gate in gates.items()}


def test_a_first_release_without_consumers_has_nothing_to_break_and_says_so(shop: Place) -> None:
    numbers, gates = shop.check()
    assert set(statuses(gates).values()) == {"skipped"}
    assert numbers == {"consumers": 0.0, "consumers_broken": 0.0, "schema_breaking_changes": 0.0}
    assert gates["schema:backward"].reason == "no version has the alias 'champion'"
    assert shop.found["schema"]["status"] == "first_release"
    assert not any(gate.required for gate in gates.values())


@pytest.mark.parametrize("name", ["shop", "people"])
def test_the_champion_again_passes_for_everybody(name: str, tmp_path: Path) -> None:
    place = Place(tmp_path, name)
    champion = place.release()
    place.commit("planner")
    numbers, gates = place.check()
    assert statuses(gates) == {
        "consumer:planner": "pass",
        "schema:backward": "pass",
        "schema:forward": "pass",
    }
    assert numbers["consumers"] == 1.0
    assert place.found["schema"] == {"status": "compared", "champion": champion, "reason": "", "changes": []}
    assert place.found["bundle"] == bundle_id(place.challenger)
    assert decide(gates.values()) == "accept"


def test_a_new_required_input_fails_with_the_names_of_the_consumers_who_do_not_send_it(shop: Place) -> None:
    shop.release()
    shop.commit("planner")
    shop.commit("zoo")
    old = document(bundle("shop"), "contract.json")["inputs"]["properties"]["weather"]

    def bend(found: dict[str, Any]) -> None:
        found["inputs"]["properties"]["forecast"] = {**old, "nullable": False}

    shop.bend(bend)
    numbers, gates = shop.check()
    assert statuses(gates) == {
        "consumer:planner": "fail",
        "consumer:zoo": "fail",
        "schema:backward": "fail",
        "schema:forward": "warn",
    }
    assert numbers == {"consumers": 2.0, "consumers_broken": 2.0, "schema_breaking_changes": 1.0}
    assert "breaks consumer 'planner' (owner: ann)" in gates["consumer:planner"].reason
    assert gates["schema:backward"].reason.startswith(
        "breaks planner, zoo: input 'forecast' is new and required"
    )
    assert decide(gates.values()) == "reject"


def test_a_narrower_input_breaks_only_the_consumer_who_sends_more(shop: Place) -> None:
    shop.release()
    shop.commit("planner")
    contract = draft_contract(bundle("shop"), "quiet", "bob", requests=1)
    row = {**contract.requests[0].row, "visitors": 3}
    shop.consumers.add(replace(contract, requests=(replace(contract.requests[0], row=row),)), by="bob")
    shop.bend(lambda found: found["inputs"]["properties"]["visitors"].update(maximum=10))
    _, gates = shop.check()
    assert gates["consumer:quiet"].status == "pass"
    assert gates["consumer:planner"].status == "fail"
    assert "field 'visitors' must be a whole number from 0 up to 10" in gates["consumer:planner"].reason
    assert gates["schema:backward"].reason.startswith(
        "breaks planner: input 'visitors': maximum was open and is 10"
    )
    assert "(sent by planner, quiet)" in gates["schema:backward"].reason


def test_a_narrower_input_that_no_consumer_feels_needs_a_person(shop: Place) -> None:
    shop.release()
    shop.commit("planner")
    shop.bend(lambda found: found["inputs"]["properties"]["visitors"].update(maximum=1000))
    _, gates = shop.check()
    assert statuses(gates) == {
        "consumer:planner": "pass",
        "schema:backward": "warn",
        "schema:forward": "pass",
    }
    assert decide(gates.values(), "only_if_warn") == "needs_approval"
    shop.consumers.remove("corner-shop", "planner", by="ann", reason="retired")
    _, gates = shop.check()
    assert gates["schema:backward"].status == "fail"


def test_a_value_that_training_saw_no_more_only_warns_where_nobody_sends_it(people: Place) -> None:
    people.release()
    people.bend(lambda found: found["inputs"]["properties"]["plan"]["enum"].remove("old"))
    _, gates = people.check()
    assert gates["schema:backward"].status == "warn"
    assert "input 'plan' no longer takes old; training saw them no more" in gates["schema:backward"].reason
    people.commit("planner", requests=draft_contract(bundle("people"), "x", "y", requests=40).requests)
    _, gates = people.check()
    assert gates["schema:backward"].status == "fail" == gates["consumer:planner"].status


def test_a_contract_that_cannot_be_read_fails_with_its_consumers_name(shop: Place) -> None:
    shop.commit("planner")
    shop.storage.put("consumers/corner-shop/planner.json", b"{")
    numbers, gates = shop.check()
    assert gates["consumer:planner"].status == "fail"
    assert "consumer 'planner': its contract cannot be read" in gates["consumer:planner"].reason
    assert numbers["consumers_broken"] == 1.0


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"status": "unreadable", "reason": "its bundle is gone"}, "its bundle is gone"),
        ({"status": "scored"}, "names no bundle"),
        ({"status": "scored", "bundle": "f" * 64}, "f" * 64),
    ],
)
def test_a_champion_that_cannot_be_read_fails_closed(shop: Place, about: dict[str, Any], told: str) -> None:
    shop.champion(about)
    _, gates = shop.check()
    assert statuses(gates) == {"consumers": "skipped", "schema:backward": "fail", "schema:forward": "fail"}
    assert told in gates["schema:backward"].reason
    assert shop.found["schema"]["status"] == "unreadable"


def test_an_altered_contract_of_the_champion_fails_closed(shop: Place) -> None:
    champion = shop.release()
    shop.storage.put(f"bundles/{champion}/contract.json", b"{}")
    _, gates = shop.check()
    assert gates["schema:backward"].status == "fail"
    assert "not what its manifest promises" in gates["schema:backward"].reason


def test_a_step_without_the_one_before_is_one_line(shop: Place) -> None:
    (shop.folder / "champion" / "champion.json").unlink()
    with pytest.raises(IntegrityError, match=r"expected champion.json"):
        shop.check()


def test_a_champion_that_cannot_be_scored_is_still_compared_where_its_contract_is_there(shop: Place) -> None:
    champion = shop.release()
    shop.champion({"status": "unreadable", "bundle": champion, "reason": "it needs the column 'x'"})
    shop.bend(lambda found: found["inputs"]["properties"].pop("weather"))
    _, gates = shop.check()
    assert gates["schema:backward"].reason.startswith(
        "breaks callers of the champion: input 'weather' is gone"
    )
    assert shop.found["schema"]["status"] == "compared"
