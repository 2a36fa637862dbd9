"""The cluster of a test: the stand-in always, a real one with `make test-cluster`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import CLUSTERS, Cluster, opened


@pytest.fixture(params=CLUSTERS)
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster with a fresh namespace; against a real one only when KUBECONFIG is set."""
    with opened(request.param, tmp_path) as found:
        yield found
