"""The native backend computes the same bytes with every compiler, vector width and processor, and as the reference."""

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lenet5.network.native import build
from tests.lenet5.network.native_models import COMPILERS, TECHNIQUES, new_model, pick, step_bytes
from tests.lenet5.network.reference import Reference

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
        results = step_bytes(library, new_model(technique), 71, monkeypatch)
        assert results == step_bytes(installed, new_model(technique), 71, monkeypatch)
        again = step_bytes(library, new_model(technique), 71, monkeypatch)
        assert results == again, "a second run gives other bytes"


@pytest.fixture(scope="module", params=COMPILERS)
def reference(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """Return reference.c, compiled with each compiler."""
    return Reference(COMPILERS[request.param], tmp_path_factory.mktemp("reference"))


@pytest.mark.parametrize("batch", [1, 7, 16, 63, 64, 65, 71])
@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
def test_plain_loops_compute_the_same_bytes(
    technique: dict[str, float], batch: int, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "batch_norm" in technique and batch == 1:
        pytest.skip("batch normalisation needs two images")
    model = new_model(technique)
    results = step_bytes(ctypes.CDLL(str(build.build())), model, batch, monkeypatch)
    expected = reference.step(model, pick(batch))
    expected["inference"] = reference.inference(model, pick(batch))
    assert results.keys() - dict(model.named_buffers()).keys() == expected.keys()
    for name, value in expected.items():
        assert results[name] == value.numpy().tobytes(), name


def compile_driver(program: Path, command: list[str], flags: list[str]) -> None:
    """Compile native_driver.c with these flags."""
    options = ["-std=gnu11", "-ffp-contract=off", INCLUDE, *flags]
    subprocess.run([*command, *options, str(HERE / "native_driver.c"), "-o", str(program)], check=True)


def hash_of(*program: str | Path) -> str:
    """Return the hash of everything that native_driver.c computes, which the compiled program prints."""
    output = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"[0-9a-f]{16}\n", output)
    return output


@pytest.mark.skipif("gcc" not in COMPILERS, reason="needs gcc's sanitizers")
@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3"])
def test_sanitizers_find_no_error(tmp_path: Path, level: str) -> None:
    if level not in build.processor_levels():
        pytest.skip(f"needs a processor with {level}")
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-march={level}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_driver(tmp_path / "driver", COMPILERS["gcc"], [*flags, "-lm"])
    hash_of(tmp_path / "driver")


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="needs QEMU (Debian, Ubuntu: qemu-user) to emulate an Arm")
def test_arm_computes_the_same_bytes(tmp_path: Path) -> None:
    zig, here = COMPILERS["zig"], build.compilers()[0]
    arm = ["-O3", "-target", "aarch64-linux-musl"]
    compile_driver(tmp_path / "arm.o", zig, [*arm, "-c"])
    start = ["-fno-builtin", "-nostdlib", "-static", str(HERE / "native_start.c"), str(tmp_path / "arm.o")]
    subprocess.run([*zig, *arm, *start, "-o", str(tmp_path / "arm")], check=True)
    compile_driver(tmp_path / "here", here, ["-O3", *build.target_flags(here, build.processor_level()), "-lm"])
    assert hash_of("qemu-aarch64", tmp_path / "arm") == hash_of(tmp_path / "here")
