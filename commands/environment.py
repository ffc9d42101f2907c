"""Check that the project can work in this folder, and install what its commands need into .venv.

    python3 commands/environment.py [study | export | plots | s3 | test | benchmark]

`make` runs this before every command. Without a group, it reports what would stop a command, and replaces an
environment that cannot work any more. With a group, it installs requirements/<group>.txt, with uv where it is on the
PATH and pip otherwise. Any Python from 3.6 on can read this file, to report that it is too old.
"""

import sys

if not (3, 11) <= sys.version_info < (3, 15):
    sys.exit(
        f"Python 3.11 to 3.14 is required, but '{sys.executable}' is Python {sys.version.split()[0]}. "
        "Install one and name it: make PYTHON=python3.12 ..."
    )

import http.client
import importlib.util
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

VENV = Path(".venv")
REQUIREMENTS = Path("requirements")
WRITTEN = (".", ".git", ".dvc", ".venv", ".checkpoints", "data", "logs", "metrics", "models")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
UNREACHABLE = (OSError, ValueError, http.client.HTTPException)  # what urlopen and its response raise
SECONDS = 3  # in which PyTorch's index must answer


def fault_of_folder(folder: Path) -> str:
    """Return why no command can work in this folder and what to do, or "" if nothing stops them."""
    if "{" in str(folder) or "}" in str(folder):
        return f"DVC cannot work in {folder}: rename the folder so that its path has no {{ or }}."
    for path in (folder / name for name in WRITTEN):
        if path.exists() and not os.access(path, os.W_OK):
            return f"Cannot write to {path}. Fix this, or clone the repository to a folder of your own."
    if not shutil.which("git"):
        return "git is not installed. Install it (Debian, Ubuntu: sudo apt-get install git)."
    # The project may be a subfolder of a repository.
    top = next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)
    if top and top.stat().st_uid != os.geteuid() and git("rev-parse") is None:
        return f"{top} belongs to another user, so git cannot be used in it. Clone the repository to your own folder."
    # A ZIP download has no .git, and may lie within another repository.
    if git("rev-parse", "--verify", "HEAD:./Makefile") is None:
        init, outer = ("", "") if top == folder else ("git init && ", f" (no git init if it is to be part of {top})")
        return (
            f"No git commit contains the project in {folder}. Use 'git clone' instead of a download, "
            f"or run: {init}git add --all && git commit --message study{outer if top else ''}"
        )
    return ""


def git(*arguments: str) -> str | None:
    """Return what git prints, or None if it fails."""
    result = subprocess.run(("git", *arguments), capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def fault_of_environment() -> str:
    """Return why .venv cannot be used, or completed, any more, or ""."""
    if not (VENV / "pyvenv.cfg").exists():
        return ""
    # The programs in .venv/bin start with the absolute path of their Python.
    program = VENV / "bin/dvc"
    named = re.search(rb"(/[^\"'\n]*)/python", program.read_bytes()[:4096]) if program.exists() else None
    if named and not same_folder(Path(os.fsdecode(named[1])), VENV / "bin"):
        return f"was created in {Path(os.fsdecode(named[1])).parent}"
    complete = marker("study").exists()
    return "has lost its Python or its packages" if complete and not has_module("torch") else ""


def same_folder(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same folder."""
    return one.exists() and other.exists() and one.samefile(other)


def has_module(name: str) -> bool:
    """Return whether the environment's Python runs and finds this module."""
    search = ["-c", "import importlib.util, sys; sys.exit(not importlib.util.find_spec(sys.argv[1]))", name]
    try:
        return subprocess.run([VENV / "bin/python", *search], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def remove_environment() -> None:
    if VENV.is_symlink():
        VENV.unlink()
    else:
        shutil.rmtree(VENV, ignore_errors=True)


def marker(group: str) -> Path:
    """Return the file that shows that a group is installed; the Makefile compares its time with the lock's."""
    return VENV / ("ready" if group == "study" else f"ready-{group}")


def uv() -> str | None:
    """Return the user's uv. The one in .venv is for the tests and for `python -m commands.lock`."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    others = [folder for folder in folders if not same_folder(Path(folder), VENV / "bin")]
    return shutil.which("uv", path=os.pathsep.join(others))


def create_environment() -> None:
    """Create .venv, or complete an existing one."""
    python = getattr(sys, "_base_executable", sys.executable)  # not the one in .venv, which may have just been removed
    program = uv()
    if program:
        subprocess.run([program, "venv", "--quiet", "--allow-existing", "--python", python, VENV], check=True)
    elif importlib.util.find_spec("ensurepip") and importlib.util.find_spec("venv"):
        subprocess.run([python, "-m", "venv", VENV], check=True)
    else:
        sys.exit(
            "Python's venv module is missing. Install it (Debian, Ubuntu: sudo apt-get install python3-venv), "
            "or uv, and run again."
        )


def install(name: str, index: str | None = None, quietly: bool = False) -> str:
    """Install exactly what requirements/<name>.txt lists, from one index if it is given.

    Return "", or the reason of a failure.
    """
    python, program = str(VENV / "bin/python"), uv()
    if program:
        command = [program, "pip", "install", "--python", python]
        command += ["--default-index", index] if index else []
    else:
        # Python compiles what it imports, which is a fraction of what is installed.
        command = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
        command += ["--index-url", index] if index else []
    command += ["--quiet", "--no-deps", "--require-hashes", "--requirement", str(REQUIREMENTS / f"{name}.txt")]
    result = subprocess.run(command, stderr=subprocess.PIPE if quietly else None, text=True, check=False)
    if result.returncode == 0:
        return ""
    return (result.stderr or "the reason is above").strip().splitlines()[-1].strip()


def wants_cpu_build() -> bool:
    """Return whether to install PyTorch without CUDA: on Linux without an NVIDIA driver, or as TORCH demands."""
    choice = os.environ.get("TORCH", "")
    if choice not in ("", "cpu", "cuda"):
        sys.exit(f"TORCH is '{choice}', but must be cpu or cuda.")
    driver = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None
    return sys.platform == "linux" and (choice == "cpu" or (choice == "" and not driver))


def install_cpu_build() -> bool:
    """Install PyTorch's CPU build, and nothing else, from PyTorch's index or else from the user's own.

    Return whether one of them has it, and print why PyTorch's index could not be used.
    """
    index = os.environ.get("TORCH_INDEX", CPU_INDEX)
    try:
        urllib.request.urlopen(f"{index}/torch/", timeout=SECONDS).close()
    except UNREACHABLE as error:
        fault = str(getattr(error, "reason", error))
    else:
        fault = install("torch-cpu", index, quietly=True)
    if not fault:
        return True
    found = install("torch-cpu", quietly=True) == ""
    build = "the CPU build" if found else "the usual build"
    print(f"{index} cannot be used ({fault}); installing {build} of PyTorch from your own index.", flush=True)
    return found


def install_file(name: str) -> None:
    """Install requirements/<name>.txt, or exit with the reason of a failure."""
    fault = install(name)
    if fault:
        sys.exit(f"Cannot install requirements/{name}.txt: {fault}. The same command continues from here.")


def install_study() -> None:
    """Create .venv with everything that `make reproduce` needs."""
    cpu = wants_cpu_build()
    if not has_module("sys"):
        remove_environment()
    create_environment()
    if not (cpu and install_cpu_build()):
        install_file("torch")
    install_file("study")
    # On a processor that the native backend does not support, its error message names the alternative.
    build = ["-W", "ignore::RuntimeWarning", "-m", "lenet5.network.native.build"]
    subprocess.run([str(VENV / "bin/python"), *build], stdout=subprocess.DEVNULL, check=False)


def install_group(name: str) -> None:
    """Install a group and mark it as installed."""
    print(f"Installing {REQUIREMENTS / name}.txt into .venv (about a minute, once) ...", flush=True)
    if name == "study":
        install_study()
    else:
        install_file(name)
    marker(name).touch()


def main(groups: list[str]) -> None:
    known = sorted(file.stem for file in REQUIREMENTS.glob("*.txt") if not file.stem.startswith("torch"))
    unknown = [name for name in groups if name not in known]
    fault = f"'{unknown[0]}' is not a group; choose from: {', '.join(known)}." if unknown else ""
    fault = fault or fault_of_folder(Path.cwd())
    if fault:
        sys.exit(fault)
    fault = fault_of_environment()
    if fault:
        print(f"The environment .venv {fault}, and is created again.")
        groups = groups or [name for name in known if marker(name).exists()]
        remove_environment()
    if fault or (groups and not VENV.exists()):
        groups = ["study", *(name for name in groups if name != "study")]
    for name in groups:
        install_group(name)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
