"""A command that was stopped at any moment and runs again ends with the bytes of one that was never stopped."""

import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import stage_process
from tests.project import END, Command, Project

TECHNIQUES = ("baseline", "batch_norm", "dropout", "weight_decay")


@dataclass(frozen=True)
class DieAtWrite:
    """Kill the process in its n-th write of a file, counted from 1, and leave half of the content, like a power cut."""

    number: int

    def __call__(self) -> None:
        real, writes = os.fsync, 0

        def fsync(descriptor: int) -> None:
            nonlocal writes
            writes += 1
            if writes == self.number:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            real(descriptor)

        os.fsync = fsync  # type: ignore[assignment]


def untrained(source: Project, root: Path, technique: str) -> Project:
    """Copy what a run needs, without the results of this technique's run."""
    ignored = shutil.ignore_patterns(".git", "cache", f"{technique}.pt", f"{technique}.csv")
    shutil.copytree(source.root, root, ignore=ignored)
    return Project(root)


def results(project: Project, technique: str) -> dict[str, bytes]:
    return project.files(f"models/*{technique}*", f"models/.*{technique}*", f"metrics/curves/{technique}.csv")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(
    technique: str, computed_project: Project, tmp_path: Path
) -> None:
    project = untrained(computed_project, tmp_path / "project", technique)
    root = project.root
    # In each of the first writes of a process: checkpoint, curve, checkpoint, curve ...
    for write in (1, 2, 1, 2, 3, 2):
        assert stage_process.run(root, "train", technique, before=DieAtWrite(write)).status == -signal.SIGKILL
    assert list(root.glob(f".checkpoints/{technique}/*.pt"))
    # At random moments.
    chance = random.Random(technique)
    for _ in range(4):
        stage_process.run(root, "train", technique, seconds=chance.uniform(0.0, 0.3))
    assert stage_process.run(root, "train", technique).status == 0
    assert results(project, technique) == results(computed_project, technique)
    assert not list(root.glob(".checkpoints/**/*.pt"))
    assert not list(root.glob("metrics/**/.*.partial"))


def test_damaged_or_outdated_checkpoints_are_not_used(computed_project: Project, tmp_path: Path) -> None:
    project = untrained(computed_project, tmp_path / "project", "dropout")
    root = project.root
    assert stage_process.run(root, "train", "dropout", before=DieAtWrite(4)).status == -signal.SIGKILL
    (checkpoint,) = root.glob(".checkpoints/dropout/*.pt")
    whole = checkpoint.read_bytes()

    def trained_anew(message: str) -> bool:
        ended = stage_process.run(root, "train", "dropout")
        assert ended.status == 0
        return "epoch 1/" in ended.output and message in ended.output

    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (b"", whole[:1000], whole[:-1], flipped):
        checkpoint.write_bytes(damaged)
        assert trained_anew(f"The checkpoint .checkpoints/dropout/{checkpoint.name} is damaged; renamed it to")
        assert results(project, "dropout") == results(computed_project, "dropout")

    # Epoch 2 of a run with other settings or data. If it were used, epoch 1 would be skipped.
    params = (root / "params.yaml").read_bytes()

    def changed(change: Callable[[], object]) -> None:
        checkpoint.write_bytes(whole)
        (root / "params.yaml").write_bytes(params)
        change()
        assert trained_anew("")

    changed(lambda: project.change_params(lambda params: params["train"].update(seed=1)))
    changed(lambda: project.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.3)))
    shutil.copytree(computed_project.root / "data", root / "data", dirs_exist_ok=True)
    changed(lambda: shutil.copy(root / "data/prepared/test.pt", root / "data/prepared/validation.pt"))


def test_a_run_ends_when_dvc_is_killed_and_resumes_later(project: Project) -> None:
    # More epochs than it can complete by then.
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=100_000))
    shutil.rmtree(project.root / "logs")
    stopped = after_some_epochs(project, "dvc", "repro", "train@dropout")
    stopped.process.kill()
    stopped.wait(seconds=60)
    assert not (project.root / "models/dropout.pt").exists()
    after_some_epochs(project, "dvc", "repro", "train@dropout").interrupt()
    assert project.read("logs/dropout.log").count(b"resumed after epoch") == 1


def test_an_interrupted_experiment_in_a_copy_resumes(project: Project) -> None:
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=100_000))
    project.commit("many epochs")
    for printed in ("dropout: epoch 3/", "dropout: resumed after epoch"):
        running = Command(project, "dvc", "exp", "run", "--temp", "train@dropout")
        while printed not in running.printed():
            assert running.running(), running.printed()
            time.sleep(0.05)
        running.interrupt()


def after_some_epochs(project: Project, *command: str, quick: bool = False) -> Command:
    """Start the command, in the usual way if a signal is to reach all its processes at once, and return it when it has
    trained for a few more epochs."""
    log = project.root / "logs/dropout.log"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    started = Command(project, *command, quick=quick)
    while not log.exists() or len(log.read_text().splitlines()) < before + 4:
        assert started.running(), started.printed()
        time.sleep(0.05)
    return started


def test_stopped_commands_resume_and_lose_at_most_one_epoch(project: Project, tmp_path: Path) -> None:
    epochs = 300  # takes some seconds, so that the command is still running when it is stopped
    project.change_params(lambda params: params.update(techniques={"baseline": {}, "dropout": {"dropout": 0.2}}))
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=epochs))
    reference = untrained(project, tmp_path / "reference", "dropout")
    assert stage_process.run(reference.root, "train", "dropout").status == 0
    project.call_environment_ready()
    shutil.rmtree(project.root / "logs")

    # With other code: its checkpoint is not used afterwards.
    module = project.root / "lenet5/network/native/gather.h"
    code = module.read_text()
    module.write_text(code + "\n// changed\n")
    stopped = after_some_epochs(project, "dvc", "repro", "train@dropout")
    stopped.interrupt()
    assert "Interrupted. Run the same command again to resume." in stopped.printed()
    assert "Traceback" not in stopped.printed()
    module.write_text(code)
    shutil.rmtree(project.root / "logs")

    stopped = after_some_epochs(project, "make", "reproduce")
    stopped.interrupt()
    assert "dropout: epoch 1/" in stopped.printed()
    assert "Interrupted. Run the same command again to resume." in stopped.printed()
    assert "Traceback" not in stopped.printed()
    for number in (signal.SIGTERM, signal.SIGHUP):  # to make alone
        stopped = after_some_epochs(project, "make", "reproduce")
        stopped.process.send_signal(number)
        stopped.wait(seconds=END)
        assert "Interrupted. Run the same command again to resume." in stopped.printed()
        assert "Traceback" not in stopped.printed()
    after_some_epochs(project, "make", "reproduce", quick=True).kill()

    # Two at once. The children of the first one continue without their killed parent.
    first = after_some_epochs(project, "make", "reproduce", quick=True)
    first.process.kill()
    second = Command(project, "make", "reproduce")
    first.wait(seconds=600)
    assert second.process.wait(timeout=600) == 0, second.printed()
    assert "Another 'make reproduce' is running in this folder; waiting for it to end." in second.printed()

    assert results(project, "dropout") == results(reference, "dropout")
    log = project.read("logs/dropout.log").decode()
    trained = [int(number) for number in re.findall(r" epoch (\d+)/", log)]
    assert set(trained) == set(range(1, epochs + 1))
    assert log.count("resumed after epoch") == 4
    assert len(trained) <= epochs + 4
    project.dvc("status", "--quiet")
    status = ("git", "status", "--porcelain", "--untracked-files=all", ".checkpoints", "models", "logs")
    assert project.run(*status).stdout == "?? models/README.md\n"
    assert not list(project.root.glob(".checkpoints/**/*.pt"))


def test_a_terminated_command_leaves_no_process_and_no_folder(project: Project, tmp_path: Path) -> None:
    project.call_environment_ready()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    smoke = Command(project, "env", f"TMPDIR={temporary}", "make", "smoke", quick=False)
    while " epoch 1/" not in smoke.printed():
        assert smoke.running(), smoke.printed()
        time.sleep(0.02)
    smoke.process.terminate()
    smoke.wait(seconds=END)
    # Beside the empty folder of its own that PyTorch creates when it is loaded
    assert [path for path in temporary.iterdir() if not path.name.startswith("torchinductor_")] == []
