"""Where predictions are made: small ones at once, others in threads, not too many and not too long."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from cd4ml.serving.requests import BadRequest

__all__ = ["Capacity", "Work"]

_Result = TypeVar("_Result")
_INLINE_BYTES = 32_768
"""Larger bodies are worked on in a thread, so that health checks and single rows do not wait for them."""
_INLINE_SECONDS = 0.02
_BESIDE_AFTER_SLOW = 100
"""So many small bodies go to threads after one that took longer than `_INLINE_SECONDS`."""


@dataclass(frozen=True)
class Capacity:
    """What one process does at once.

    Attributes
    ----------
    requests : int
        Under way at once; one more is answered with 503 and a time to come back.
    seconds : float
        Of one prediction, from the body's end; it is then answered with 504. A small body (32 kB) of a model
        that is quick is worked on without a thread, and nothing ends that before its end.
    """

    requests: int = 512
    seconds: float = 30.0


class Work:
    """The work of one process.

    Parameters
    ----------
    capacity : Capacity
        Its limits.
    """

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._under_way = 0
        self._beside = 0
        # More threads than cores only take turns: what cannot begin waits in the queue, and can be given up.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(max(2, cores), "predict")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place among the requests under way.

        Raises
        ------
        BadRequest
            Of status 503, if all are taken.
        """
        if self._under_way >= self._capacity.requests:
            found = f"{self._under_way} requests under way"
            raise BadRequest(503, "", found, f"at most {self._capacity.requests} at once; ask again later")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def run(self, size_bytes: int, act: Callable[[], _Result]) -> _Result:
        """Do the work of one request.

        Parameters
        ----------
        size_bytes : int
            Of its body.

        Raises
        ------
        BadRequest
            Of status 504, if it takes too long.
        """
        if size_bytes <= _INLINE_BYTES and not self._beside:
            start = time.perf_counter()
            try:
                return act()
            finally:
                if time.perf_counter() - start > _INLINE_SECONDS:
                    self._beside = _BESIDE_AFTER_SLOW
        self._beside = max(0, self._beside - 1)
        job = self._threads.submit(act)
        waiting = asyncio.wrap_future(job)
        done, _ = await asyncio.wait({waiting}, timeout=self._capacity.seconds)
        if done:
            return waiting.result()
        self._abandon(job, waiting)
        allowed = f"an answer within {self._capacity.seconds:g} s"
        raise BadRequest(504, "", "a prediction that takes longer", f"{allowed}; ask for fewer rows at once")

    def _abandon(self, job: Future[_Result], waiting: asyncio.Future[_Result]) -> None:
        """Wait no more. A thread cannot be ended: it works on, and holds a place until it is through."""
        if job.cancel():
            return
        self._under_way += 1
        loop = asyncio.get_running_loop()

        def leave() -> None:
            self._under_way -= 1

        def ended(_: Future[_Result]) -> None:
            with suppress(RuntimeError):  # the loop has ended before
                loop.call_soon_threadsafe(leave)

        job.add_done_callback(ended)
        # Whatever comes of it now is nobody's; asking for it keeps asyncio from reporting it as forgotten.
        waiting.add_done_callback(lambda late: late.cancelled() or late.exception())
