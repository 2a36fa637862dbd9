"""Programs of others on this machine: whether they are there, and what they say when they are asked."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from cd4ml.errors import NotFoundError, ServiceError

__all__ = ["Said", "ask", "version_in"]


@dataclass(frozen=True)
class Said:
    """What a program wrote, on both streams, and its exit code."""

    code: int
    text: str

    @property
    def last(self) -> str:
        """Its last line that is not empty."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else f"it said nothing, exit code {self.code}"


def ask(command: Sequence[str], timeout_seconds: float) -> Said:
    """Run a program to its end and return what it said.

    Raises
    ------
    NotFoundError
        If there is no such program.
    ServiceError
        If it goes on beyond the time-out; it and its children are ended then.
    """
    program = shutil.which(command[0])
    if program is None:
        raise NotFoundError(f"'{command[0]}' is not in PATH; install it")
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise NotFoundError(f"'{program}' cannot be started ({error.strerror}); install it anew") from error
    try:
        output, _ = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise ServiceError(f"'{command[0]}' did not answer within {timeout_seconds:g} s") from None
    return Said(process.returncode, output.decode("utf-8", "replace"))


def version_in(text: str) -> str:
    """Return the first version number in a text, such as "1.40.0"; "" when there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found.group() if found else ""
