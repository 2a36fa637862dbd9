"""One connection to a cluster for all checks of it, and what was found there first."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from cd4ml.domain.checkup import Answer, skipped
from cd4ml.errors import Cd4mlError, NotFoundError, UsageError
from cd4ml.steps.doctor.check import Settings

if TYPE_CHECKING:
    from cd4ml.adapters.kubernetes.client import KubernetesClient
    from cd4ml.delivery.kserve.detect import Facts
    from cd4ml.delivery.kserve.settings import KServeSettings

__all__ = ["Cluster", "Once", "readable"]

_T = TypeVar("_T")
_ATTEMPTS = 2


class Once(Generic[_T]):
    """Makes a value when it is first asked for; the others wait, and get the same value or error."""

    def __init__(self, make: Callable[[], _T]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._value: _T | None = None
        self._error: Cd4mlError | None = None
        self._done = False

    def __call__(self) -> _T:
        """Return the value, or raise what its making raised."""
        with self._lock:
            if not self._done:
                try:
                    self._value = self._make()
                except Cd4mlError as error:
                    self._error = error
                self._done = True
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # it was made


class Cluster:
    """A cluster as the checks see it.

    Attributes
    ----------
    client, version, facts : Once
        The connection; the API server's version, which shows that it answers; what KServe can do there.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.client: Once[KubernetesClient] = Once(self._connect)
        self.version: Once[str] = Once(lambda: self.client().version())
        self.facts: Once[Facts] = Once(self._facts)

    def look(self, ask: Callable[[], Answer]) -> Answer:
        """Return what `ask` finds, or why there is no cluster to ask."""
        try:
            self.version()
        except UsageError:
            return skipped("there is no cluster to look at", "see cluster/API server")
        except Cd4mlError:
            return skipped("the API server does not answer", "see cluster/API server")
        return ask()

    def kserve(self) -> KServeSettings:
        """Return how cd4ml would serve there."""
        from cd4ml.delivery.kserve.settings import KServeSettings

        one = self._settings
        return KServeSettings(one.namespace, gateway=one.gateway, system_namespace=one.system_namespace)

    def _connect(self) -> KubernetesClient:
        from cd4ml.adapters.kubernetes.client import connect

        one = self._settings
        return connect(one.kubeconfig, one.context, one.limit_seconds / 5, _ATTEMPTS)

    def _facts(self) -> Facts:
        from cd4ml.delivery.kserve.detect import detect

        return detect(self.client(), self.kserve())


def readable(ask: Callable[[], _T], none: _T) -> tuple[_T, str]:
    """Return what a cluster answers and "", or `none` and why the caller may not know."""
    try:
        return ask(), ""
    except NotFoundError:
        return none, ""
    except UsageError as error:
        return none, str(error)
