"""What `make` installs, from small packages on two local indexes: a user's own, and PyTorch's for CPU builds."""

import hashlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import Project

UV = Path(shutil.which("uv") or Path(sys.executable).with_name("uv"))  # in the group test


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, whose listing is an index page."""

    def log_message(self, *arguments: object) -> None:
        assert isinstance(self.server, Index)
        self.server.requested.append(self.path)


class Index(ThreadingHTTPServer):
    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.requested: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


def add_wheel(index: Path, version: str, name: str) -> str:
    """Write a wheel with one module and one program to the folder of an index; return it as a locked requirement."""
    path = index / name / f"{name}-{version}-py3-none-any.whl"
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": "def main(): print('works')\n",
        f"{metadata}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{metadata}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{metadata}/RECORD", "".join(f"{file},,\n" for file in files))
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture
def study(tmp_path: Path) -> Iterator["Study"]:
    created = Study(tmp_path / "study", tmp_path)
    yield created
    for index in (created.own, created.cpu):
        index.shutdown()
        index.server_close()


class Study:
    """A project with the Makefile, commands/environment.py and lock files of a few small packages."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        own, cpu = folder / "own", folder / "cpu"
        packages = {
            "study": add_wheel(own, "3.0", "dvc"),
            "torch": add_wheel(own, "2.13.0", "torch") + add_wheel(own, "3.7", "triton"),
            "torch-cpu": add_wheel(cpu, "2.13.0+cpu", "torch"),
            "test": add_wheel(own, "1.0", "probe"),
        }
        for name, content in packages.items():
            (root / "requirements").mkdir(parents=True, exist_ok=True)
            (root / f"requirements/{name}.txt").write_text(content)
        (root / "commands").mkdir()
        shutil.copy(ROOT / "commands/environment.py", root / "commands")
        # Make 3.81, which macOS has, knows neither: each line of a recipe is a command of its own.
        text = (ROOT / "Makefile").read_text()
        (root / "Makefile").write_text(re.sub(r"^\.(ONESHELL|SHELLFLAGS).*\n", "", text, flags=re.MULTILINE))
        Project(root).run("git", "init", "--quiet")
        Project(root).commit("a project")
        self.own, self.cpu = Index(own), Index(cpu)

    def make(self, *arguments: str, installer: str = "pip", **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("make", *arguments, installer=installer, **variables)

    def run(self, *command: str, installer: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command with an installer, neither of which reads a user's settings or caches."""
        programs = self.folder / "programs"
        programs.mkdir(exist_ok=True)
        if installer == "uv" and not (programs / "uv").exists():
            (programs / "uv").symlink_to(UV)
        settings = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": self.own.url, "PIP_NO_CACHE_DIR": "1"}
        settings |= {"PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "XDG_CONFIG_DIRS": str(self.folder)}
        settings |= {"UV_DEFAULT_INDEX": self.own.url, "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(self.folder / "cache")}
        settings |= {"TORCH_INDEX": self.cpu.url, "PATH": f"{programs}:/usr/bin:/bin", "TORCH": "cpu"}
        settings["PYTHON"] = sys.executable  # that of the system may be too old
        return Project(self.root).run(*command, check=False, **settings | variables)

    def installed(self) -> set[str]:
        found = self.root.glob(".venv/lib/python*/site-packages/*.dist-info")
        return {path.name.removesuffix(".dist-info") for path in found} - {path.name for path in found}


def silent_address() -> tuple[socket.socket, str]:
    """Return a server that accepts connections and never answers, and its address."""
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_pytorch_has_no_cuda_where_its_cpu_index_answers(installer: str, study: Study) -> None:
    made = study.make("environment", "GROUP=test", installer=installer)
    assert made.returncode == 0, made.stderr
    assert {"torch-2.13.0+cpu", "dvc-3.0", "probe-1.0"} <= study.installed()
    assert not any(each.startswith("triton") for each in study.installed())
    assert {path.split("/")[1] for path in study.cpu.requested} == {"torch"}
    assert study.make("environment", "GROUP=test").stdout == ""


FAULTS = [("uv", "silent"), ("uv", "closed"), ("uv", "without the version"), ("pip", "without the version")]


@pytest.mark.parametrize(("installer", "fault"), FAULTS)
def test_without_the_cpu_index_pytorch_comes_as_usual(installer: str, fault: str, study: Study) -> None:
    server, address = silent_address()
    if fault == "without the version":
        address = study.cpu.url
        shutil.rmtree(study.folder / "cpu/torch")
        add_wheel(study.folder / "cpu", "2.12.0+cpu", "torch")
    if fault == "closed":
        server.close()
    made = study.make("environment", installer=installer, TORCH_INDEX=address)
    server.close()
    assert made.returncode == 0, made.stderr
    assert {"torch-2.13.0", "triton-3.7"} <= study.installed()
    assert [line for line in made.stdout.splitlines() if f"{address} cannot be used" in line]


def test_with_an_nvidia_driver_pytorch_comes_with_cuda(study: Study) -> None:
    (study.folder / "programs").mkdir()
    (study.folder / "programs/nvidia-smi").symlink_to("/bin/true")
    made = study.make("environment", installer="uv", TORCH="")
    assert made.returncode == 0, made.stderr
    assert {"torch-2.13.0", "triton-3.7"} <= study.installed()
    assert study.cpu.requested == []


def test_an_unknown_build_of_pytorch_is_reported(study: Study) -> None:
    assert "TORCH is 'rocm', but must be cpu or cuda." in study.make("environment", TORCH="rocm").stderr


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_a_package_with_another_hash_is_not_installed(installer: str, study: Study) -> None:
    path = study.root / "requirements/study.txt"
    text = path.read_text()
    path.write_text(text[:-3] + "00\n")
    made = study.make("environment", installer=installer)
    assert made.returncode != 0
    assert "Cannot install requirements/study.txt" in made.stderr
    assert not (study.root / ".venv/ready").exists()


@pytest.mark.parametrize("fault", ["moved", "copied", "without its Python"])
def test_an_environment_that_cannot_work_is_replaced(fault: str, study: Study) -> None:
    assert study.make("environment", "GROUP=test", installer="uv").returncode == 0
    if fault == "without its Python":
        (study.root / ".venv/bin/python").unlink()
        (study.root / ".venv/bin/python").symlink_to("/nowhere/python3")
    else:
        old, study.root = study.root, study.folder / "renamed"
        shutil.copytree(old, study.root, symlinks=True)
        if fault == "moved":
            shutil.rmtree(old)
            (study.root / ".venv/ready").unlink()  # as if the installation had been interrupted
    made = study.make("usable", installer="uv")
    assert made.returncode == 0, made.stderr
    reason = (
        "has lost its Python" if fault == "without its Python" else f"was created in {study.folder / 'study/.venv'}"
    )
    assert f"The environment .venv {reason}" in made.stdout
    assert (study.root / ".venv/ready-test").exists() and "probe-1.0" in study.installed()
    assert Project(study.root).run(str(study.root / ".venv/bin/dvc")).stdout == "works\n"


def test_a_group_brings_the_study_and_an_unknown_one_is_named(study: Study) -> None:
    program = (sys.executable, "commands/environment.py")
    failed = study.run(*program, "tset", installer="uv")
    assert failed.stderr == "'tset' is not a group; choose from: study, test.\n" and failed.returncode == 1
    assert study.run(*program, "test", installer="uv").returncode == 0
    assert {"dvc-3.0", "probe-1.0"} <= study.installed()
