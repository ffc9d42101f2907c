"""A study stopped anywhere ends, after the same command again, in the bytes of one that was not stopped."""

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
from tests.project import Command, Project

TECHNIQUES = ("baseline", "batch_norm", "dropout", "weight_decay")


@dataclass(frozen=True)
class DieAtWrite:
    """In the process's n-th write of a file, counted from 1, end like a power cut: half of it is there."""

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
    """A copy of what a training needs, where this one has not been done."""
    ignored = shutil.ignore_patterns(".git", "cache", f"{technique}.pt", f"{technique}.csv")
    shutil.copytree(source.root, root, ignore=ignored)
    return Project(root)


def results(project: Project, technique: str) -> dict[str, bytes]:
    return project.files(f"models/*{technique}*", f"models/.*{technique}*", f"metrics/curves/{technique}.csv")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_training_killed_at_any_moments_ends_in_the_same_bytes(
    technique: str, computed_project: Project, tmp_path: Path
) -> None:
    project = untrained(computed_project, tmp_path / "project", technique)
    root = project.root
    # Each of the first process's writes in turn: checkpoint, curve, checkpoint, curve ...
    for write in (1, 2, 1, 2, 3, 2):
        assert stage_process.run(root, "train", technique, before=DieAtWrite(write)).status == -signal.SIGKILL
    assert list(root.glob(f".checkpoints/{technique}/*.pt"))
    # And any moment.
    chance = random.Random(technique)
    for _ in range(4):
        process = stage_process.start(root, "train", technique)
        process.join(chance.uniform(0.0, 0.3))
        process.kill()
        process.join()
    assert stage_process.run(root, "train", technique).status == 0
    assert results(project, technique) == results(computed_project, technique)
    assert not list(root.glob(".checkpoints/**/*.pt"))
    assert not list(root.glob("metrics/**/.*.partial"))


def test_a_damaged_checkpoint_is_set_aside_and_one_of_other_data_or_settings_is_not_used(
    computed_project: Project, tmp_path: Path
) -> None:
    project = untrained(computed_project, tmp_path / "project", "dropout")
    root = project.root
    assert stage_process.run(root, "train", "dropout", before=DieAtWrite(4)).status == -signal.SIGKILL
    (checkpoint,) = root.glob(".checkpoints/dropout/*.pt")
    whole = checkpoint.read_bytes()

    def trained_anew(said: str) -> bool:
        ended = stage_process.run(root, "train", "dropout")
        assert ended.status == 0
        return "epoch 1/" in ended.output and said in ended.output

    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (b"", whole[:1000], whole[:-1], flipped):
        checkpoint.write_bytes(damaged)
        assert trained_anew(f"The checkpoint .checkpoints/dropout/{checkpoint.name} is damaged; it is now")
        assert results(project, "dropout") == results(computed_project, "dropout")

    # Epoch 2 of another training: were it taken, epoch 1 would not be done.
    def changed(change: Callable[[], object]) -> None:
        checkpoint.write_bytes(whole)
        change()
        assert trained_anew("")

    changed(lambda: project.change_params(lambda params: params["train"].update(seed=1)))
    changed(lambda: project.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.3)))
    shutil.copytree(computed_project.root / "data", root / "data", dirs_exist_ok=True)
    changed(lambda: shutil.copy(root / "data/prepared/test.pt", root / "data/prepared/validation.pt"))


def test_a_training_whose_dvc_was_killed_ends_by_itself_and_goes_on_with_the_same_command(project: Project) -> None:
    # Of so many epochs that it cannot be done by then.
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=100_000))
    shutil.rmtree(project.root / "logs")
    stopped = after_some_epochs(project, "dvc", "repro", "train@dropout")
    stopped.process.kill()
    stopped.ends(seconds=60)
    assert not (project.root / "models/dropout.pt").exists()
    after_some_epochs(project, "dvc", "repro", "train@dropout").interrupt()
    assert project.read("logs/dropout.log").count(b"resumed after epoch") == 1


def after_some_epochs(project: Project, *command: str) -> Command:
    """Start the command and return when it has trained for some epochs more than there were."""
    log = project.root / "logs/dropout.log"
    before = len(log.read_text().splitlines()) if log.exists() else 0
    started = Command(project, *command)
    while not log.exists() or len(log.read_text().splitlines()) < before + 4:
        assert started.running(), started.said()
        time.sleep(0.01)
    return started


def test_every_command_killed_or_interrupted_goes_on_and_loses_one_epoch_at_most(
    project: Project, tmp_path: Path
) -> None:
    epochs = 600  # some seconds, so that it is still at it when it is stopped
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=epochs))
    reference = untrained(project, tmp_path / "reference", "dropout")
    assert stage_process.run(reference.root, "train", "dropout").status == 0
    project.call_environment_ready()
    shutil.rmtree(project.root / "logs")

    # With other code, whose checkpoint is of no use afterwards.
    module = project.root / "stages/native/gather.h"
    code = module.read_text()
    module.write_text(code + "\n// changed\n")
    stopped = after_some_epochs(project, "dvc", "repro", "train@dropout")
    stopped.interrupt()
    assert "Interrupted. The same command goes on from here." in stopped.said()
    assert "Traceback" not in stopped.said()
    module.write_text(code)
    shutil.rmtree(project.root / "logs")

    stopped = after_some_epochs(project, "make", "reproduce")
    stopped.interrupt()
    assert "dropout: epoch 1/" in stopped.said()
    assert "Interrupted. The same command goes on from here." in stopped.said()
    assert "Traceback" not in stopped.said()
    after_some_epochs(project, "make", "reproduce").kill()

    # Two at once, of which the first goes on without its killed parent.
    first = after_some_epochs(project, "make", "reproduce")
    first.process.kill()
    second = Command(project, "make", "reproduce")
    first.ends(seconds=600)
    assert second.process.wait(timeout=600) == 0, second.said()
    assert "Another 'make reproduce' is at work in this folder; waiting for it to end." in second.said()

    assert results(project, "dropout") == results(reference, "dropout")
    log = project.read("logs/dropout.log").decode()
    trained = [int(number) for number in re.findall(r" epoch (\d+)/", log)]
    assert set(trained) == set(range(1, epochs + 1))
    assert log.count("resumed after epoch") == 2
    assert len(trained) <= epochs + 2
    project.dvc("status", "--quiet")
    assert "nothing to commit" in project.run("git", "status", ".checkpoints", "models", "logs").stdout
    assert not list(project.root.glob(".checkpoints/**/*.pt"))
