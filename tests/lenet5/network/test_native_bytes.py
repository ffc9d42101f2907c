"""The native backend computes the same bytes with every compiler, vector width and processor, and as the reference."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lenet5.network.native import build
from tests.lenet5.network.native_models import COMPILERS, TECHNIQUES, step_bytes

HERE = Path(__file__).parent
INCLUDE = f"-I{build.MAIN.parent}"
LEVELS = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "portable": "x86-64-v2"}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_bytes_depend_on_neither_compiler_nor_vectors(
    compiler: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level == "avx512" and LEVELS[level] not in build.processor_levels():
        pytest.skip("needs a processor with AVX-512")
    command = COMPILERS[compiler]
    flags = [*build.FLAGS, *build.target_flags(command, LEVELS[level])]
    if level == "portable":
        flags += ["-mfma", "-mno-avx2"]  # makes __builtin_fmaf an instruction
    build.compile_library(command, flags, build.MAIN, tmp_path / "library.so")
    library, installed = ctypes.CDLL(str(tmp_path / "library.so")), ctypes.CDLL(str(build.build()))
    for technique in (TECHNIQUES[0], TECHNIQUES[3]):
        results = step_bytes(library, technique, 71, monkeypatch)
        assert results == step_bytes(installed, technique, 71, monkeypatch)
        assert results == step_bytes(library, technique, 71, monkeypatch), "a second run gives other bytes"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The plain loops of reference.c, compiled."""
    command = next(iter(COMPILERS.values()))
    library = tmp_path_factory.mktemp("reference") / "reference.so"
    flags = [*build.FLAGS, "-O2", INCLUDE, *build.target_flags(command, build.processor_level())]
    build.compile_library(command, flags, HERE / "reference.c", library)
    return ctypes.CDLL(str(library))


@pytest.mark.parametrize("batch", [1, 7, 16, 63, 64, 65, 71])
@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
def test_plain_loops_compute_the_same_bytes(
    technique: dict[str, float], batch: int, reference: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "batch_norm" in technique and batch == 1:
        pytest.skip("batch normalisation needs two images")
    installed = ctypes.CDLL(str(build.build()))
    expected = step_bytes(reference, technique, batch, monkeypatch)
    for name, value in step_bytes(installed, technique, batch, monkeypatch).items():
        assert value == expected[name], name


def driver_hash(program: Path, command: list[str], flags: list[str], *emulator: str) -> str:
    """Return the hash of everything that native_driver.c computes, compiled to `program` with these flags."""
    options = ["-std=gnu11", "-ffp-contract=off", INCLUDE, *flags]
    subprocess.run([*command, *options, str(HERE / "native_driver.c"), "-o", str(program), "-lm"], check=True)
    output = subprocess.run([*emulator, str(program)], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"[0-9a-f]{16}\n", output)
    return output


@pytest.mark.skipif("gcc" not in COMPILERS, reason="needs gcc's sanitizers")
@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3"])
def test_sanitizers_find_no_error(tmp_path: Path, level: str) -> None:
    if level not in build.processor_levels():
        pytest.skip(f"needs a processor with {level}")
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-march={level}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    driver_hash(tmp_path / "driver", COMPILERS["gcc"], flags)


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="needs QEMU (Debian, Ubuntu: qemu-user) to emulate an Arm")
def test_arm_computes_the_same_bytes(tmp_path: Path) -> None:
    zig, here = COMPILERS["zig"], build.compilers()[0]
    arm = driver_hash(tmp_path / "arm", zig, ["-O3", "-static", "-target", "aarch64-linux-musl"], "qemu-aarch64")
    assert arm == driver_hash(tmp_path / "here", here, ["-O3", *build.target_flags(here, build.processor_level())])
