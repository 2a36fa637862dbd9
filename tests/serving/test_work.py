"""Work that is too much, too slow or given up."""

import asyncio
import threading
import time
from typing import Any

import pytest

from cd4ml.serving.requests import BadRequest
from cd4ml.serving.work import Capacity, Work

LARGE = 1 << 20


def test_small_work_is_done_in_the_loop_and_large_work_beside_it() -> None:
    work = Work(Capacity())

    async def both() -> tuple[str, str]:
        name = lambda: threading.current_thread().name  # noqa: E731
        return await work.run(10, name), await work.run(LARGE, name)

    small, large = asyncio.run(both())
    assert small == threading.current_thread().name
    assert large.startswith("predict")


def test_small_work_that_was_slow_is_followed_by_work_beside_the_loop() -> None:
    work = Work(Capacity())

    async def some() -> list[int]:
        await work.run(10, lambda: time.sleep(0.05))
        return [await work.run(10, threading.get_ident) for _ in range(101)]

    threads = asyncio.run(some())
    assert threading.get_ident() not in threads[:99]
    assert threads[-1] == threading.get_ident()


def test_an_error_of_the_work_is_that_of_the_request() -> None:
    work = Work(Capacity())
    for size in (10, LARGE):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(work.run(size, lambda: 1 / 0))


def test_work_that_is_given_up_holds_its_place_until_its_thread_is_through() -> None:
    work, free = Work(Capacity(requests=1, seconds=0.05)), threading.Event()

    async def ask() -> None:
        with work.place():
            await work.run(LARGE, lambda: free.wait(10) and 1 / 0)

    async def all_of_it() -> list[int]:
        found = []
        for _ in range(2):
            try:
                await ask()
            except BadRequest as error:
                found.append(error.status)
        free.set()
        for _ in range(1000):
            await asyncio.sleep(0.01)
            try:
                with work.place():
                    return found
            except BadRequest:
                continue
        return []

    assert asyncio.run(all_of_it()) == [504, 503]


def test_work_that_never_began_is_given_up_without_a_trace() -> None:
    work, free = Work(Capacity(requests=64, seconds=0.05)), threading.Event()
    begun: list[Any] = []

    async def ask(act: Any) -> int:
        with work.place():
            try:
                await work.run(LARGE, act)
            except BadRequest as error:
                return error.status
            return 200

    async def all_of_it() -> list[int]:
        busy = [ask(lambda: free.wait(10)) for _ in range(40)]
        found = await asyncio.gather(*busy, ask(lambda: begun.append(1)))
        free.set()
        return found

    assert set(asyncio.run(all_of_it())) == {504}
    assert begun == []
