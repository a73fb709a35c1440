"""Ray: who does the work, that a death changes nothing, and that nothing else knows of it."""

import ast
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import clir_cli
from clir_cli.cluster import probe as probes
from clir_cli.cluster import workers
from clir_cli.cluster.connection import EngineOptions, connect
from clir_cli.cluster.workers import RayCluster, Resources
from clir_cli.errors import UserError
from clir_cli.settings import ClusterSettings

HERE = Path(__file__).resolve().parent
with_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra: ray)"
)


def on(engine: EngineOptions) -> RayCluster:
    """A cluster that no work reaches."""
    return RayCluster(None, engine, None, print)


# ------------------------------------------------------------------ without Ray


def test_nothing_outside_its_room_imports_ray():
    package, found = Path(clir_cli.__file__).parent, set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "ray" for name in names):
                found.add(path.relative_to(package).parts[0])
    assert found == {"cluster"}


def test_without_the_extra_one_line_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'clir-cli\[ray\]'"):
        connect(EngineOptions("ray"))


def test_engines_that_cannot_be_meant():
    with pytest.raises(UserError, match=r"unknown engine 'rai': did you mean ray\?"):
        EngineOptions("rai").check()
    with pytest.raises(UserError, match="--address auto names a Ray cluster; add --engine ray"):
        EngineOptions("local", "auto").check()
    EngineOptions("local").check()
    EngineOptions("ray", "auto", 3).check()


def test_what_a_worker_occupies(monkeypatch):
    monkeypatch.setattr(workers, "processors", lambda: 8)
    here, there = EngineOptions("ray", jobs=2), EngineOptions("ray", "auto", 2)
    chosen = ClusterSettings()
    assert on(here).resources(chosen, "cpu", 5) == Resources(cpus=4, gpus=0, memory=5)
    assert on(there).resources(chosen, "cpu", 5) == Resources(cpus=1, gpus=0, memory=5)
    assert on(EngineOptions("ray")).resources(chosen, "cpu", 0) == Resources(cpus=1)
    chosen = ClusterSettings(cpus=3, gpus=0.5, memory_gb=2)
    assert on(here).resources(chosen, "cuda", 5) == Resources(3, 0.5, 2_000_000_000)
    assert str(Resources(3, 0.5, 2_000_000_000)) == "3 CPU, 0.5 GPU, 2 GB of memory"


def test_a_certain_card_is_not_for_ray():
    with pytest.raises(UserError, match="--device cuda:1: Ray assigns the cards"):
        on(EngineOptions("ray")).device("cuda:1")
    assert on(EngineOptions("ray")).device("cpu") == "cpu"


def test_a_worker_that_does_not_see_the_folder_says_where_it_runs(tmp_path):
    with probes.probed(tmp_path / "shared") as probe:
        probe.check()
        (tmp_path / "shared").rename(tmp_path / "elsewhere")
        (tmp_path / "shared").mkdir()  # another folder under the same path
        probe = replace(probe, patience=0.0)
        with pytest.raises(UserError, match=r"worker on .* does not see .*shared; give --home"):
            probe.check()
    assert not list((tmp_path / "shared").iterdir())


def test_a_worker_with_other_versions_is_refused(tmp_path):
    with probes.probed(tmp_path) as probe:
        other = {**probe.versions, "torch": "1.0"}
        with pytest.raises(UserError, match=r"has torch .*, and this machine 1\.0; install"):
            replace(probe, versions=other).check()


def test_what_killed_drivers_left_goes_after_a_day(tmp_path):
    old, new = tmp_path / ".probe-old", tmp_path / ".probe-new"
    for file in (old, new):
        file.touch()
    os.utime(old, (time.time() - 2 * probes.DAY,) * 2)
    with probes.probed(tmp_path):
        assert new.exists() and not old.exists()


def test_a_file_that_never_comes_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "SETTLING", 0.0)
    with pytest.raises(UserError, match="a worker wrote it, and it is not seen here"):
        probes.await_file(tmp_path / "shard")


# ------------------------------------------------------------------ with Ray


@with_ray
def test_an_address_where_nobody_answers_is_told_at_once(monkeypatch):
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=rf"--address {address}: no Ray cluster there"):
            connect(EngineOptions("ray", address))
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match="--address auto: no Ray cluster there"):
            connect(EngineOptions("ray", "auto"))


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> dict:
    """What the script in ray_work.py saw; its last line is all that it may print."""
    folder = tmp_path_factory.mktemp("ray")
    found = subprocess.run(
        [sys.executable, HERE / "ray_work.py", folder],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(HERE)},
    )
    assert found.returncode == 0, found.stderr
    (line,) = found.stdout.splitlines()  # neither the workers' output nor Ray's own
    return {**json.loads(line), "err": found.stderr, "folder": folder}


@with_ray
def test_each_item_is_done_once_by_workers_that_keep_what_they_prepared(told):
    done = dict(told["spread"])
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert [done[number][2] for number in (0, 1, 3)] == ["a", "b", "c"]
    assert done[4][2] == str(told["folder"])  # they work where the command was called
    counts = Counter(pid for pid, _, _ in done.values())
    by_worker = {pid: sorted(n for each, n, _ in done.values() if each == pid) for pid in counts}
    assert 2 <= len(counts) <= 3  # two workers, and the one that replaced the dead one
    assert all(numbers[-1] >= counts[pid] for pid, numbers in by_worker.items())
    assert max(count for _, count, _ in done.values()) > 1


@with_ray
def test_a_dead_worker_is_replaced_and_its_work_done_again(told):
    assert dict(told["spread"])[2][2].startswith("kill:")
    assert told["said after a death"] == ["a worker died; another one repeats its work"]
    assert told["tasks"]["kill"].startswith("kill:")


@with_ray
def test_every_holder_answers_every_item_in_order_also_after_a_death(told):
    assert [[each[2][:4] for each in answers] for answers in told["asked"]] == [
        [word, word] for word in ("a", "b", "kill", "c", "d", "e")
    ]
    first, last = told["asked"][0], told["asked"][-1]
    assert len({each[0] for each in first}) == 2
    survivors = {each[0] for each in first} & {each[0] for each in last}
    assert len(survivors) == 1
    assert told["said after another"] == 2


@with_ray
def test_what_a_worker_raises_is_raised_here(told):
    assert told["error"] == "UserError: the input is at fault"
    assert told["bug"] == "ZeroDivisionError: here"
    assert told["tasks"]["wron"] == "the input is at fault"


@with_ray
def test_room_is_what_the_machines_have(told):
    assert told["room"] == [2, 2]
    assert told["device"] in ("cpu", "cuda")
    assert told["too large"].startswith("UserError: --engine ray: no machine of the cluster has")
    assert "512 GPU" in told["too large"]


@with_ray
def test_a_folder_that_is_not_shared_is_told(told):
    assert "does not see" in told["unseen"] and "give --home" in told["unseen"]
