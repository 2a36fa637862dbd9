"""A page whose blocks are run one after the other, in a folder and with servers of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.docs.blocks import Block
from tests.docs.workspace import environment

__all__ = ["Page", "free_port"]

_PORT = re.compile(r"((?:localhost|127\.0\.0\.1):|--(?:http-)?port[ =])(\d{4,5})\b")
_SECONDS = 150.0
_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Page:
    """A folder in which the blocks of a page are run; variables, folder and ports stay from one to the next.

    Attributes
    ----------
    ports : dict
        Free port by the one that the page names.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = environment(folder)
        self.ports: dict[int, int] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        (folder / ".state").write_text(f"cd {shlex.quote(str(folder))}\n", encoding="utf-8")

    def port(self, told: int) -> int:
        """Return the free port that stands for one of the page."""
        return self.ports.setdefault(told, free_port())

    def run(self, block: Block) -> str:
        """Run a block to its end, or until it says that it is ready; return what it said."""
        if block.mark == "run until":
            return self.start(block.text, block.said)
        return self.do(block.text, int(block.said) if block.mark == "exit code" else 0, block.place)

    def do(self, text: str, expected: int = 0, place: str = "before the first block") -> str:
        """Run commands to their end; return what they said."""
        log = self.folder / ".said"
        with log.open("wb") as said:
            self._started.append(self._popen(text, said))
        code = _code(self._started[-1])
        assert code is not None, f"{place} takes longer than {_SECONDS:g} s:\n{_read(log)}"
        assert code == expected, f"{place} ends with {code}:\n{text}\n---\n{_read(log)}"
        return _read(log)

    def start(self, text: str, until: str) -> str:
        """Start what runs on, and return what it said until it printed `until`."""
        log = self.folder / f".said-{len(self._started)}"
        with log.open("wb") as said:
            self._started.append(self._popen(text, said))
        end = time.monotonic() + _SECONDS
        while until not in _read(log):
            assert _runs(self._started[-1]), f"ended before it said '{until}':\n{text}\n---\n{_read(log)}"
            assert time.monotonic() < end, f"does not say '{until}':\n{text}\n---\n{_read(log)}"
            time.sleep(0.05)
        return _read(log)

    def close(self) -> None:
        """End all that was started, and what serves in the background."""
        for process in reversed(self._started):
            _end(process)
        if (self.folder / ".cd4ml/serve").exists():
            with (self.folder / ".said").open("wb") as said:
                self._popen(f"cd {shlex.quote(str(self.folder))}; cd4ml serve stop", said).wait(60)

    def _popen(self, text: str, said: object) -> subprocess.Popen[bytes]:
        text = _PORT.sub(lambda found: f"{found[1]}{self.port(int(found[2]))}", _typed(text))
        keep = f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {shlex.quote(str(self.folder / '.state'))}"
        script = f"set -eo pipefail\n. {shlex.quote(str(self.folder / '.state'))}\n{text}\n{keep}\n"
        return subprocess.Popen(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=said,  # type: ignore[call-overload]
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _typed(text: str) -> str:
    """Return what is typed: of a console with prompts the lines after `$`."""
    if not re.match(r"\$ ", text):
        return text
    return "\n".join(line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ "))


def _read(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")


def _runs(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, _LOOK) is None


def _code(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for an exit code; None when there is none in time.

    The process stays a zombie, so that its number, that of its group, goes to nobody else until `_end`.
    """
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        found = os.waitid(os.P_PID, process.pid, _LOOK)
        if found is not None:
            return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        time.sleep(0.02)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it left in its group, such as what a block started with `&`."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
            process.wait(15)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
