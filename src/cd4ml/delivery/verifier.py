"""Does the candidate's endpoint answer as the judge did? Its holdout is replayed while the rollout waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit

from cd4ml.delivery.plane import ObservedService
from cd4ml.domain.rollout.decide import Verification
from cd4ml.domain.rollout.state import Rollout, Target
from cd4ml.errors import Cd4mlError

if TYPE_CHECKING:
    from cd4ml.adapters.inference import Protocol as Wire

__all__ = ["FORCED", "EndpointVerifier", "Verified", "Verifier", "address_of"]

FORCED = "X-Cd4ml-Variant"
"""The header by which a program on this machine asks a variant that gets no requests yet."""
_ATTEMPTS = 5


@dataclass(frozen=True)
class Verified:
    """What a verification came to, and why, one line each."""

    result: Verification
    reasons: tuple[str, ...] = ()


class Verifier(Protocol):
    """Who verifies an endpoint."""

    def verify(self, rollout: Rollout, observed: ObservedService) -> Verified:
        """Return what is known now; it is asked again and again, and takes no time of its own."""
        ...


@dataclass
class _Job:
    """A replay that is under way, or what it came to."""

    key: tuple[str, str, str]
    thread: Thread | None = None
    found: Verified | None = None
    failures: list[str] = field(default_factory=list)


class EndpointVerifier:
    """Replays the holdout of a bundle at the canary's address.

    Parameters
    ----------
    folder_of : callable
        Returns the folder in which the files of a version are.
    protocol : str
        "v1" or "v2".
    timeout_seconds : float
        For each request.
    through : str
        http://host:port of a gateway that is called in place of each address, with the address's host in the
        header Host: for who cannot reach the addresses within a cluster. "" calls the address itself.
    """

    def __init__(
        self,
        folder_of: Callable[[Target], Path],
        protocol: Wire = "v1",
        timeout_seconds: float = 10.0,
        through: str = "",
    ) -> None:
        self._folder_of, self._protocol, self._timeout_seconds = folder_of, protocol, timeout_seconds
        self._through = through.rstrip("/")
        self._jobs: dict[str, _Job] = {}

    def verify(self, rollout: Rollout, observed: ObservedService) -> Verified:
        """Return what the replay came to; it runs beside, so that a pause or an abort need not wait for it.

        An endpoint that cannot be asked is asked again, and has failed when it could not five times.
        """
        url, headers = address_of(observed, self._protocol)
        if self._through:
            parts = urlsplit(url)
            url, headers = f"{self._through}{parts.path}", {**headers, "Host": parts.netloc}
        job = self._job(rollout, url)
        if job.thread is not None and job.thread.is_alive():
            return Verified(Verification.PENDING)
        if job.found is not None:
            return job.found
        if len(job.failures) >= _ATTEMPTS:
            why = f"asked {_ATTEMPTS} times without a usable answer: {job.failures[-1]}"
            job.found = Verified(Verification.FAILED, (why,))
            return job.found
        job.thread = Thread(target=self._replay, args=(job, rollout, url, headers), daemon=True)
        job.thread.start()
        return Verified(Verification.PENDING, tuple(job.failures[-1:]))

    def _job(self, rollout: Rollout, url: str) -> _Job:
        key = (rollout.id, rollout.candidate.bundle, url)
        known = self._jobs.get(rollout.service)
        if known is None or known.key != key:
            known = self._jobs[rollout.service] = _Job(key)
        return known

    def _replay(self, job: _Job, rollout: Rollout, url: str, headers: dict[str, str]) -> None:
        from cd4ml.models.endpoint import compare_endpoint

        try:
            report = compare_endpoint(
                url,
                self._folder_of(rollout.candidate),
                protocol=self._protocol,
                timeout_seconds=self._timeout_seconds,
                headers=headers,
            )
        except (Cd4mlError, OSError) as error:
            job.failures.append(str(error))
        except Exception as error:  # a thread has nobody above it who would tell
            job.failures.append(f"unexpected {type(error).__name__}: {error}")
        else:
            result = Verification.PASSED if report.agrees else Verification.FAILED
            job.found = Verified(result, (report.sentence,))


def address_of(observed: ObservedService, protocol: Wire = "v1") -> tuple[str, dict[str, str]]:
    """Return where, and with which headers, the canary is asked: itself, or through the gateway."""
    canary = observed.variant("canary")
    own = canary.url if canary else ""
    headers = {} if own else {FORCED: "canary"}
    return f"{(own or observed.url).rstrip('/')}/{protocol}/models/{quote(observed.service, '')}", headers
