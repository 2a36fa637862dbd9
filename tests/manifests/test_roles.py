"""Each Role grants what the code uses, and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from tests.manifests.permissions import USED, Grant
from tests.manifests.rendering import OVERLAYS, crds, name_of, needs_kubectl, rendered, source_documents


def grants(role: dict[str, Any]) -> set[Grant]:
    """What a role allows, one (group, resource, name, verb) each."""
    return {
        (group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def _roles() -> dict[str, dict[str, Any]]:
    return {
        name_of(one): one for one in source_documents().values() if one["kind"] in ("ClusterRole", "Role")
    }


def test_every_role_is_in_the_table_and_every_entry_is_a_role() -> None:
    assert _roles().keys() == USED.keys()


@pytest.mark.parametrize("name", sorted(USED))
def test_a_role_grants_exactly_what_is_used(name: str) -> None:
    assert grants(_roles()[name]) == USED[name].keys()


def test_no_role_has_wildcards_secrets_or_rights_over_rights() -> None:
    for name, role in _roles().items():
        for _, resource, _, verb in grants(role):
            assert "*" not in (resource, verb), name
            assert resource not in {"secrets", "pods/exec", "roles", "rolebindings", "serviceaccounts"}, name
    names = {one[2] for one in grants(_roles()["ClusterRole/cd4ml-detect"])}
    assert "" not in names  # in the whole cluster by name alone


def test_a_verb_too_many_is_seen() -> None:
    role = copy.deepcopy(_roles()["Role/cd4ml-task"])
    role["rules"][0]["verbs"].append("delete")
    assert grants(role) != USED["Role/cd4ml-task"].keys()


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_bindings_name_roles_and_accounts_that_are_there(overlay: str) -> None:
    documents = rendered(overlay)
    names = {name_of(one) for one in documents}
    foreign = {("default-editor", "kubeflow-user-example-com"), ("pipeline-runner", "kubeflow")}
    bound = []
    for binding in documents:
        if not binding["kind"].endswith("RoleBinding"):
            continue
        reference = binding["roleRef"]
        assert f"{reference['kind']}/{reference['name']}" in names
        bound.append(f"{reference['kind']}/{reference['name']}")
        for subject in binding["subjects"]:
            assert subject["kind"] == "ServiceAccount"
            if (subject["name"], subject["namespace"]) not in foreign:
                assert f"ServiceAccount/{subject['name']}" in names
                assert subject["namespace"] == "cd4ml"
    assert set(bound) == USED.keys()
    accounts = [
        subject["name"] for one in documents if one["kind"].endswith("Binding") for subject in one["subjects"]
    ]
    assert "cd4ml-predictor" not in accounts


@pytest.mark.serving
def test_what_looks_at_a_cluster_asks_only_for_what_is_granted(tmp_path: Path) -> None:
    from cd4ml.adapters.kubernetes.client import connect
    from cd4ml.delivery.kserve.detect import detect
    from cd4ml.delivery.kserve.settings import KServeSettings
    from tests.kubernetes.api_server import api_server

    allowed = {grant for role in USED.values() for grant in role}
    with api_server(crds()) as server:
        client = connect(server.kubeconfig(tmp_path / "kubeconfig"))
        facts = detect(client, KServeSettings(namespace="cd4ml"))
        calls = [call for call in server.calls if "accessreview" not in call.path]
        client.close()
    assert facts.virtual_services
    assert len(calls) >= 5
    for call in calls:
        assert call.method == "GET"
        parts = call.path.strip("/").split("/")
        group = "" if parts[0] == "api" else parts[1]
        resource, name = parts[-2], parts[-1]
        assert {(group, resource, name, "get"), (group, resource, "", "get")} & allowed, call.path
