"""The clusters of tests/kubernetes, for the client."""

from tests.kubernetes.conftest import cluster

__all__ = ["cluster"]
