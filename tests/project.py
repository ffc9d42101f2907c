"""Copies of the project in temporary folders, driven through the commands that a user types."""

import contextlib
import gzip
import hashlib
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from tests import quick_start

TRACKED = [".dvc/config", ".dvc/.gitignore", ".dvc/plots", ".dvcignore", ".gitattributes", ".gitignore", "Makefile"]
TRACKED += ["dvc.yaml", "params.yaml", "pyproject.toml", "requirements"]
TRACKED += ["lenet5", "stages", "commands"]
IMAGE_FILES = {"train-images-idx3-ubyte": 300, "t10k-images-idx3-ubyte": 100}
RECIPES = {
    "recipes": {"plain": {"learning_rate": 0.003}, "augmented": {"learning_rate": 0.003, "augmentation": "flip_shift"}},
    "search": {"recipes": ["plain", "augmented"], "seeds": [4, 5]},
    "final": {"recipes": ["augmented"], "seeds": [6, 7]},
}
TUNING: dict[str, Any] = {
    "settings": {"baseline": {}, "dropout_20": {"dropout": 0.2}, "dropout_50": {"dropout": 0.5}},
    "choices": {"baseline": ["baseline"], "dropout": ["dropout_20", "dropout_50"]},
    "learning_rates": [0.003, 0.01],
    "schedules": ["constant", "cosine"],
    "search": {"seeds": [4]},
    "refine": {"cells": 2, "seeds": [5]},
    "final": {"planned": 2, "seeds": [6, 7]},
}
NOT_INHERITED = ("MAKE", "MFLAGS", "GIT_", "ATEN_", "ONEDNN_", "MKL_", "CUBLAS_")
OFFLINE = ("env", "http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9", "no_proxy=")
END = 10  # seconds in which a stopped command must end; an idle machine needs two, but tests share cores and disk
yaml = YAML()


@dataclass(frozen=True)
class Project:
    root: Path

    @staticmethod
    def create(source: Path, root: Path) -> "Project":
        """Copy the code and pipeline at `source`, without results, into a git repository at `root`."""
        for name in TRACKED:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            if (source / name).is_dir():
                shutil.copytree(source / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source / name, root / name)
        project = Project(root)
        project.run("git", "init", "--quiet", "--initial-branch=main")
        return project

    def copy(self, root: Path) -> "Project":
        """Copy the project, with its cache, to `root`."""
        shutil.copytree(self.root, root, symlinks=True)
        return Project(root)

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project, with the programs of this Python's environment first on the path.

        With `check`, a failure of the command fails the test and shows what it printed. Stages, commands and DVC start
        with their libraries loaded, except with a variable that these read.
        """
        quick = not quick_start.AT_START & set(environment)
        variables = (self.quick_environment() if quick else self.environment()) | environment
        result = subprocess.run(command, cwd=self.root, env=variables, capture_output=True, text=True, check=False)
        if check:
            assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
        return result

    def environment(self) -> dict[str, str]:
        programs = str(Path(sys.executable).parent)
        people = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
        author = dict.fromkeys(people, "test@example.org")
        # Left out: what lets a make in the project print that it runs under `make test`, what git sets in a hook that
        # runs the tests, and what each program must set itself, which modules that a test imports have set here.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        # DVC runs commands with $SHELL, and with /bin/sh if it is unset, as in a container or under cron.
        ours = {"SHELL": "/bin/sh", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        # A user's own settings, such as commits that are signed, must not change what happens.
        ours |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        ours |= dict.fromkeys(("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"), str(quick_start.programs() / "none"))
        # DVC's databases on files, which it would leave in /var for ever
        ours["DVC_SITE_CACHE_DIR"] = str(quick_start.programs() / "dvc-databases")
        return inherited | author | ours

    def quick_environment(self) -> dict[str, str]:
        """Return the environment in which the project's programs start with their libraries loaded."""
        variables = self.environment()
        return variables | {"PATH": f"{quick_start.programs()}{os.pathsep}{variables['PATH']}"}

    def dvc(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("dvc", *arguments, check=check, **environment)

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def call_environment_ready(self) -> None:
        """Let `make` use the environment of the tests instead of installing one."""
        (self.root / ".venv").mkdir()
        for group in ("", "-plots", "-test"):
            (self.root / f".venv/ready{group}").touch()

    def params(self) -> Any:
        return yaml.load(self.root / "params.yaml")

    def change_params(self, change: Callable[[Any], object]) -> None:
        """Apply `change` to the content of params.yaml and write it back."""
        params = self.params()
        change(params)
        yaml.dump(params, self.root / "params.yaml")

    def change_plan(self, **changes: Any) -> None:
        """Change what is replicated: keys of replication/params.yaml."""
        path = self.root / "replication/params.yaml"
        plan = yaml.load(path)
        plan.update(changes)
        yaml.dump(plan, path)

    def stages_run(self, *arguments: str) -> set[str]:
        """Run `dvc repro` and return the names of the stages that it runs."""
        return self.stages_in(self.dvc("repro", *arguments).stdout)

    @staticmethod
    def stages_in(output: str) -> set[str]:
        """Return the names of the stages that DVC ran, from what it printed."""
        return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def files(self, *patterns: str) -> dict[str, bytes]:
        """Return the contents of the matching files, by their path in the project."""
        paths = (path for pattern in patterns for path in sorted(self.root.glob(pattern)) if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in paths}


class Command:
    """A command in a process group of its own, as a terminal starts it; not `quick` if a test needs the process tree
    below it, or a signal other than Ctrl-C and SIGKILL."""

    def __init__(self, project: Project, *command: str, quick: bool = True) -> None:
        variables = project.quick_environment() if quick else project.environment()
        self.output = project.root / f"output-{time.monotonic_ns()}.txt"
        with self.output.open("w") as file:
            self.process = subprocess.Popen(
                command, cwd=project.root, env=variables, stdout=file, stderr=file, start_new_session=True
            )

    def running(self) -> bool:
        return self.process.poll() is None

    def states(self) -> list[str]:
        """Return the state of each process of the group."""
        self.process.poll()
        states: list[str] = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == self.process.pid:
                    states.append(process.status())
        return states

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.wait(seconds=END)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.wait(seconds=END)

    def wait(self, seconds: float) -> None:
        """Wait until all processes have ended and the system has removed them: to DVC, zombies are still running."""
        deadline = time.monotonic() + seconds
        while any(state != psutil.STATUS_ZOMBIE for state in self.states()):
            assert time.monotonic() < deadline, f"still running after {seconds} s\n{self.printed()}"
            time.sleep(0.02)
        while self.states():
            assert time.monotonic() < deadline + 30
            time.sleep(0.02)

    def printed(self) -> str:
        return self.output.read_text()


def computed_once(name: str, compute: Callable[[Path], None], factory: pytest.TempPathFactory) -> Project:
    """Return the project that `compute` creates in a folder. The worker processes of pytest compute it once for all."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    root, complete = shared / name, shared / f"{name}.complete"
    with FileLock(shared / f"{name}.lock"):
        if not complete.exists():
            shutil.rmtree(root, ignore_errors=True)
            compute(root)
            complete.touch()
    return Project(root)


def longer_runs(*seeds: int) -> dict[str, Any]:
    """Return the part of a small plan for runs with more epochs."""
    return {"technique": "dropout", "learning_rate": 0.01, "epochs": 7, "seeds": list(seeds)}


def add_replication(project: Project, source: Path) -> None:
    """Copy the code and pipeline of the replication, without its results, and plan few replicates."""
    ignored = shutil.ignore_patterns("__pycache__", "dvc.lock")
    shutil.copytree(source / "replication", project.root / "replication", ignore=ignored)
    control = {"learning_rate": 0.001, "seeds": [0, 1]}
    confirmation: dict[str, Any] = {"planned": 2, "seeds": [], "longer": longer_runs()}
    (project.root / "metrics/confirmation").mkdir(parents=True)
    shutil.copy(source / "metrics/confirmation/README.md", project.root / "metrics/confirmation")
    project.change_plan(techniques=["baseline", "dropout"], seeds=[0, 1], control=control, confirmation=confirmation)
    yaml.dump(RECIPES, project.root / "replication/recipes.yaml")
    yaml.dump(TUNING, project.root / "replication/tuning/params.yaml")


def small_images(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return uint8 images, count x 28 x 28, and labels that a network can learn: the class is the height of a bar."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 10, count, dtype=np.uint8)
    images = random.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row = 4 + 2 * int(label)
        image[row : row + 3, 4:24] = 200
    return images, labels


def idx(array: np.ndarray[Any, Any]) -> bytes:
    """Return the content of an IDX file of unsigned bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def replace_test_images(project: Project) -> None:
    """Write other test images and labels to data/raw, and their sha256 to params.yaml."""
    images, labels = map(idx, small_images(IMAGE_FILES["t10k-images-idx3-ubyte"], seed=99))
    others = {"t10k-images-idx3-ubyte": images, "t10k-labels-idx1-ubyte": labels}
    for name, content in others.items():
        (project.root / "data/raw" / name).write_bytes(content)
    sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in others.items()}
    project.change_params(lambda params: params["data"]["sha256"].update(sha256))


def write_data_set(project: Project, epochs: int = 5) -> None:
    """Write generated files to data/raw, and their sha256 and a small number of epochs to params.yaml."""
    raw = project.root / "data/raw"
    raw.mkdir(parents=True)
    sha256 = {}
    for seed, (name, count) in enumerate(IMAGE_FILES.items()):
        images, labels = small_images(count, seed)
        for file, array in {name: images, name.replace("images-idx3", "labels-idx1"): labels}.items():
            content = idx(array)
            sha256[file] = hashlib.sha256(content).hexdigest()
            (raw / f"{file}.gz").write_bytes(gzip.compress(content, mtime=0))

    def change(params: Any) -> None:
        params["data"]["sha256"].update(sha256)
        params["train"]["epochs"] = epochs

    project.change_params(change)
