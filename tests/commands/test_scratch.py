"""The temporary folders of the commands."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from commands.scratch import PREFIX, run, temporary_folder
from lenet5 import UserError
from tests.conftest import ROOT
from tests.project import Project

HOLD = """
from commands.scratch import temporary_folder
with temporary_folder() as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    input()
"""


def test_a_command_deletes_folders_of_killed_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "lenet5-of-the-user").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to("lenet5-of-the-user")
    command = [sys.executable, "-c", HOLD]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env={"TMPDIR": str(tmp_path)}, stdin=pipe, stdout=pipe, text=True
    ) as killed:
        assert killed.stdout
        folder = Path(killed.stdout.readline().strip())
        with temporary_folder() as other:
            assert folder.is_dir() and folder.parent == tmp_path
            assert other != folder
        killed.kill()
        killed.wait()
    assert (folder / "file").exists()
    with temporary_folder():
        assert not folder.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"lenet5-of-the-user", f"{PREFIX}link"}


def test_without_the_environment_the_missing_program_is_named(project: Project) -> None:
    with pytest.raises(UserError, match=r"nosuch is not on the PATH\. Run `source .venv/bin/activate`"):
        run("nosuch", "--version")
    for command in ("commands.report", "commands.reproduce"):
        failed = project.run(sys.executable, "-m", command, check=False, PATH="/usr/bin:/bin")
        assert failed.stderr == "dvc is not on the PATH. Run `source .venv/bin/activate`, then this again.\n"
        assert failed.returncode == 1
