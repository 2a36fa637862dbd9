"""Which series tell of requests, failures and latency: our own, Istio's, Envoy's."""

from __future__ import annotations

from dataclasses import dataclass

from cd4ml.adapters.prometheus import Selector

__all__ = ["ArmSeries", "envoy_series", "istio_series", "own_series"]


@dataclass(frozen=True)
class ArmSeries:
    """The counters of one arm.

    Attributes
    ----------
    requests, failed, refused : Selector
        All of its requests; those that the server failed; those that it said were wrong.
    buckets : Selector
        The histogram of latency, by its label `le`.
    seconds : float
        What 1 of `le` is: 1.0, or 0.001 for milliseconds.
    """

    requests: Selector
    failed: Selector
    refused: Selector
    buckets: Selector
    seconds: float = 1.0


def own_series(model: str, version: str, variant: str) -> ArmSeries:
    """Return the series of our model server; they tell what reached it, and not what never did."""
    labels = {"model": model, "version": version, "variant": variant}
    name = "cd4ml_requests_total"
    return ArmSeries(
        Selector(name, labels),
        Selector(name, {**labels, "outcome": "server_error"}),
        Selector(name, {**labels, "outcome": "client_error"}),
        Selector("cd4ml_request_seconds_bucket", labels),
    )


def istio_series(namespace: str, workload: str, reporter: str = "source") -> ArmSeries:
    """Return the series of Istio's proxies, by the workload (deployment or revision) that was called.

    `source` is told by the caller's proxy, such as the ingress gateway, and has what never arrived too.
    `response_code` 0 is a request without an answer.
    """
    labels = {
        "reporter": reporter,
        "destination_workload_namespace": namespace,
        "destination_workload": workload,
    }
    name = "istio_requests_total"
    return ArmSeries(
        Selector(name, labels),
        Selector(name, labels, {"response_code": "0|5.."}),
        Selector(name, labels, {"response_code": "4.."}),
        Selector("istio_request_duration_milliseconds_bucket", labels),
        seconds=0.001,
    )


def envoy_series(cluster: str) -> ArmSeries:
    """Return the series of an Envoy for one of its clusters; retries are requests of their own in them."""
    labels = {"envoy_cluster_name": cluster}
    name = "envoy_cluster_upstream_rq_xx"
    return ArmSeries(
        Selector("envoy_cluster_upstream_rq_completed", labels),
        Selector(name, {**labels, "envoy_response_code_class": "5"}),
        Selector(name, {**labels, "envoy_response_code_class": "4"}),
        Selector("envoy_cluster_upstream_rq_time_bucket", labels),
        seconds=0.001,
    )
