"""The whole training pipeline in containers: no network, read-only, no rights, never root."""

import re

import pytest

from tests.containers.engine import Engine
from tests.containers.shop_run import ShopRun
from tests.loop.small_shop import registered, run, sales, write_shop

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]


def test_the_pipeline_accepts_a_model_and_registers_it(shop: ShopRun) -> None:
    assert shop.done.returncode == 0, shop.done.stdout + shop.done.stderr
    assert "small-shop: ACCEPTED" in shop.done.stdout
    (version,) = registered(shop.place / "store")
    assert version["bundle"] == shop.read("verdict.json")["subject"]["bundle"]


def test_each_task_ran_in_a_container_and_none_is_left(engine: Engine, shop: ShopRun) -> None:
    tasks = {line.split()[0] for line in shop.done.stderr.splitlines() if re.search(r"\d+\.\d s$", line)}
    assert {"snapshot", "judge-model", "package", "register", "report"} <= tasks
    assert engine.call("ps", "--all", "--quiet", "--filter", "label=cd4ml.run").stdout == ""


def test_the_model_is_the_one_that_processes_of_this_machine_make(shop: ShopRun) -> None:
    done = run(shop.place / "shop", shop.place / "processes", shop.place / "other-store")
    assert done.returncode == 0, done.stderr
    same = ("model.onnx", "holdout/prediction.npy")
    for name in same:
        assert (shop.bundle / name).read_bytes() == (shop.place / "processes/bundle" / name).read_bytes()


def test_refused_data_are_refused_with_their_own_exit_code(engine: Engine, components, tmp_path) -> None:
    write_shop(tmp_path / "shop", [line.rpartition(",")[0] for line in sales()])
    given = ("--data", tmp_path / "shop", "--out", tmp_path / "out", "--store", tmp_path / "store")
    done = engine.cd4ml("run", tmp_path / "shop/problem.yaml", *given, "--runner", "docker")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "task " in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out/bundle").exists()
