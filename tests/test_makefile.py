"""The parts of the Makefile that need no long computation. test_resume.py runs `make reproduce` itself."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from commands.pipeline import jobs, quotas
from lenet5.support.errors import UserError
from lenet5.support.process import GIT_VARIABLES
from tests.conftest import ROOT
from tests.project import Project

LISTED = ("reproduce", "replicate", "audit", "verify", "check", "test", "experiments", "report", "smoke")


def make(folder: Path, *arguments: str, variables: tuple[str, ...] = ()) -> tuple[int, str]:
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("commands", "requirements"):
        (folder / name).mkdir(exist_ok=True)
    shutil.copy(ROOT / "commands/environment.py", folder / "commands")
    for path in (ROOT / "requirements").iterdir():
        (folder / "requirements" / path.name).touch()
    Project(folder).run("git", "init", "--quiet")
    Project(folder).commit("a Makefile")
    command = ("/usr/bin/env", "PATH=/usr/bin:/bin", *variables, "/usr/bin/make", *arguments)
    result = Project(folder).run(*command, check=False)
    return result.returncode, result.stdout + result.stderr


def test_make_alone_lists_the_commands(tmp_path: Path) -> None:
    status, output = make(tmp_path)
    assert status == 0
    assert all(f"make {command}" in output for command in LISTED)


def test_the_makefile_needs_no_make_newer_than_that_of_macos() -> None:
    # What GNU make has learnt since 3.81, as far as a Makefile shows it.
    newer = r"\.ONESHELL|\.SHELLFLAGS|\.RECIPEPREFIX|\.EXTRA_PREREQS|::=|!=|&:|undefine|\$\((?:file|guile|let|intcmp) "
    text = (ROOT / "Makefile").read_text()
    assert re.findall(newer, text) == []
    assert "SHELL := /bin/sh" in text


def test_recipes_get_no_variable_that_git_sets_in_hooks(tmp_path: Path) -> None:
    names = Project(tmp_path).run("git", "rev-parse", "--local-env-vars").stdout.split()
    assert {name for name in names if not name.startswith(("GIT_CONFIG", "GIT_INTERNAL"))} == {*GIT_VARIABLES}
    variables = tuple(f"{name}=/nowhere" for name in GIT_VARIABLES)
    status, output = make(tmp_path, "--eval=print: ; @env", "print", variables=variables)
    assert status == 0
    assert [line for line in output.splitlines() if "/nowhere" in line] == []


def test_recipes_may_keep_what_python_compiles(tmp_path: Path) -> None:
    forbidden = ("PYTHONDONTWRITEBYTECODE=1",)
    status, output = make(tmp_path, "--eval=print: ; @env", "print", variables=forbidden)
    assert status == 0
    assert "PYTHONDONTWRITEBYTECODE" not in output


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1; touch x", "$(touch x)"])
def test_an_invalid_number_of_jobs_is_rejected(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBS", text)
    with pytest.raises(UserError, match=re.escape(f"JOBS is '{text}', but must be a whole number of at least 1.")):
        jobs()


def test_the_quota_of_a_container_limits_the_number_of_jobs(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    assert list(quotas(own, root)) == []
    (root / "user/session").mkdir(parents=True)
    own.write_text("1:name=systemd:/other\n0::/user/session\n")
    for group, limit in (("", "max"), ("user", "150000"), ("user/session", "400000")):
        (root / group / "cpu.max").write_text(f"{limit} 100000\n")
    assert list(quotas(own, root)) == [4, 1.5]
    own.write_text("0::/\n")
    (root / "cpu.max").write_text("50000 100000\n")
    assert list(quotas(own, root)) == [0.5]


@pytest.mark.parametrize("program", ["commands.reproduce", "replication.run"])
def test_an_invalid_number_of_jobs_is_reported(program: str, tmp_path: Path) -> None:
    failed = Project(tmp_path).run("python", "-m", program, check=False, JOBS="two", PYTHONPATH=str(ROOT))
    assert (failed.returncode, failed.stderr.count("JOBS is 'two'")) == (1, 1)
    assert list(tmp_path.iterdir()) == []


def test_no_shell_runs_what_is_given_to_make(project: Project) -> None:
    project.call_environment_ready()
    for command in ("reproduce JOBS", "audit N", "report REV"):
        target, variable = command.split()
        hostile = f"{variable}=$$(touch x)`touch x`\"; touch x; \"'; touch x; '"
        assert project.run("make", target, hostile, check=False).returncode != 0
    assert not (project.root / "x").exists()


def fake_python(folder: Path, script: str) -> str:
    path = folder / "fakepython"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"PYTHON={path}"


def test_a_missing_python_is_reported_with_a_remedy(tmp_path: Path) -> None:
    status, output = make(tmp_path, "environment", "PYTHON=python3.99")
    assert status != 0
    assert "'python3.99' is not installed" in output and "apt-get install python3" in output


def test_an_old_python_is_reported_with_its_version(tmp_path: Path) -> None:
    program = "import sys; sys.version_info, sys.version = (3, 9, 2), '3.9.2'; exec(open(sys.argv[1]).read())"
    old = fake_python(tmp_path, f'exec python3 -c "{program}" "$@"')
    status, output = make(tmp_path, "environment", old)
    assert status != 0
    assert "Python 3.11 to 3.14 is required" in output and "3.9.2" in output


def test_a_missing_venv_module_is_reported_with_a_remedy(tmp_path: Path) -> None:
    bare = fake_python(
        tmp_path,
        """exec python3 -c 'import runpy, sys
sys.modules["ensurepip"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@" """,
    )
    status, output = make(tmp_path, "environment", bare)
    assert status != 0
    assert "sudo apt-get install python3-venv" in output
    assert not (tmp_path / ".venv").exists()


def test_a_users_settings_of_python_and_shell_stop_nothing(project: Project) -> None:
    project.call_environment_ready()
    project.change_params(lambda params: params.update(techniques={"baseline": {}}))
    settings = {"PYTHONSAFEPATH": "1", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "SHELL": "/usr/sbin/nologin"}
    settings["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    printed = project.run("make", "reproduce", check=True, **settings).stdout
    assert project.stages_in(printed) == {"check", "summary", "plot"}, printed
    before = project.files("metrics/*.png")
    (project.root / "style").write_text("lines.linewidth: 5\naxes.facecolor: red\n")
    plain = {name: settings[name] for name in ("MPLBACKEND", "PYTHONOPTIMIZE", "PYTHONWARNINGS")}
    project.run("python", "-m", "stages.plot", check=True, **plain, MATPLOTLIBRC="style")
    assert project.files("metrics/*.png") == before


def test_a_zip_download_works_after_what_make_says(project: Project) -> None:
    project.call_environment_ready()
    shutil.rmtree(project.root / ".git")
    for target in LISTED:
        failed = project.run("make", target, check=False)
        assert failed.returncode != 0
        message, _make = failed.stderr.splitlines()
        assert "No git commit contains the project in" in message
    command = re.search("git init .*", message)
    assert command
    project.run("git", "init")
    commit = command[0].removeprefix("git init && ")
    assert f"or run: {commit}\n" in project.run("make", "report", check=False).stderr
    project.run("sh", "-c", commit)
    project.run("make", "reproduce")
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_a_subfolder_of_a_shallow_clone_is_a_project(project: Project, tmp_path: Path) -> None:
    whole = Project(tmp_path / "whole of a repository")
    whole.root.mkdir()
    whole.run("git", "init")
    shutil.rmtree(project.root / ".git")
    study = Project(project.root.rename(whole.root / "study"))
    study.call_environment_ready()
    printed = study.run("make", "report", check=False).stderr
    assert f"git commit --message study (no git init if it is to be part of {whole.root})" in printed
    study.run("sh", "-c", "git add --all && git commit --message study")
    study.run("make", "reproduce")

    whole.run("git", "clone", "--depth=1", f"file://{whole.root}", str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone/study")
    clone.call_environment_ready()
    (clone.root / "Makefile").write_bytes(clone.read("Makefile") + b"# uncommitted\n")
    clone.run("make", "experiments")
    assert clone.run("git", "status", "--porcelain").stdout == " M study/Makefile\n"
    assert clone.dvc("metrics", "diff", "baseline", "dropout", "--md").stdout.count("selected.json") > 3


@pytest.mark.parametrize("fault", ["braces", "read-only", "another user's"])
def test_make_rejects_a_folder_in_which_it_cannot_work(fault: str, tmp_path: Path) -> None:
    if fault != "braces" and os.geteuid() != 0:
        pytest.skip("only root can mount a folder or give it to another user")
    folder = tmp_path / ("${selected}" if fault == "braces" else "study")
    folder.mkdir()
    assert make(folder)[0] == 0
    (folder / ".venv").mkdir()
    (folder / ".venv/ready").touch()
    if fault == "another user's":
        shutil.chown(folder / ".git", 65534)
        shutil.chown(folder, 65534)
    command = ["make", "report"]
    if fault == "read-only":
        mount = f"mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}' && cd '{folder}' && "
        command = ["unshare", "--mount", "sh", "-c", f"{mount}exec make report"]
    failed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    message, _make = failed.stderr.splitlines()
    assert failed.returncode != 0
    assert str(folder) in message
    expected = {"braces": "no { or }", "read-only": "Cannot write to", "another user's": "belongs to another user"}
    assert expected[fault] in message
