"""Workers and a collector: clones with separate caches that share an S3-compatible server on the loopback."""

import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.project import Command, Project
from tests.test_dependencies import stages
from tests.test_faults import mounted

FIRST, SECOND, THIRD = "replicate@baseline-0", "replicate@dropout-1", "control@baseline-1"
REPLICATES = "metrics/replicates/*/*.json"
WORKER = ("python", "-m", "replication.worker")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that implements S3's protocol."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def origin(fingerprinted_project: Project, tmp_path: Path) -> Project:
    """A small replication, committed with its fingerprint. No replicate has been computed, and there is no remote."""
    return fingerprinted_project.copy(tmp_path / "origin")


@pytest.fixture
def site(origin: Project, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same with a remote: a bucket for this test on the server. The credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = tmp_path.name.replace("_", "-")[-63:].strip("-")
    boto3.client("s3", endpoint_url=server, region_name="us-east-1").create_bucket(Bucket=bucket)
    config = origin.root / ".dvc/config"
    text = config.read_text().replace("remote = models", "remote = shared")
    config.write_text(f"{text}['remote \"shared\"']\n    url = s3://{bucket}/r\n    endpointurl = {server}\n")
    origin.commit("remote")
    return origin


def clone(site: Project, name: str, *, data: bool = True) -> Project:
    """Return a clone, as on another machine. Without the data it cannot train: the images cannot be downloaded."""
    project = Project(site.root.with_name(name))
    site.run("git", "clone", "--quiet", ".", str(project.root))
    if data:
        shutil.copytree(site.root / "data/raw", project.root / "data/raw")
    return project


def wait(condition: Callable[[], bool], command: Command) -> None:
    while not condition():
        assert command.running(), command.printed()
        time.sleep(0.02)


def end(command: Command) -> str:
    assert command.process.wait(timeout=300) == 0, command.printed()
    return command.printed()


def test_a_collector_restores_what_two_workers_computed(site: Project) -> None:
    site.change_plan(techniques=["baseline"])
    site.dvc("--cd", "replication", "repro", "fingerprint")
    site.commit("half of the plan")
    worker = clone(site, "worker")
    by_hand = Command(worker, *WORKER, "--shard", "1/2")
    # The other worker is a task of the job array, which creates its own clone.
    array = {"SLURM_SUBMIT_DIR": site.root, "SLURM_ARRAY_TASK_ID": 2, "SLURM_ARRAY_TASK_MAX": 2}
    settings = [f"{name}={value}" for name, value in array.items()]
    part = site.run("env", *settings, "SLURM_ARRAY_TASK_COUNT=1", "bash", "replication/slurm.sh", check=False)
    assert (part.returncode, part.stderr.partition(".")[0]) == (1, "--array must be 1-N")
    settings.append("SLURM_ARRAY_TASK_COUNT=2")
    task = Project(site.root.with_name("origin.workers") / "2")
    by_slurm = Command(site, "env", *settings, "bash", "replication/slurm.sh")
    trained = [Project.stages_in(end(command)) for command in (by_hand, by_slurm)]
    assert [len(names) for names in trained] == [5, 5]
    assert not trained[0] & trained[1]

    collector = clone(site, "collector")
    ran = Project.stages_in(collector.dvc("--cd", "replication", "repro", "--pull").stdout)
    assert ran == {"analyse", "confirmation", "images", "recipes"}
    everything = "metrics/re*/*/*.json"
    assert collector.files(everything) == worker.files(everything) | task.files(everything)
    collector.dvc("--cd", "replication", "status", "--quiet", *stages("replication/dvc.yaml"))


def test_a_killed_worker_loses_at_most_its_own_replicate(site: Project) -> None:
    site.change_params(lambda params: params["train"].update(epochs=40))
    site.dvc("--cd", "replication", "repro", "fingerprint")
    site.commit("long enough to kill it")
    worker = clone(site, "worker")
    killed = Command(worker, *WORKER, FIRST, SECOND)
    wait(lambda: "dropout-1: epoch 3/" in killed.printed(), killed)
    killed.kill()

    collector = clone(site, "collector", data=False)
    collector.run(*WORKER, FIRST)
    assert list(collector.files(REPLICATES)) == ["metrics/replicates/0.01/baseline-0.json"]

    again = worker.run(*WORKER, FIRST, SECOND).stdout
    assert "dropout-1: resumed after epoch" in again
    assert len(Project.stages_in(again)) == 1


def test_two_workers_can_compute_the_same_name_at_once(site: Project) -> None:
    workers = clone(site, "worker1"), clone(site, "worker2")
    early = Command(workers[0], *WORKER, FIRST, quick=False)
    wait(lambda: "Running stage" in early.printed(), early)
    os.killpg(early.process.pid, signal.SIGSTOP)
    late = Command(workers[1], *WORKER, FIRST)
    try:
        wait(lambda: "Running stage" in late.printed(), late)
    finally:
        os.killpg(early.process.pid, signal.SIGCONT)
    end(early)
    end(late)
    collector = clone(site, "collector", data=False)
    assert not Project.stages_in(collector.run(*WORKER, FIRST).stdout)
    assert collector.files(REPLICATES) == workers[0].files(REPLICATES) == workers[1].files(REPLICATES)


def test_a_failed_replicate_does_not_stop_the_others(site: Project) -> None:
    worker = clone(site, "worker")
    (worker.root / ".checkpoints").mkdir()
    (worker.root / ".checkpoints/0.01-baseline-0").write_text("a file in place of a folder")
    result = worker.run(*WORKER, FIRST, THIRD, check=False)
    assert result.returncode == 1
    assert f"1 of 2 failed: {FIRST}." in result.stderr
    assert list(worker.files(REPLICATES)) == ["metrics/replicates/0.001/baseline-1.json"]


def remote_contents(site: Project, server: str) -> dict[bytes, Any]:
    """Return the objects on the remote by their content."""
    bucket = re.findall("s3://(.*)/r", site.read(".dvc/config").decode())[0]
    objects = boto3.resource("s3", endpoint_url=server, region_name="us-east-1").Bucket(bucket).objects.all()
    return {entry.get()["Body"].read(): entry.Object() for entry in objects}


def test_damaged_results_on_the_remote_are_computed_again(site: Project, server: str) -> None:
    worker = clone(site, "worker")
    worker.run(*WORKER, FIRST, THIRD)
    good = worker.files(REPLICATES)
    truncated, emptied = "metrics/replicates/0.01/baseline-0.json", "metrics/replicates/0.001/baseline-1.json"
    damaged = {good[truncated]: good[truncated][:-900], good[emptied]: b""}
    before = remote_contents(site, server)
    for content, instead in damaged.items():
        before[content].put(Body=instead)
    assert not remote_contents(site, server).keys() & damaged.keys()

    other = clone(site, "other")
    printed = other.run(*WORKER, FIRST, THIRD).stdout
    for path, name in ((truncated, FIRST), (emptied, THIRD)):
        assert re.search(
            f"{path} is invalid: it is not JSON .*\\. It is deleted, and {name} is computed again", printed
        )
    assert other.files(REPLICATES) == good
    assert remote_contents(site, server).keys() == before.keys()


def test_a_worker_reports_mistakes_before_computing(origin: Project) -> None:
    def error(*arguments: str) -> str:
        result = origin.run(*WORKER, *arguments, check=False)
        assert result.returncode
        assert "Traceback" not in result.stderr
        assert not origin.files(REPLICATES)
        return result.stderr

    assert "DVC has no default remote" in error(FIRST)
    assert "replicate@dropuot-1: not a replicate in replication/dvc.yaml" in error("replicate@dropuot-1", FIRST)
    assert "--shard 3/2 is not valid" in error("--shard", "3/2")
    assert "nothing to compute: give a NAME or --shard I/N" in error()
    origin.dvc("remote", "add", "--default", "shared", "http://127.0.0.1:9/replication")
    assert "cannot be read" in error(FIRST)
    with (origin.root / "lenet5/training/loop.py").open("a") as module:
        module.write("# A change that no fingerprint has confirmed.\n")
    assert "metrics/fingerprint.json is not up to date with the code; nothing was computed" in error(FIRST)


def test_a_replicate_counts_as_shared_once_the_remote_has_it(origin: Project, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    origin.dvc("remote", "add", "--default", "shared", str(remote))
    origin.commit("remote")
    absent = origin.run(*WORKER, FIRST, check=False)
    assert absent.returncode == 1
    assert f"there is no folder {remote}; create it, or correct the path" in absent.stderr
    assert not remote.exists() and not origin.files(REPLICATES)

    with mounted(remote, "-t", "tmpfs", "-o", "size=32k", "none"):
        (remote / "filling").write_bytes(bytes(7 * 4096))  # leaves a page for the replicate, none for its run
        full = origin.run(*WORKER, FIRST, check=False)
        assert full.returncode == 1
        assert re.search(f"{FIRST} was computed but not shared: {remote}/runs/.* is missing or incomplete", full.stdout)
        (remote / "filling").unlink()
        assert "1 of 1 replicates are shared." in origin.run(*WORKER, FIRST).stdout

        (run,) = (path for path in remote.glob("runs/*/*/*") if path.suffix != ".tmp")
        for left in (run.with_name("0.tmp"), run.with_name("x.tmp"), *remote.rglob("*.tmp")):
            left.touch()
            os.utime(left, (0, 0))
        being_copied = run.with_name("new.tmp")
        being_copied.touch()
        clones = [clone(origin, name, data=False) for name in ("worker", "collector")]
        assert not Project.stages_in(clones[0].run(*WORKER, FIRST).stdout)
        assert set(run.parent.iterdir()) == {run, being_copied}
        being_copied.unlink()
        ran = clones[1].dvc("--cd", "replication", "repro", "--pull", "--single-item", FIRST).stdout
        assert not Project.stages_in(ran)
