"""Checkpoints, and the lock that keeps two processes from training one run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lenet5 import Data, UserError
from lenet5.training.checkpoint import Checkpoint, identity, origin_of
from tests.conftest import ROOT
from tests.lenet5.training.small_run import settings

# A program that takes the lock of the run "dropout", prints its checkpoint, adds one to it, and waits for a line.
PROGRAM = """
import sys
from lenet5.training.checkpoint import exclusive

with exclusive("dropout", "digest") as checkpoint:
    epochs = checkpoint.load() or 0
    print(epochs, flush=True)
    checkpoint.save(epochs + 1)
    print("saved", flush=True)
    sys.stdin.readline()
"""


def start(folder: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_waiting_process_resumes_when_the_first_is_killed(tmp_path: Path) -> None:
    with start(tmp_path) as first:
        try:
            assert first.stdout and [first.stdout.readline() for _ in range(2)] == ["0\n", "saved\n"]
            with start(tmp_path) as second:
                assert second.stdout
                waiting = second.stdout.readline()
                assert waiting.startswith("Another process is training dropout; waiting for it to end (lock: ")
                assert second.poll() is None
                first.kill()
                printed, _ = second.communicate("end\n", timeout=60)
        finally:
            first.kill()
    assert printed.splitlines() == ["1", "saved"]
    assert second.returncode == 0
    assert Checkpoint(tmp_path / ".checkpoints/dropout/digest.pt").load() == 2


def test_a_damaged_checkpoint_is_renamed_and_ignored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = Checkpoint(tmp_path / "digest.pt")
    assert checkpoint.load() is None
    checkpoint.save({"epoch": 3})
    assert checkpoint.load() == {"epoch": 3}
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-10])
    assert checkpoint.load() is None
    assert "is damaged; renamed it to digest.damaged" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["digest.damaged"]


def test_a_checkpoint_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "digest.pt").mkdir()  # root can read a file whatever its permissions
    with pytest.raises(UserError, match=r"Cannot read .*/digest\.pt: Is a directory\."):
        Checkpoint(tmp_path / "digest.pt").load()
    assert (tmp_path / "digest.pt").is_dir()


def test_a_checkpoint_belongs_to_settings_data_and_code(data: Data) -> None:
    changed = data.test.images.clone()
    changed[0, 0, 16, 16] += 1
    origins = [
        origin_of(settings(), data),
        origin_of(settings(seed=1), data),
        origin_of(settings(), data._replace(test=data.test._replace(images=changed))),
    ]
    sources = {Path("b.py"): "0", Path("a.py"): "1"}
    identities = {identity(origin, sources) for origin in origins} | {
        identity(origins[0], {**sources, Path("b.py"): "2"})
    }
    assert len(identities) == 4
    assert identity(origin_of(settings(), data), dict(reversed(sources.items()))) == identity(origins[0], sources)
    assert origins[0]["torch"] == torch.__version__.split("+")[0]


def test_deleting_a_checkpoint_deletes_those_of_other_settings(tmp_path: Path) -> None:
    for name in ("one", "two"):
        Checkpoint(tmp_path / f"{name}.pt").save(name)
    Checkpoint(tmp_path / "one.pt").delete()
    assert list(tmp_path.iterdir()) == []
