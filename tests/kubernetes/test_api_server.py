"""What only a stand-in can do: ordered faults, a forgotten history, rights refused, a look behind the API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.kubernetes.api_server import ApiServer, api_server
from tests.kubernetes.small_crds import definition
from tests.kubernetes.standin.cel import CelError, holds

_PATH = "/apis/example.com/v1/namespaces/default/widgets"
_TEXT = {"type": "string"}
_RULES = [{"rule": "self.low <= self.high", "message": "low must not be above high"}]
_SPEC = {
    "type": "object",
    "x-kubernetes-validations": _RULES,
    "properties": {
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "low": {"type": "integer", "format": "int32", "default": 0},
        "high": {"type": "integer", "format": "int32", "maximum": 10, "default": 5},
        "names": {"type": "array", "maxItems": 2, "items": _TEXT | {"maxLength": 3, "pattern": "^[a-z]*$"}},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": _TEXT, "size": {"type": "integer"}},
            },
        },
    },
}
_WIDGET = definition(
    "example.com", "v1 v1beta1", "Widget", {"type": "object", "properties": {"spec": _SPEC}}, status=False
)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server([_WIDGET]) as found:
        yield found


def widget(name: str = "w", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


def send(
    server: ApiServer, method: str, name: str = "", body: Any = None, **options: Any
) -> requests.Response:
    kind = options.pop("kind", "application/json")
    url = f"{server.url}{options.pop('path', _PATH)}" + (f"/{name}" if name else "")
    data = None if body is None else json.dumps(body)
    timeout = options.pop("timeout", 5)
    headers = {"Content-Type": kind}
    return requests.request(method, url, params=options, data=data, headers=headers, timeout=timeout)


def made(server: ApiServer, **spec: Any) -> dict[str, Any]:
    answer = send(server, "POST", body=widget(**spec))
    assert answer.status_code == 201, answer.text
    return answer.json()


def messages(answer: requests.Response) -> dict[str, str]:
    return {cause["field"]: cause["message"] for cause in answer.json()["details"]["causes"]}


def test_defaults_are_filled_in_and_belong_to_the_creator(server: ApiServer) -> None:
    found = made(server)
    assert found["spec"] == {"color": "red", "low": 0, "high": 5}
    assert "f:color" in found["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"color": "pink"}, "spec.color", 'Unsupported value: "pink": supported values: "red", "blue"'),
        (
            {"high": 11},
            "spec.high",
            "Invalid value: 11: spec.high in body should be less than or equal to 10",
        ),
        ({"names": ["a", "b", "c"]}, "spec.names", "Too many: 3: must have at most 2 items"),
        ({"names": ["long"]}, "spec.names[0]", "Too long: may not be more than 3 bytes"),
        ({"names": ["A"]}, "spec.names[0]", "should match '^[a-z]*$'"),
        ({"parts": [{"size": 1}]}, "spec.parts[0].id", "Required value"),
        ({"parts": [{"id": "a"}, {"id": "a"}]}, "spec.parts[1]", 'Duplicate value: {"id":"a"}'),
        ({"low": 6}, "spec", "Invalid value: low must not be above high"),
        ({"low": True}, "spec.low", 'spec.low in body must be of type integer: "boolean"'),
    ],
)
def test_what_the_schema_forbids_is_refused_with_its_field(
    server: ApiServer, spec: dict[str, Any], field: str, message: str
) -> None:
    answer = send(server, "POST", body=widget(**spec))
    assert answer.status_code == 422
    assert messages(answer)[field].endswith(message)


def test_rules_are_not_checked_where_a_required_field_is_missing(server: ApiServer) -> None:
    answer = send(server, "POST", body=widget(low=6, parts=[{}]))
    assert set(messages(answer)) == {"spec.parts[0].id", "<nil>"}
    assert answer.json()["message"].startswith(
        'Widget.example.com "w" is invalid: [spec.parts[0].id: Required'
    )


def test_a_rule_that_the_stand_in_cannot_read_is_no_rule_that_holds() -> None:
    assert holds("self.all(a, has(a.b) && a.b in ['x', \"y\"]) ? size(self) == 1 : false", [{"b": "x"}])
    assert not holds("duration(self) > duration('1m30s') || self.matches(r'^9.$')", "1m")
    for rule in ("self.quantum()", "self ??", "magic(self)", "self.missing"):
        with pytest.raises(CelError):
            holds(rule, {})


def test_all_versions_of_a_kind_show_the_same_objects(server: ApiServer) -> None:
    made(server)
    other = send(server, "GET", "w", path=_PATH.replace("/v1/", "/v1beta1/")).json()
    assert other["apiVersion"] == "example.com/v1beta1"
    assert other["spec"]["color"] == "red"


def test_items_of_a_list_with_keys_have_owners_of_their_own(server: ApiServer) -> None:
    apply = "application/apply-patch+yaml"
    for manager in ("a", "b"):
        body = widget(parts=[{"id": manager, "size": 1}])
        assert send(server, "PATCH", "w", body, kind=apply, fieldManager=manager).ok
    clash = send(server, "PATCH", "w", widget(parts=[{"id": "a", "size": 2}]), kind=apply, fieldManager="b")
    assert clash.json()["details"]["causes"][0]["field"] == '.spec.parts[id="a"].size'
    assert send(server, "PATCH", "w", widget(), kind=apply, fieldManager="a").json()["spec"]["parts"] == [
        {"id": "b", "size": 1}
    ]


def test_an_apply_of_a_wrong_type_is_an_internal_error(server: ApiServer) -> None:
    apply = "application/apply-patch+yaml"
    answer = send(server, "PATCH", "w", widget(low="x", blah=1), kind=apply, fieldManager="a")
    assert answer.status_code == 500
    assert answer.json()["message"].endswith(
        "errors:\n  .spec.blah: field not declared in schema\n"
        "  .spec.low: expected numeric (int or float), got string"
    )


def test_force_is_for_applies_alone(server: ApiServer) -> None:
    made(server)
    answer = send(server, "PATCH", "w", {}, kind="application/merge-patch+json", force="true")
    assert messages(answer) == {"force": "Forbidden: may not be specified for non-apply patch"}


def test_ordered_errors_come_so_often_and_change_nothing(server: ApiServer) -> None:
    fault = server.faults.fail(503, method="POST", part_of_path="widgets", times=2)
    codes = [send(server, "POST", body=widget()).status_code for _ in range(4)]
    assert codes == [503, 503, 201, 409]
    assert [call.method for call in fault.hits] == ["POST", "POST"]
    server.faults.conflict(method="PATCH")
    assert send(server, "PATCH", "w", {}, kind="application/merge-patch+json").json()["reason"] == "Conflict"


def test_a_dropped_call_did_nothing_and_a_lost_answer_hides_what_was_done(server: ApiServer) -> None:
    server.faults.drop(method="POST")
    server.faults.lose_answer(method="POST")
    for expected in (404, 200):
        with pytest.raises(requests.ConnectionError):
            send(server, "POST", body=widget())
        assert send(server, "GET", "w").status_code == expected


def test_a_slow_answer_is_a_time_out_to_the_impatient(server: ApiServer) -> None:
    server.faults.slow(0.4, method="GET")
    with pytest.raises(requests.ReadTimeout):
        send(server, "GET", "w", timeout=0.1)


def test_what_is_denied_is_forbidden_and_told_by_reviews(server: ApiServer) -> None:
    server.deny(verb="create", resource="widgets")
    answer = send(server, "POST", body=widget())
    assert answer.status_code == 403
    assert 'cannot create resource "widgets" in API group "example.com"' in answer.json()["message"]
    attributes = {"verb": "create", "resource": "widgets", "group": "example.com", "namespace": "default"}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    body = review | {"spec": {"resourceAttributes": attributes}}
    place = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert send(server, "POST", body=body, path=place).json()["status"] == {"allowed": False}


def watched(server: ApiServer, **params: str) -> list[dict[str, Any]]:
    params = {"watch": "1", "timeoutSeconds": "1"} | params
    with requests.get(server.url + _PATH, params=params, stream=True, timeout=5) as answer:
        return [json.loads(line) for line in answer.iter_lines() if line]


def test_a_watch_from_a_forgotten_version_is_told_so(server: ApiServer) -> None:
    version = made(server)["metadata"]["resourceVersion"]
    server.compact()
    assert [event["type"] for event in watched(server, resourceVersion=version, timeoutSeconds="0")] == []
    send(server, "DELETE", "w")
    server.compact()
    events = watched(server, resourceVersion=version)
    assert [(event["type"], event["object"]["code"]) for event in events] == [("ERROR", 410)]


def test_a_watch_without_a_version_begins_with_what_there_is_and_follows_a_selector(
    server: ApiServer,
) -> None:
    made(server)
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.extend(watched(server, labelSelector="a=b")))
    thread.start()
    time.sleep(0.2)
    merge = "application/merge-patch+json"
    for labels in ({"a": "b"}, {"c": "d"}, {"a": None}):
        send(server, "PATCH", "w", {"metadata": {"labels": labels}}, kind=merge)
    thread.join()
    assert [event["type"] for event in found] == ["ADDED", "MODIFIED", "DELETED"]
    assert [event["type"] for event in watched(server, timeoutSeconds="0")] == ["ADDED"]


def test_bookmarks_tell_how_far_a_quiet_watch_is(server: ApiServer) -> None:
    server.bookmark_every(0.2)
    version = made(server)["metadata"]["resourceVersion"]
    events = watched(server, resourceVersion=version, allowWatchBookmarks="true")
    assert len(events) >= 2
    assert {event["type"] for event in events} == {"BOOKMARK"}
    assert {event["object"]["metadata"]["resourceVersion"] for event in events} == {version}


def test_a_definition_that_is_created_is_served_at_once(server: ApiServer) -> None:
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    }
    body = definition("example.com", "v1", "Gadget", schema)
    place = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert send(server, "POST", body=body, path=place).status_code == 201
    gadget = {"apiVersion": "example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"n": 1}}
    assert send(server, "POST", body=gadget, path=_PATH.replace("widgets", "gadgets")).status_code == 201
    held = send(server, "GET", "gadgets.example.com", path=place).json()
    assert {item["type"]: item["status"] for item in held["status"]["conditions"]}["Established"] == "True"


def test_every_call_is_kept_for_tests_to_look_at(server: ApiServer) -> None:
    made(server)
    call = server.calls[-1]
    assert (call.method, call.path, call.code, call.body["kind"]) == ("POST", _PATH, 201, "Widget")


def test_a_body_that_is_no_json_and_a_method_that_is_not_allowed_are_refused(server: ApiServer) -> None:
    answer = requests.post(server.url + _PATH, data="{", timeout=5)
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")
    assert send(server, "PUT", body=widget()).status_code == 405
