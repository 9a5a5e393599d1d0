"""A real Ray on this machine: pretend GPUs, several nodes, and everything killed that can be."""

import operator
import os
import random
import signal
import socket
import subprocess
import time

import pytest
from grids import SLOW, answered, call, command, environment, launch, rows, write_spec
from ray.cluster_utils import Cluster

from grid.errors import ClusterError
from grid.run import pool, ray_executor
from grid.run.executor import WorkerLostError
from grid.store.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves sockets and files to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


def slow_spec(folder, seconds=0.3, samples=60):
    return write_spec(folder, samples={"count": samples}, attacks=[{SLOW: {"eps": 0.1, "seconds": seconds}}])


def wait_until(condition, what, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def num_shards(store):
    return len(list(store.glob("shards/*/*.parquet")))


def start(spec, store, **options):
    return command("launch", spec, "--store", store, "--shard-size", 5, "--cpus", 2, **options)


def children(pid):
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    found = [line.split(None, 1) for line in listed.stdout.splitlines()]
    return [(int(p), args) for p, args in found] + [pair for p, _ in found for pair in children(int(p))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert launch(slow_spec(folder, seconds=0.3), folder / "store", "--shard-size", 5).exit_code == 0
    return rows(folder / "store")


def test_the_executor_runs_tasks_hands_on_their_errors_and_survives_its_workers():
    executor = ray_executor.start_local(2, None, 1.0)
    try:
        pids = {f.result() for f in [executor.submit(os.getpid) for _ in range(50)]}
        assert 1 <= len(pids) <= 2
        with pytest.raises(ZeroDivisionError):
            executor.submit(operator.truediv, 1, 0).result()
        lost = executor.submit(os._exit, 1)
        behind = [executor.submit(os.getpid) for _ in range(20)]
        with pytest.raises(WorkerLostError):
            lost.result(timeout=60)
        assert all(f.result(timeout=60) for f in behind)
        wait_until(lambda: executor.slots == 2, "the lost worker's successor", 60)
        assert executor.submit(os.getpid).result(timeout=60)
    finally:
        executor.close()


@pytest.mark.drill
def test_a_worker_that_falls_silent_as_behind_a_cut_network_is_given_up(monkeypatch):
    monkeypatch.setattr(pool, "PING_SECONDS", 0.5)
    monkeypatch.setattr(pool, "SILENCE_SECONDS", 5.0)
    executor = ray_executor.start_local(1, None, 1.0)
    try:
        pid = executor.submit(os.getpid).result(timeout=60)
        sleeping = executor.submit(time.sleep, 600)
        time.sleep(1)
        os.kill(pid, signal.SIGSTOP)  # as with a cut network, nothing closes: it only does not answer
        with pytest.raises(WorkerLostError, match="did not answer"):
            sleeping.result(timeout=60)
        assert executor.submit(os.getpid).result(timeout=60) != pid
    finally:
        executor.close()


def test_two_pretend_gpus_in_halves_give_four_workers_and_each_row_names_its_gpu(tmp_path):
    spec = slow_spec(tmp_path, seconds=0.4)
    run = command(
        "launch", spec, "--store", tmp_path / "store", "--gpus", 2, "--gpu-fraction", 0.5, "--pretend-gpus",
        "--shard-size", 2,
    )  # fmt: skip
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    question = "select gpu, count(distinct worker) workers, count(*) n from samples group by gpu order by gpu"
    found = answered(call("sql", tmp_path / "store", question, "--json"))
    assert [(row["gpu"], row["workers"]) for row in found] == [("0", 2), ("1", 2)]
    assert sum(row["n"] for row in found) == 120


def test_more_gpus_than_there_are_is_said_before_anything_runs(tmp_path):
    run = command("launch", slow_spec(tmp_path), "--store", tmp_path / "store", "--gpus", 64)
    _, err = run.communicate(timeout=100)
    assert run.returncode == 2
    assert "64 GPUs asked for, but this machine has" in err
    assert "Traceback" not in err
    assert num_shards(tmp_path / "store") == 0


def test_an_address_where_nobody_answers_is_said_at_once(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    run = command("launch", slow_spec(tmp_path), "--store", tmp_path / "store", "--address", address)
    _, err = run.communicate(timeout=100)
    assert run.returncode == 2
    assert f"no Ray answers at {address}" in err
    assert "Traceback" not in err


def test_a_word_that_is_no_address_is_said():
    with pytest.raises(ClusterError, match="'somewhere' is no Ray address: local, inline, auto or HOST:PORT"):
        ray_executor.join("somewhere", None, None, 1.0)


@pytest.mark.drill
def test_a_driver_killed_at_random_moments_loses_and_repeats_nothing(tmp_path, undisturbed):
    spec, store = slow_spec(tmp_path), tmp_path / "store"
    moments = random.Random(0)
    for _ in range(3):
        before = num_shards(store)
        run = start(spec, store)
        wait_until(lambda before=before: num_shards(store) > before, "a shard")
        time.sleep(moments.uniform(0, 1))
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    assert num_shards(store) < 24
    run = start(spec, store)
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert rows(store).equals(undisturbed)


def test_a_killed_worker_costs_nothing_but_time(tmp_path, undisturbed):
    spec, store = slow_spec(tmp_path), tmp_path / "store"
    run = start(spec, store)
    wait_until(lambda: num_shards(store) > 2, "a few shards")
    workers = [pid for pid, args in children(run.pid) if args.startswith("ray::_Worker")]
    os.kill(workers[0], signal.SIGKILL)
    _, err = run.communicate(timeout=200)
    assert run.returncode == 0, err
    assert "trying again on another worker" in err
    assert rows(store).equals(undisturbed)


@pytest.mark.drill
def test_a_shard_that_kills_every_worker_is_recorded_and_the_rest_is_finished(tmp_path):
    spec = write_spec(
        tmp_path,
        samples={"count": 10},
        attacks=[{"grid_components:misbehaving": {"eps": 0.1, "how": "dies"}}, {"fgsm": {"eps": 0.1}}],
    )
    run = command("launch", spec, "--store", tmp_path / "store", "--cpus", 2)
    _, err = run.communicate(timeout=250)
    assert run.returncode == 3, err
    failures = list(Store(str(tmp_path / "store")).failures.all())
    assert [f["kind"] for f in failures] == ["worker", "worker"]
    assert len(rows(tmp_path / "store")) == 20


@pytest.mark.parametrize(
    ("times", "shard_seconds"), [pytest.param(1, 4.0, marks=pytest.mark.drill), (2, 600.0)], ids=["once", "twice"]
)
def test_ctrl_c_once_finishes_what_runs_and_twice_does_not_wait_for_it(tmp_path, times, shard_seconds):
    spec, store = slow_spec(tmp_path, seconds=shard_seconds), tmp_path / "store"
    run = start(spec, store, process_group=0)
    wait_until(lambda: list(store.glob("cells/*/cell.json")), "a trained cell")
    time.sleep(1.5)
    for _ in range(times):
        os.killpg(run.pid, signal.SIGINT)
        time.sleep(0.5)
    _, err = run.communicate(timeout=200)  # much less than a shard of ten minutes
    assert run.returncode == 130, err
    assert "interrupted: finishing what is running" in err
    assert "Traceback" not in err
    assert (num_shards(store) > 0) == (times == 1)
    outcome = next(iter(Store(str(store)).runs.all()))["outcome"]
    assert outcome == "interrupted"


def test_a_grid_on_two_nodes_is_finished_when_one_of_them_is_killed(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        spec, store = slow_spec(tmp_path, seconds=0.3), tmp_path / "store"
        run = command("launch", spec, "--store", store, "--shard-size", 5, "--address", cluster.address)
        question = "select count(distinct worker) n from samples"

        def both_work():
            if not num_shards(store):
                return False
            return answered(call("sql", store, question, "--json"))[0]["n"] == 2

        wait_until(both_work, "shards from both nodes")
        cluster.remove_node(second, allow_graceful=False)
        assert num_shards(store) < 24
        _, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
        assert rows(store).equals(undisturbed)
    finally:
        cluster.shutdown()


@pytest.mark.drill
def test_nodes_that_lack_what_a_grid_needs_are_named_once_and_the_others_do_the_work(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    host = socket.gethostname()
    try:
        cluster.add_node(num_cpus=2, env_vars={"PYTHONPATH": str(tmp_path)})
        spec, store = slow_spec(tmp_path, seconds=0.1), tmp_path / "store"
        run = command("launch", spec, "--store", store, "--shard-size", 5, "--address", cluster.address)
        _, err = run.communicate(timeout=200)
        assert run.returncode == 0, err
        assert err.count(f"node {host}: attack 'grid_components:slow': there is no module 'grid_components'") == 1
        spec = write_spec(
            tmp_path, name="other", cells=[{"dataset": "mnist", "architecture": {"mlp": {"hidden": [8]}}}]
        )
        run = command("launch", spec, "--store", store, "--address", cluster.address, "--data-root", tmp_path / "data")
        _, err = run.communicate(timeout=200)
        assert run.returncode == 2, err
        assert err.count(f"node {host}: mnist is missing in {tmp_path}/data/MNIST/raw") == 1
        assert "Traceback" not in err
    finally:
        cluster.shutdown()
