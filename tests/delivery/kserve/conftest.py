"""The clusters of tests/kubernetes, for the planes."""

from tests.kubernetes.conftest import cluster

__all__ = ["cluster"]
