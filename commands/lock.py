"""Lock the versions and hashes of all packages: `python -m commands.lock`.

Writes uv.lock from pyproject.toml, and from uv.lock the files that `make` installs: requirements/<group>.txt for each
group, torch.txt for PyTorch, whose build for Linux needs CUDA's packages, and torch-cpu.txt for its builds without
CUDA, which have an index of their own. Versions change only where pyproject.toml demands it; arguments go to `uv lock`,
such as --upgrade or `--upgrade-package numpy`.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import html
import os
import re
import subprocess
import tomllib
import urllib.parse
import urllib.request
from pathlib import Path

from commands.environment import CPU_INDEX, REQUIREMENTS, UNREACHABLE
from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically

HEADER = "# Written by `python -m commands.lock`; change pyproject.toml instead.\n"
PYTORCH = re.compile(r"torch==|triton==|(cuda|nvidia)-")
WHEELS = r"-cp31[1-4]-[^-]*-[^-]*linux[^-]*_(?:x86_64|aarch64)\.whl"  # of CPython 3.11 to 3.14 on Linux
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def uv(*arguments: str) -> str:
    """Return what uv prints. Raises UserError if it fails."""
    try:
        result = subprocess.run(("uv", *arguments), stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise UserError("uv is not installed: run `make environment GROUP=test`.") from None
    if result.returncode != 0:
        raise UserError(f"`uv {' '.join(arguments)}` failed; the reason is above.")
    return result.stdout


def requirements(options: list[str]) -> list[str]:
    """Return the packages of a group in uv.lock, each with its version, marker and hashes."""
    text = uv("export", "--quiet", "--frozen", "--no-emit-project", "--no-annotate", "--no-header", *options)
    return re.split(r"\n(?=\S)", text.strip())


def cpu_hashes(version: str) -> list[str]:
    """Return the hashes of PyTorch's CPU builds, from its index or, if it cannot be reached, from the current lock."""
    index = os.environ.get("TORCH_INDEX", CPU_INDEX)
    try:
        with urllib.request.urlopen(f"{index}/torch/", timeout=30) as response:
            page = html.unescape(urllib.parse.unquote(response.read().decode()))
    except UNREACHABLE as error:
        locked = (REQUIREMENTS / "torch-cpu.txt").read_text()
        if f"torch=={version}+cpu " not in locked:
            raise UserError(f"The hashes of torch {version}+cpu cannot be downloaded from {index}: {error}.") from None
        print(f"{index} cannot be reached ({error}); keeping the hashes in {REQUIREMENTS / 'torch-cpu.txt'}.")
        return sorted(HASH.findall(locked))
    found = re.findall(rf"torch-{re.escape(version)}\+cpu{WHEELS}#sha256=([0-9a-f]{{64}})", page)
    if not found:
        raise UserError(f"{index} has no torch {version}+cpu.")
    return sorted({f"sha256:{each}" for each in found})


def write(name: str, packages: list[str]) -> None:
    """Write packages to requirements/<name>.txt."""
    write_atomically(REQUIREMENTS / f"{name}.txt", (HEADER + "\n".join(packages) + "\n").encode())


def main(arguments: list[str]) -> None:
    uv("lock", *arguments)
    study = requirements([])
    pytorch = [package for package in study if PYTORCH.match(package)]
    (version,) = (package.split()[0].removeprefix("torch==") for package in pytorch if package.startswith("torch=="))
    hashes = "".join(f" \\\n    --hash={each}" for each in cpu_hashes(version))
    files = {"torch": pytorch, "torch-cpu": [f"torch=={version}+cpu{hashes}"]}
    files["study"] = [package for package in study if package not in pytorch]
    for group in tomllib.loads(Path("pyproject.toml").read_text())["dependency-groups"]:
        files[group] = [each for each in requirements(["--only-group", group]) if each not in study]
    for name, packages in files.items():
        write(name, packages)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m commands.lock",
        description="Lock the versions and hashes of all packages.",
        epilog="All other arguments go to `uv lock`, such as --upgrade.",
    )
    main(parser.parse_known_args()[1])
