"""What a process may use of a machine, and what programs of others say."""

import resource
import socket
import sys
import time

import pytest

from cd4ml.adapters.machine import cores, may_raise_limits, memory_bytes, require_free_port
from cd4ml.adapters.packages import package_states, required_python
from cd4ml.adapters.programs import ask, version_in
from cd4ml.errors import NotFoundError, ServiceError, UsageError


def written(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 0.5),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        (
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            0.25,
        ),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, None),
        ({}, None),
    ],
)
def test_a_quota_counts_as_cores(tmp_path, files, expected):
    assert cores(written(tmp_path, files)) == (expected or cores(tmp_path / "nothing"))


def test_memory_is_what_the_tightest_limit_leaves(tmp_path):
    assert memory_bytes(tmp_path) is None
    written(tmp_path, {"proc/meminfo": "MemTotal: 8 kB\nMemAvailable:    4096 kB\n"})
    assert memory_bytes(tmp_path) == 4096 * 1024
    written(tmp_path, {"sys/fs/cgroup/memory.max": "3000\n", "sys/fs/cgroup/memory.current": "1000\n"})
    assert memory_bytes(tmp_path) == 2000
    written(tmp_path, {"sys/fs/cgroup/memory.current": "9000\n"})
    assert memory_bytes(tmp_path) == 0


def test_the_right_to_raise_limits_is_a_bit_of_the_capabilities(tmp_path):
    assert not may_raise_limits(tmp_path)
    assert may_raise_limits(written(tmp_path, {"proc/self/status": "CapEff:\t0000000001000000\n"}))
    assert not may_raise_limits(written(tmp_path, {"proc/self/status": "CapEff:\t0000000000ffffff\n"}))


def test_this_machine_has_something():
    assert cores() > 0
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] != 0


def test_a_port_is_free_until_somebody_listens():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.listen()
        with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 cannot be taken: Address already"):
            require_free_port(port)
    require_free_port(port)


def test_a_program_says_something_or_is_not_there_or_takes_too_long():
    said = ask([sys.executable, "-c", "import sys; print('tool 1.2.3'); sys.exit(4)"], 10)
    assert (said.code, said.last, version_in(said.text)) == (4, "tool 1.2.3", "1.2.3")
    assert ask([sys.executable, "-c", ""], 10).last == "it said nothing, exit code 0"
    with pytest.raises(NotFoundError, match="not in PATH"):
        ask(["cd4ml-has-no-such-program"], 1)
    start = time.monotonic()
    with pytest.raises(ServiceError, match=r"did not answer within 0\.3 s"):
        ask([sys.executable, "-c", "import os, time; os.fork(); time.sleep(60)"], 0.3)
    assert time.monotonic() - start < 10, "a child of it kept the pipe open"


def test_a_file_that_cannot_be_started_is_as_if_it_were_not_there(tmp_path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x7fELF no program")
    broken.chmod(0o755)
    with pytest.raises(NotFoundError, match="cannot be started"):
        ask([str(broken)], 1)


def test_an_extra_is_held_against_what_is_installed():
    base = {one.name: one for one in package_states()}
    assert {"numpy", "typer", "cryptography"} <= base.keys()
    assert "kfp" not in base
    assert all(one.fits for one in base.values())
    kfp = {one.name: one for one in package_states("kfp")}
    assert kfp["kfp"].wanted.startswith("==")
    assert "numpy" not in kfp
    assert required_python() == ">=3.11"
    assert required_python("cd4ml-no-such-package") == ""
    with pytest.raises(UsageError, match="is not installed"):
        package_states("", "cd4ml-no-such-package")


def test_a_package_that_is_missing_or_of_another_version_does_not_fit(tmp_path):
    folder = tmp_path / "asks-1.0.dist-info"
    folder.mkdir()
    lines = ["Requires-Dist: numpy<1", "Requires-Dist: no-such-thing>=2", "Requires-Dist: rich"]
    (folder / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.1", "Name: asks", "Version: 1.0", *lines])
    )
    sys.path.insert(0, str(tmp_path))
    try:
        found = {one.name: one for one in package_states("", "asks")}
    finally:
        sys.path.remove(str(tmp_path))
    assert not found["numpy"].fits and found["numpy"].installed
    assert (found["no-such-thing"].installed, found["no-such-thing"].fits) == ("", False)
    assert found["rich"].fits
