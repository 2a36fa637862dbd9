"""Fits take no more threads than are granted, and models do not depend on how many that are."""

import os
import subprocess
import sys

import pytest
from threadpoolctl import threadpool_info

from cd4ml.models.threads import cgroup_cores, fitting_threads, usable_cores


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense\n"}, None),
        ({}, None),
    ],
)
def test_the_control_groups_grant_is_read_in_both_versions(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup_cores(tmp_path) == expected


def _cores(**environment):
    code = "from cd4ml.models.threads import usable_cores; print(usable_cores())"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, check=True
    )
    return int(done.stdout)


def test_omp_num_threads_caps_and_nonsense_does_not():
    granted = _cores(OMP_NUM_THREADS="")
    assert granted >= 1
    assert _cores(OMP_NUM_THREADS="1") == 1
    assert _cores(OMP_NUM_THREADS="1,4") == 1
    assert _cores(OMP_NUM_THREADS="999") == granted
    assert _cores(OMP_NUM_THREADS="0") == _cores(OMP_NUM_THREADS="many") == granted


def test_within_the_block_every_thread_pool_is_capped():
    import sklearn.ensemble  # noqa: F401 - loads OpenMP

    with fitting_threads() as count:
        assert count == usable_cores()
        assert max(pool["num_threads"] for pool in threadpool_info()) <= count
    with fitting_threads(1) as count:
        assert count == 1
        assert {pool["num_threads"] for pool in threadpool_info()} == {1}


def test_threads_wait_asleep_unless_the_environment_says_otherwise():
    code = "import os; from cd4ml.models.threads import wait_asleep; wait_asleep(); "
    code += "print(os.environ['OMP_WAIT_POLICY'])"
    plain = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**plain, **given}, capture_output=True, check=True, text=True
        )
        assert done.stdout.strip() == expected
