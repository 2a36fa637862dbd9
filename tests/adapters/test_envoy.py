"""What Envoy is told, judged by Envoy itself where that is possible."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cd4ml
from cd4ml.adapters.envoy import (
    Admin,
    Backend,
    GatewaySettings,
    Route,
    bootstrap,
    cluster_name,
    clusters,
    find_envoy,
    routes,
)
from cd4ml.errors import ServiceError, UsageError
from tests.adapters.s3_server import environment

ALL = ("stable", "canary", "shadow")
ROUTES = [
    Route("shop", ALL, 10, 100, sticky="cookie:who", salt="r-1:\\1"),
    Route("people", ALL[:2], 0.01, sticky="header:X-User"),
    Route("a.b", ()),
]


def table(*found: Route) -> list[dict[str, Any]]:
    resource = routes(found, "1")["resources"][0]
    entries: list[dict[str, Any]] = resource["virtual_hosts"][0]["routes"]
    return entries


def weighted(*found: Route) -> list[dict[str, Any]]:
    return [entry["route"] for entry in table(*found) if "weighted_clusters" in entry.get("route", {})]


@pytest.mark.parametrize("found", [ROUTES, [ROUTES[0]], [ROUTES[1]], []])
def test_envoy_accepts_what_it_is_told(found: list[Route], tmp_path: Path) -> None:
    backends = [Backend(route.service, name, 20_000) for route in found for name in route.members]
    document = bootstrap(GatewaySettings(), tmp_path, tmp_path / "access.jsonl")
    # As a static configuration, which Envoy looks at more closely: each cluster of a route must be there.
    http = document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    http.pop("rds")
    http["route_config"] = {**routes(found, "1")["resources"][0], "validate_clusters": True}
    http["route_config"].pop("@type")
    document.pop("dynamic_resources")
    document["static_resources"]["clusters"] = [
        {name: value for name, value in one.items() if name != "@type"}
        for one in clusters(backends, "1")["resources"]
    ]
    assert "OK" in _validate(document, tmp_path)
    if found:
        http["route_config"]["virtual_hosts"][0]["ruotes"] = []
        assert "ruotes" in _validate(document, tmp_path), "a typing error is seen"


def test_envoy_accepts_the_configuration_with_which_it_starts(tmp_path: Path) -> None:
    (tmp_path / "routes.json").write_text(json.dumps(routes(ROUTES, "1")))
    (tmp_path / "clusters.json").write_text(json.dumps(clusters([Backend("shop", "stable", 20_000)], "1")))
    assert "OK" in _validate(bootstrap(GatewaySettings(port=0), tmp_path, tmp_path / "log"), tmp_path)


@pytest.mark.parametrize(("percent", "canary"), [(0, 0), (0.01, 1), (10, 1000), (33.33, 3333), (100, 10_000)])
def test_weights_are_ten_thousandths_and_the_canary_stands_first(percent: float, canary: int) -> None:
    for route in weighted(Route("m", ALL, percent)):
        assert route["weighted_clusters"]["clusters"] == [
            {"name": "m|canary", "weight": canary},
            {"name": "m|stable", "weight": 10_000 - canary},
        ]


def test_only_a_shadow_that_is_there_and_wanted_gets_copies() -> None:
    for route in (Route("m", ALL, 0, 0), Route("m", ALL[:2], 0, 50)):
        assert not any("request_mirror_policies" in entry for entry in weighted(route))
    policy = weighted(Route("m", ALL, 0, 0.5))[0]["request_mirror_policies"][0]
    assert policy["cluster"] == cluster_name("m", "shadow")
    assert policy["runtime_fraction"]["default_value"] == {"numerator": 50, "denominator": "TEN_THOUSAND"}
    assert policy["disable_shadow_host_suffix_append"] is True


def test_chance_decides_unless_somebody_wants_it_sticky() -> None:
    assert "use_hash_policy" not in weighted(Route("m", ALL, 10))[0]["weighted_clusters"]
    assert weighted(Route("m", ALL, 10, sticky="header:U"))[0]["weighted_clusters"]["use_hash_policy"] is True


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("who=abc", "abc"),
        ("a=1; who=abc", "abc"),
        ("a=1;who=abc;b=2", "abc"),
        ("xwho=abc", None),
        ("a=who=abc", None),
        ("who=", None),
    ],
)
def test_a_cookie_is_found_among_others(header: str, value: str | None) -> None:
    found = next(
        entry
        for entry in table(Route("m", ("stable",), sticky="cookie:who"))
        if any(match["name"] == "cookie" for match in entry["match"].get("headers", ()))
    )
    regex = found["match"]["headers"][0]["string_match"]["safe_regex"]["regex"]
    match = re.fullmatch(regex, header)
    assert (match.group(1) if match else None) == value


def test_a_route_takes_the_paths_of_its_service_and_no_others() -> None:
    regex = next(
        entry["match"]["safe_regex"]["regex"]
        for entry in table(Route("a.b"))
        if "safe_regex" in entry["match"]
    )
    for path in ("/v1/models/a.b", "/v1/models/a.b:predict", "/v2/models/a.b/infer", "/v2/models/a.b/ready"):
        assert re.fullmatch(regex, path), path
    for path in ("/v1/models/axb:predict", "/v1/models/a.bc:predict", "/v3/models/a.b", "/x/v1/models/a.b"):
        assert not re.fullmatch(regex, path), path


def test_what_no_service_takes_goes_to_the_only_one_or_to_nobody() -> None:
    assert "weighted_clusters" in table(Route("m"))[-1]["route"]
    assert table(Route("m"), Route("n"))[-1]["direct_response"]["status"] == 404
    assert table()[-1]["direct_response"]["status"] == 404


def test_the_gateway_is_ready_when_all_services_are() -> None:
    def ready(*found: Route) -> int:
        match = {"path": "/v2/health/ready"}
        return int(next(one["direct_response"]["status"] for one in table(*found) if one["match"] == match))

    assert ready(Route("m"), Route("n")) == 200
    assert ready(Route("m"), Route("n", ready=False)) == 503
    assert ready() == 503


def test_envoy_is_found_where_it_is_told() -> None:
    assert subprocess.run([find_envoy(), "--version"], check=True, capture_output=True).stdout
    with (
        environment(CD4ML_ENVOY="/nowhere/envoy"),
        pytest.raises(UsageError, match="CD4ML_ENVOY names '/nowhere/envoy'"),
    ):
        find_envoy()


def test_without_envoy_the_error_names_what_to_install() -> None:
    source = str(Path(cd4ml.__file__).parents[1])
    # A Python without the package: no site-packages, nothing in PATH.
    script = (
        f"import sys; sys.path.insert(0, {source!r}); sys.prefix = '/nowhere'\n"
        "from cd4ml.adapters.envoy.binary import find_envoy\n"
        "try: find_envoy()\nexcept ValueError as error: print(error)"
    )
    command = [sys.executable, "-I", "-S", "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={"PATH": "/nowhere"})
    assert "pip install 'cd4ml[gateway]'" in done.stdout
    assert done.stdout.count("\n") == 1


def test_a_gateway_that_is_not_there_does_not_answer() -> None:
    admin = Admin("127.0.0.1:1")
    assert not admin.ready()
    with pytest.raises(ServiceError, match=r"does not answer at 127\.0\.0\.1:1"):
        admin.versions()


def _validate(document: dict[str, Any], folder: Path) -> str:
    path = folder / "envoy.json"
    path.write_text(json.dumps(document))
    command = [find_envoy(), "-c", str(path), "--mode", "validate"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode == 0) == ("OK" in done.stdout)
    return done.stdout + done.stderr
