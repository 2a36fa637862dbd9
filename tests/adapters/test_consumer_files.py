"""Consumers' contracts: read from files with line and key of what is wrong, kept in a store."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cd4ml.adapters.consumer_files import ConsumerStore, dumps, load, loads
from cd4ml.adapters.storage import Storage
from cd4ml.domain.consumer_contract import ConsumerContract, Range, Reliance, Request, Tolerance
from cd4ml.errors import ConflictError, IntegrityError, NotFoundError, ProblemError, UsageError
from tests.adapters.samples import at_once

TEXT = """\
consumer: shelf-planner
problem: bike-demand
owner: shelves@example.com
relies_on:
  outputs:
    prediction: {min: 0}
  tolerance: {relative: 0.2, share: 0.9}
  max_latency_ms: 20
  accepts_null: [windspeed]
requests:
  - row: {dteday: 2012-12-01, hr: 8, holiday: false, windspeed: null}
    answer: {prediction: 61.5}
  - name: at night
    row:
      dteday: 2012-12-01
      hr: 3
"""


def test_a_file_is_read_with_its_defaults_and_its_dates_stay_texts():
    contract = loads(TEXT)
    row = {"dteday": "2012-12-01", "hr": 8, "holiday": False, "windspeed": None}
    assert contract.requests == (
        Request(row, answer={"prediction": 61.5}),
        Request({"dteday": "2012-12-01", "hr": 3}, "at night"),
    )
    assert contract.relies_on == Reliance(
        {"prediction": Range(0, None)}, Tolerance(0, 0.2, 0.9), 20, accepts_null=("windspeed",)
    )
    least = "{consumer: a, problem: b, owner: c, requests: [{row: {d: 1}}]}"
    assert loads(least).relies_on == Reliance({"prediction": Range()})
    assert loads(json.dumps(contract.to_dict(), indent="\t")) == contract


@pytest.mark.parametrize(
    ("change", "line", "told"),
    [
        (("consumer: shelf-planner", "consumers: shelf-planner"), 1, "did you mean 'consumer'?"),
        (("shelf-planner", "Shelf Planner"), 1, "`consumer`: expected a name such as 'shelf-planner'"),
        (("relies_on:", "relies: "), 4, "unknown key 'relies'"),
        (("{min: 0}", "{minimum: 0}"), 6, "unknown key 'minimum'; did you mean 'min'?"),
        (("{min: 0}", "{min: 3, max: 2}"), 6, "`relies_on.outputs.prediction.min`: min 3 is above max 2"),
        (("{min: 0}", "{min: few}"), 6, "`relies_on.outputs.prediction.min`"),
        (("{min: 0}", "{min: .inf}"), 6, "finite number"),
        (("relative: 0.2", "relativ: 0.2"), 7, "did you mean 'relative'?"),
        (("share: 0.9", "share: 90"), 7, "`relies_on.tolerance.share`: expected a share above 0 and up to 1"),
        (("_ms: 20", "_ms: 0"), 8, "expected milliseconds above 0"),
        (("hr: 8", "hr: [8]"), 11, "`requests[0].row.hr`: expected a text, number"),
        (("hr: 8", "hr: .nan"), 11, "finite number; found nan"),
        (("    answer: {prediction: 61.5}\n", ""), 7, "`relies_on.tolerance`: a tolerance needs recorded"),
        (("name: at night", "nam: at night"), 13, "unknown key 'nam'; did you mean 'name'?"),
        (("hr: 3", "dteday: 3"), 16, "the key `dteday` is given twice"),
        (("owner: shelves@example.com\n", ""), 0, "`owner`: the key 'owner' is missing"),
        (("hr: 8", "hr: {"), 11, "expected YAML"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(change, line, told):
    assert change[0] in TEXT
    with pytest.raises(ProblemError) as caught:
        loads(TEXT.replace(*change), origin="my.yaml")
    message = str(caught.value)
    assert told in message
    assert message.startswith(f"my.yaml:{line}: " if line else "my.yaml: "), message
    assert "\n" not in message


@pytest.mark.parametrize("text", ["[1]", "just text", ""])
def test_what_is_no_mapping_is_refused_with_what_was_expected(text):
    with pytest.raises(ProblemError, match="expected a mapping with `consumer`, `problem`, `owner`"):
        loads(text)


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path):
    with pytest.raises(NotFoundError, match="No such file"):
        load(tmp_path / "none.yaml")
    with pytest.raises(NotFoundError, match="is a directory"):
        load(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ProblemError, match="expected UTF-8"):
        load(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text(TEXT, encoding="utf-8-sig")
    assert load(tmp_path / "a.yaml") == loads(TEXT)


WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["yes", "no", "on", "null", "~", "1e5", "1e-3", "012", "0x1F", "2012-12-01", "12:30", ".5"]
    ),
    st.sampled_from(
        ["1_000", "=", "<<", "- a", "a: b", "#x", "a\u2028b", "\ud7ff", "'", '"', " a ", "a\nb", "…"]
    ),
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(WORDS, st.integers(-(2**60), 2**60), NUMBERS, st.booleans(), st.none())


@given(st.dictionaries(WORDS, VALUES, min_size=1, max_size=5), WORDS, NUMBERS)
@settings(deadline=None, max_examples=50)
def test_what_is_written_as_yaml_or_json_is_read_back_as_it_was(row, name, answer):
    request = Request(row, name, {"prediction": answer})
    contract = ConsumerContract("planner", "bike", "ann", (request,), Reliance({"quantile": Range()}))
    assert loads(dumps(contract)) == contract
    assert loads(json.dumps(contract.to_dict())) == contract


class Clock:
    def __init__(self):
        self.minute = 0

    def __call__(self):
        self.minute += 1
        return datetime(2026, 1, 1, 0, self.minute, tzinfo=UTC)


@pytest.fixture
def store(storage: Storage) -> ConsumerStore:
    return ConsumerStore(storage, Clock())


def contract(consumer="planner", hour=8, problem="bike"):
    return ConsumerContract(consumer, problem, "ann", (Request({"hr": hour, "weather": None}),))


def test_a_contract_is_kept_and_given_back(store):
    revision = store.add(contract(), by="ann", reason="first")
    assert (revision.number, revision.by, revision.at) == (1, "ann", "2026-01-01T00:01:00+00:00")
    assert store.get("bike", "planner") == contract()
    assert store.consumers("bike") == ["planner"] and store.problems() == ["bike"]
    assert store.storage.exists("consumers/bike/planner.json")


def test_the_same_contract_again_changes_nothing_and_another_one_is_a_revision(store):
    first = store.add(contract(), by="ann")
    assert store.add(contract(), by="bob") == first
    second = store.add(contract(hour=9), by="bob", reason="other hours")
    assert (second.number, second.by) == (2, "bob")
    assert store.get("bike", "planner").requests[0].row["hr"] == 9
    assert store.history("bike", "planner") == (first, second)


def test_an_expected_revision_that_is_not_there_is_a_conflict_and_writes_nothing(store):
    with pytest.raises(ConflictError, match="should be at revision 1 and is at 0"):
        store.add(contract(), by="ann", expected=1)
    assert store.consumers("bike") == []
    store.add(contract(), by="ann", expected=0)
    with pytest.raises(ConflictError, match="should be at revision 0 and is at 1"):
        store.add(contract(hour=9), by="ann", expected=0)
    assert store.get("bike", "planner") == contract()
    assert store.add(contract(hour=9), by="ann", expected=1).number == 2


def test_who_writes_between_the_look_and_the_write_wins(storage):
    def clock():  # asked for the time of a revision when the store was looked at already
        if not other.history("bike", "planner"):
            other.add(contract(hour=9), by="bob")
        return datetime(2026, 1, 1, tzinfo=UTC)

    other = ConsumerStore(storage)
    with pytest.raises(ConflictError):
        ConsumerStore(storage, clock).add(contract(), by="ann")
    assert other.get("bike", "planner") == contract(hour=9)
    assert [revision.by for revision in other.history("bike", "planner")] == ["bob"]


def _add(storage, hour):
    try:
        ConsumerStore(storage).add(contract(hour=hour), by=f"writer {hour}", expected=0)
    except ConflictError:
        return False
    return True


def test_of_several_who_add_at_the_same_moment_exactly_one_wins(storage):
    results = at_once(storage, _add, [(hour,) for hour in range(4)])
    assert sum(results) == 1
    winner = results.index(True)
    store = ConsumerStore(storage)
    assert store.get("bike", "planner").requests[0].row["hr"] == winner
    assert len(store.history("bike", "planner")) == 1


def test_a_removed_contract_is_gone_and_its_history_says_who_and_why(store):
    store.add(contract(), by="ann")
    with pytest.raises(UsageError, match="needs a reason"):
        store.remove("bike", "planner", by="bob", reason=" ")
    store.remove("bike", "planner", by="bob", reason="retired")
    assert store.consumers("bike") == [] and list(store.contracts("bike")) == []
    last = store.history("bike", "planner")[-1]
    assert (last.number, last.by, last.reason, last.sha256) == (2, "bob", "retired", "")
    with pytest.raises(NotFoundError, match="has no consumer 'planner'; it has none; add one"):
        store.remove("bike", "planner", by="bob", reason="again")
    assert store.add(contract(), by="ann").number == 3


def test_a_name_that_nobody_has_suggests_the_nearest(store):
    store.add(contract(), by="ann")
    with pytest.raises(NotFoundError, match="it has planner; did you mean 'planner'"):
        store.get("bike", "planer")
    for names in (("bike", ""), ("", "planner"), ("bike/x", "planner"), ("bike", "../planner")):
        with pytest.raises(UsageError, match="expected the names of a problem and a consumer"):
            store.get(*names)


def test_contracts_come_in_the_order_of_their_names_and_of_one_problem_alone(store):
    for consumer in ("zoo", "ant"):
        store.add(contract(consumer), by="ann")
    store.add(contract("other", problem="bike-share"), by="ann")
    assert [name for name, _ in store.contracts("bike")] == ["ant", "zoo"]
    assert store.problems() == ["bike", "bike-share"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-20],
        lambda text: "[]",
        lambda text: text.replace('"hr": 8', '"hr": 9'),
        lambda text: text.replace('"history"', '"story"'),
        lambda text: json.dumps({**json.loads(text), "history": []}),
        lambda text: json.dumps({**json.loads(text), "contract": None}),
        lambda text: json.dumps({**json.loads(text), "history": 7}),
    ],
)
def test_a_damaged_document_is_refused_by_name_and_does_not_hide_the_others(store, spoil):
    store.add(contract(), by="ann")
    store.add(contract("zoo"), by="ann")
    key = "consumers/bike/planner.json"
    store.storage.put(key, spoil(store.storage.get(key).decode()).encode())
    with pytest.raises(IntegrityError, match="planner"):
        store.get("bike", "planner")
    with pytest.raises(IntegrityError, match="planner"):
        store.add(contract(hour=9), by="ann")
    found = dict(store.contracts("bike"))
    assert isinstance(found["planner"], IntegrityError)
    assert found["zoo"] == contract("zoo")
    assert store.consumers("bike") == ["planner", "zoo"]


def test_a_contract_of_another_cd4ml_with_a_key_that_this_one_does_not_know_is_refused(store):
    from cd4ml.adapters.storage.documents import encode
    from cd4ml.adapters.storage.hashing import sha256_bytes

    text = {**contract().to_dict(), "relies": {}}
    revision = {"number": 1, "at": "", "by": "", "reason": "", "sha256": sha256_bytes(encode(text))}
    store.storage.put("consumers/bike/planner.json", encode({"contract": text, "history": [revision]}))
    with pytest.raises(IntegrityError, match=r"unknown key 'relies'.*restore or delete it"):
        store.get("bike", "planner")
