"""uv.lock and requirements/, through `python -m commands.lock` without a network."""

import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import Project

NOWHERE = {"TORCH_INDEX": "http://127.0.0.1:9", "UV_OFFLINE": "1"}
LOCKED = ("uv.lock", "requirements/*.txt")


@pytest.fixture
def copy(tmp_path: Path) -> Project:
    for folder in ("requirements", "commands", "lenet5"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / file, tmp_path)
    return Project(tmp_path)


def test_the_committed_lock_is_what_the_command_writes(copy: Project) -> None:
    before = copy.files(*LOCKED)
    assert {"uv.lock", "requirements/study.txt", "requirements/torch-cpu.txt"} <= set(before)
    copy.run("python", "-m", "commands.lock", check=True, **NOWHERE)
    assert copy.files(*LOCKED) == before
    planned = copy.run("uv", "sync", "--frozen", "--dry-run", check=True, UV_OFFLINE="1", UV_NO_CACHE="1")
    assert "+ torch==2.13.0" in planned.stderr and "pytest" not in planned.stderr


def test_a_lock_that_misses_a_requirement_is_noticed(copy: Project) -> None:
    path = copy.root / "pyproject.toml"
    path.write_text(path.read_text().replace('    "filelock",\n', '    "filelock",\n    "unlocked",\n'))
    before = copy.files(*LOCKED)
    failed = copy.run("python", "-m", "commands.lock", check=False, **NOWHERE)
    assert failed.returncode == 1 and "`uv lock` failed" in failed.stderr
    assert copy.files(*LOCKED) == before


def test_every_package_of_the_lock_has_a_hash() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        _, *packages = re.split(r"\n(?=\S)", path.read_text().strip())
        assert packages and all("--hash=sha256:" in package for package in packages), path
    assert "torch" not in (ROOT / "requirements/study.txt").read_text()


@pytest.fixture
def index() -> Iterator[str]:
    """PyTorch's index with one build for each of several platforms, and of another version."""
    names = ["2.13.0%2Bcpu-cp312-cp312-manylinux_2_28_x86_64", "2.13.0%2Bcpu-cp314-cp314t-manylinux_2_28_aarch64"]
    names += ["2.13.0%2Bcpu-cp312-cp312-win_amd64", "2.12.0%2Bcpu-cp312-cp312-manylinux_2_28_x86_64"]
    links = [f'<a href="/whl/cpu/torch-{name}.whl#sha256={number:064x}">x</a>' for number, name in enumerate(names, 1)]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if self.path.startswith("/cut"):
                self.send_header("Content-Length", "9999")
            self.end_headers()
            self.wfile.write("\n".join(links).encode())

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_hashes_of_cpu_builds_come_from_pytorchs_index(index: str, copy: Project) -> None:
    copy.run("python", "-m", "commands.lock", check=True, **NOWHERE | {"TORCH_INDEX": index})
    found = re.findall(r"sha256:0*(\d+)", (copy.root / "requirements/torch-cpu.txt").read_text())
    assert found == ["1", "2"]


def test_a_cut_connection_keeps_the_hashes_of_the_lock(index: str, copy: Project) -> None:
    before = copy.files(*LOCKED)
    locked = copy.run("python", "-m", "commands.lock", check=True, **NOWHERE | {"TORCH_INDEX": f"{index}/cut"})
    assert f"{index}/cut cannot be reached" in locked.stdout
    assert copy.files(*LOCKED) == before
