"""Workers and a collector, clones with caches of their own that share an S3-compatible server on loopback."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.conftest import ROOT
from tests.project import Command, Project, add_replication, write_data_set, yaml

FIRST, SECOND, THIRD = "replicate@baseline-0", "replicate@dropout-1", "control@baseline-1"
REPLICATES = "metrics/replicates/*/*.json"
WORKER = (sys.executable, "-m", "replication.worker")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that speaks S3's protocol."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def origin(tmp_path: Path) -> Project:
    """A small replication, committed; nothing of it is computed, and it has no remote."""
    project = Project.create(ROOT, tmp_path / "origin")
    write_data_set(project, epochs=3)
    add_replication(project, ROOT)
    project.commit("small replication")
    return project


@pytest.fixture
def site(origin: Project, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same with a remote, a bucket of its own on the server; the credentials are in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "user")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    bucket = tmp_path.name.replace("_", "-")[-63:].strip("-")
    boto3.client("s3", endpoint_url=server, region_name="us-east-1").create_bucket(Bucket=bucket)
    with (origin.root / ".dvc/config").open("a") as config:
        config.write(
            f"    remote = shared\n['remote \"shared\"']\n    url = s3://{bucket}/r\n    endpointurl = {server}\n"
        )
    origin.commit("remote")
    return origin


def clone(site: Project, name: str, *, data: bool = True) -> Project:
    """A machine's clone. One without the data cannot train: no source has the generated images."""
    project = Project(site.root.with_name(name))
    site.run("git", "clone", "--quiet", ".", str(project.root))
    if data:
        shutil.copytree(site.root / "data/raw", project.root / "data/raw")
    return project


def wait(condition: Callable[[], bool], command: Command) -> None:
    while not condition():
        assert command.running(), command.said()
        time.sleep(0.02)


def end(command: Command) -> str:
    assert command.process.wait(timeout=300) == 0, command.said()
    return command.said()


def test_a_collector_restores_what_two_workers_computed_and_computes_only_the_joins(site: Project) -> None:
    site.change_plan(techniques=["baseline"])
    site.commit("half of it")
    worker = clone(site, "worker")
    by_hand = Command(worker, *WORKER, "--shard", "1/2")
    # The other as a task of the job array, which makes its clone.
    array = {"SLURM_SUBMIT_DIR": site.root, "SLURM_ARRAY_TASK_ID": 2, "SLURM_ARRAY_TASK_MAX": 2}
    settings = (f"{name}={value}" for name, value in array.items())
    task = Project(site.root.with_name("origin.workers") / "2")
    by_slurm = Command(site, "env", *settings, "bash", "replication/slurm.sh")
    trained = [Project.stages_in(end(command)) for command in (by_hand, by_slurm)]
    assert [len(names) for names in trained] == [2, 2]
    assert not trained[0] & trained[1]

    collector = clone(site, "collector", data=False)
    pipeline = yaml.load(site.root / "replication/dvc.yaml")["stages"]
    joins = {name for name, stage in pipeline.items() if "matrix" not in stage}
    assert Project.stages_in(collector.dvc("--cd", "replication", "repro", "--pull").stdout) == joins
    assert collector.files(REPLICATES) == worker.files(REPLICATES) | task.files(REPLICATES)
    collector.dvc("--cd", "replication", "status", "--quiet", *pipeline)


def test_a_killed_worker_loses_nothing_but_its_own_stage_and_goes_on_with_that(site: Project) -> None:
    site.change_params(lambda params: params["train"].update(epochs=40))
    site.commit("time to kill it in")
    worker = clone(site, "worker")
    killed = Command(worker, *WORKER, FIRST, SECOND)
    wait(lambda: "dropout-1: epoch 3/" in killed.said(), killed)
    killed.kill()

    collector = clone(site, "collector", data=False)
    collector.run(*WORKER, FIRST)
    assert list(collector.files(REPLICATES)) == ["metrics/replicates/0.01/baseline-0.json"]

    again = worker.run(*WORKER, FIRST, SECOND).stdout
    assert "dropout-1: resumed after epoch" in again
    assert len(Project.stages_in(again)) == 1


def test_two_workers_that_compute_the_same_name_at_once_do_no_harm(site: Project) -> None:
    workers = clone(site, "worker1"), clone(site, "worker2")
    early = Command(workers[0], *WORKER, FIRST)
    wait(lambda: "Running stage" in early.said(), early)
    os.killpg(early.process.pid, signal.SIGSTOP)
    late = Command(workers[1], *WORKER, FIRST)
    try:
        wait(lambda: "Running stage" in late.said(), late)
    finally:
        os.killpg(early.process.pid, signal.SIGCONT)
    end(early)
    end(late)
    collector = clone(site, "collector", data=False)
    assert not Project.stages_in(collector.run(*WORKER, FIRST).stdout)
    assert collector.files(REPLICATES) == workers[0].files(REPLICATES) == workers[1].files(REPLICATES)


def test_a_stage_that_fails_does_not_stop_the_others(site: Project) -> None:
    worker = clone(site, "worker")
    (worker.root / ".checkpoints").mkdir()
    (worker.root / ".checkpoints/0.01-baseline-0").write_text("a file in place of a folder")
    result = worker.run(*WORKER, FIRST, THIRD, check=False)
    assert result.returncode == 1
    assert f"1 of 2 failed: {FIRST}." in result.stderr
    assert list(worker.files(REPLICATES)) == ["metrics/replicates/0.001/baseline-1.json"]


def test_what_cannot_work_is_told_in_a_sentence_before_anything_is_computed(origin: Project) -> None:
    def said(*arguments: str) -> str:
        result = origin.run(*WORKER, *arguments, check=False)
        assert result.returncode
        assert "Traceback" not in result.stderr
        assert not origin.files(REPLICATES)
        return result.stderr

    assert "DVC has no default remote here" in said(FIRST)
    assert "replicate@dropuot-1: no such replicate in replication/dvc.yaml" in said("replicate@dropuot-1", FIRST)
    assert "--shard 3/2 is none" in said("--shard", "3/2")
    assert "say what to compute" in said()
    origin.dvc("remote", "add", "--default", "shared", "http://127.0.0.1:9/replication")
    assert "cannot be read" in said(FIRST)
