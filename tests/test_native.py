"""The native backend against the readable model: outputs, gradients, running averages, same bytes everywhere."""

import copy
import ctypes
import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet5.network import native
from lenet5.support.errors import UserError
from lenet5.network.model import LeNet5
from lenet5.network.native import NativeNetwork, build

IMAGES, LABELS = 600, torch.arange(600) % 10
TECHNIQUES: list[dict[str, float]] = [{}, {"batch_norm": True}, {"dropout": 0.2}, {"batch_norm": True, "dropout": 0.5}]


@functools.cache
def images() -> Tensor:
    """Blurred noise: neighbouring pixels are alike, as in photographs."""
    noise = torch.rand(IMAGES, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    return (F.avg_pool2d(noise, 9, stride=1)[..., :32, :32] * 255).to(torch.uint8).contiguous()


def pick(batch: int, seed: int = 0) -> Tensor:
    return torch.randperm(IMAGES, generator=torch.Generator().manual_seed(seed))[:batch]


def new_model(technique: dict[str, float], seed: int = 0) -> LeNet5:
    torch.manual_seed(seed)
    model = LeNet5(batch_norm=bool(technique.get("batch_norm")), dropout=technique.get("dropout", 0.0))
    for module in model.modules():  # not the ones and zeros that would hide a mistake
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def torch_results(model: LeNet5, indices: Tensor) -> dict[str, Tensor]:
    """Logits and gradients by the model itself, in the precision of its parameters."""
    torch.manual_seed(1)
    pixels = images()[indices].to(model.f6.weight.dtype).div(255)
    logits = model(pixels)
    F.cross_entropy(logits, LABELS[indices]).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), **gradients}


def native_results(model: LeNet5, indices: Tensor) -> dict[str, Tensor]:
    torch.manual_seed(1)
    network = NativeNetwork(model)
    logits = network(images(), indices)
    F.cross_entropy(logits, LABELS[indices]).backward()
    assert network.vector.grad is not None
    names = [name for name, _ in model.named_parameters()]
    return {"logits": logits.detach(), **dict(zip(names, network.views(network.vector.grad), strict=True))}


@pytest.mark.parametrize("batch", [1, 7, 16, 63, 64, 65, 512])
@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
def test_error_is_at_most_twice_the_librarys(technique: dict[str, float], batch: int) -> None:
    """Against float64, tensor by tensor, the three best of six models: where an input of ReLU is so near zero that
    rounding decides its sign, the gradient jumps, and that is no error of either."""
    if "batch_norm" in technique and batch == 1:
        pytest.skip("batch normalisation needs two images")
    ours: dict[str, list[float]] = {}
    theirs: dict[str, list[float]] = {}
    for seed in range(6):
        model, indices = new_model(technique, seed), pick(batch, seed)
        exact = torch_results(copy.deepcopy(model).double(), indices)
        for results, errors in (
            (native_results(copy.deepcopy(model), indices), ours),
            (torch_results(model, indices), theirs),
        ):
            for name, value in results.items():
                scale = exact[name].norm().clamp_min(1e-12)
                errors.setdefault(name, []).append(float((value.double() - exact[name]).norm() / scale))
    for name, mine in ours.items():
        if "batch_norm" in technique and name in ("c1.convolution.bias", "c3.convolution.bias", "c5.bias"):
            continue  # exactly zero, see below
        assert sum(sorted(mine)[:3]) <= 2 * sum(sorted(theirs[name])[:3]) + 1e-8, (name, mine, theirs[name])


def test_biases_before_batch_norm_have_no_gradient() -> None:
    results = native_results(new_model({"batch_norm": True}), pick(64))
    for name in ("c1.convolution.bias", "c3.convolution.bias", "c5.bias"):
        assert not results[name].any(), name


@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
def test_same_curve_as_the_model(technique: dict[str, float]) -> None:
    """Twenty steps of Adam, dropout's masks included, then evaluation."""
    reference = new_model(technique)
    model = copy.deepcopy(reference)
    network = NativeNetwork(model)
    losses = []
    for parameters, forward in (
        (list(reference.parameters()), lambda i: reference(images()[i].float().div(255))),
        (network.parameters, lambda i: network(images(), i)),
    ):
        torch.manual_seed(2)
        optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)
        curve = []
        for step in range(20):
            indices = pick(64 if step % 5 else 33, seed=step)
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(indices), LABELS[indices])
            loss.backward()
            optimizer.step()
            curve.append(loss.item())
        losses.append(curve)
    # Adam scales the smallest gradients up to full steps, so rounding grows from step to step.
    torch.testing.assert_close(losses[1][:8], losses[0][:8], rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-2, atol=1e-2)
    model.eval(), reference.eval()
    with torch.no_grad():
        expected = reference(images().float().div(255))
    torch.testing.assert_close(network(images(), torch.arange(IMAGES)), expected, rtol=5e-3, atol=5e-3)


def test_running_averages_are_the_models() -> None:
    reference = new_model({"batch_norm": True})
    model = copy.deepcopy(reference)
    network = NativeNetwork(model)
    for seed, batch in enumerate((64, 7, 65)):
        network(images(), pick(batch, seed))
        reference(images()[pick(batch, seed)].float().div(255))
    for (name, buffer), expected in zip(model.named_buffers(), reference.buffers(), strict=True):
        torch.testing.assert_close(buffer, expected, rtol=1e-5, atol=1e-7, msg=name)
        assert name.endswith(("mean", "var")) or int(buffer) == 3


@pytest.mark.parametrize("technique", TECHNIQUES, ids=str)
@pytest.mark.parametrize("batch", [1, 65, 512])
def test_evaluation_mode(technique: dict[str, float], batch: int) -> None:
    model = new_model(technique)
    network = NativeNetwork(model)
    network(images(), pick(64))
    model.eval()
    logits = network(images(), pick(batch))
    expected = model(images()[pick(batch)].float().div(255)).detach()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=2e-6)
    assert not logits.requires_grad
    assert torch.equal(network(images(), pick(batch)[:1]), logits[:1])  # an image's logits do not depend on the others


def test_pixels_are_bytes_divided_by_255() -> None:
    network = NativeNetwork(new_model({}))
    every_byte = torch.arange(1024).to(torch.uint8).view(1, 1, 32, 32).repeat(17, 1, 1, 1)
    network(every_byte, torch.arange(17))
    statistics = 3 * 5 * native.WIDEST
    pixels = network.workspace[statistics : statistics + 2 * 1024 * 16].view(2, 1024, 16)
    expected = every_byte[0].flatten().float().div(255)
    assert all(torch.equal(pixels[i // 16, :, i % 16], expected) for i in range(17))
    assert not pixels[1, :, 1:].any()


def test_state_dict_is_the_models() -> None:
    model = new_model({"batch_norm": True})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    network = NativeNetwork(model)
    assert {name: value.shape for name, value in before.items()} == {n: v.shape for n, v in model.state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.load_state_dict({name: value + 1 for name, value in before.items()})
    assert torch.equal(network.views(network.vector.detach())[0], before["c1.convolution.weight"] + 1)


def test_refusals() -> None:
    network = NativeNetwork(new_model({}))
    with pytest.raises(ValueError, match="uint8"):
        network(images().float(), pick(2))
    with pytest.raises(ValueError, match="int64"):
        network(images(), pick(2).int())
    for wrong in (-1, IMAGES):
        with pytest.raises(IndexError, match="600"):
            network(images(), torch.tensor([0, wrong]))
    loss = network(images(), pick(2)).sum()
    network(images(), pick(2))
    with pytest.raises(RuntimeError, match="another forward"):
        loss.backward()
    with pytest.raises(ValueError, match="two images"):
        NativeNetwork(new_model({"batch_norm": True}))(images(), pick(1))


# ---- the same bytes whatever compiler and vectors ----

COMPILERS = {name: [path] for name in ("gcc", "clang") if (path := shutil.which(name))}
COMPILERS["zig"] = [sys.executable, "-m", "ziglang", "cc"]  # which is clang
LEVELS = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "portable": "x86-64-v2"}


def step_bytes(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Everything a training step and an evaluation compute, with batch norm and dropout and without."""
    monkeypatch.setattr(native, "library", lambda: native.declared(library))
    found = []
    for technique in (TECHNIQUES[0], TECHNIQUES[3]):
        model = new_model(technique)
        found += [value.numpy().tobytes() for value in native_results(model, pick(71)).values()]
        model.eval()
        found.append(NativeNetwork(model)(images(), pick(71)).numpy().tobytes())
    return found


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_same_bytes_whatever_compiler_and_vectors(
    compiler: str, level: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level == "avx512" and LEVELS[level] not in build.processor_levels():
        pytest.skip("needs a processor with AVX-512")
    command, fused = COMPILERS[compiler], []
    if level == "portable":
        fused = ["-mfma", "-mno-avx2"]  # for __builtin_fmaf to be an instruction
    library = tmp_path / "library.so"
    build.compile_library(command, [*build.FLAGS, *build.target_flags(command, LEVELS[level]), *fused], library)
    found = step_bytes(ctypes.CDLL(str(library)), monkeypatch)
    assert found == step_bytes(ctypes.CDLL(str(build.build())), monkeypatch)
    assert found == step_bytes(ctypes.CDLL(str(library)), monkeypatch), "not even the same bytes twice"


DRIVER = Path(__file__).with_name("native_driver.c")


def driver_hash(program: Path, command: list[str], flags: list[str], *emulator: str) -> str:
    """Of everything that the driver, built so, computes."""
    subprocess.run(
        [*command, "-std=gnu11", "-ffp-contract=off", *flags, str(DRIVER), "-o", str(program), "-lm"], check=True
    )
    said = subprocess.run([*emulator, str(program)], check=True, capture_output=True, text=True).stdout
    assert re.fullmatch(r"[0-9a-f]{16}\n", said)
    return said


@pytest.mark.skipif("gcc" not in COMPILERS, reason="needs gcc's sanitizers")
@pytest.mark.parametrize("level", ["x86-64-v4", "x86-64-v3"])
def test_sanitizers(tmp_path: Path, level: str) -> None:
    if level not in build.processor_levels():
        pytest.skip(f"needs a processor with {level}")
    flags = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", f"-march={level}"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    driver_hash(tmp_path / "driver", COMPILERS["gcc"], flags)


@pytest.mark.skipif(not shutil.which("qemu-aarch64"), reason="needs QEMU (Debian, Ubuntu: qemu-user) to emulate an Arm")
def test_same_bytes_on_arm(tmp_path: Path) -> None:
    zig, here = COMPILERS["zig"], build.compilers()[0]
    arm = driver_hash(tmp_path / "arm", zig, ["-O3", "-static", "-target", "aarch64-linux-musl"], "qemu-aarch64")
    assert arm == driver_hash(tmp_path / "here", here, ["-O3", *build.target_flags(here, build.processor_level())])


# ---- building ----

EXPORT = '__attribute__((visibility("default")))'


def test_no_compiler_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"ziglang.*or set train.backend to torch"):
        build.compilers()


@pytest.mark.parametrize("command", ["gcc '", "nonsense", "true", "false"])
def test_a_compiler_named_in_cc_that_is_none_is_told_with_the_ways_out(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "libraries")
    monkeypatch.setenv("CC", command)
    with pytest.raises(UserError, match=command) as raised:
        build.build()
    assert "CC" in str(raised.value)
    assert not any((tmp_path / "libraries").glob("*"))


def test_where_the_systems_compiler_is_too_old_zigs_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "bin/cc"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'cannot compile this' >&2\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(old.parent), prepend=":")
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "libraries")
    assert ctypes.CDLL(str(build.build())).infer
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "others")
    with pytest.raises(UserError, match=r"cannot compile this\n(?s:.*)train.backend to torch"):
        build.build()


def test_built_again_when_the_source_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "LIBRARIES", tmp_path / "libraries")
    source = tmp_path / "lenet5.c"
    source.write_text(f"{EXPORT} int f(void) {{ return 1; }}\n")
    monkeypatch.setattr(build, "SOURCES", [source])
    monkeypatch.setattr(build, "MAIN", source)
    first = build.build()
    assert build.build() == first
    source.write_text(f"{EXPORT} int f(void) {{ return 2; }}\n")
    second = build.build()
    assert [ctypes.CDLL(str(path)).f() for path in (first, second)] == [1, 2]
    source.write_text("not C\n")
    with pytest.raises(UserError, match="failed"):
        build.build()
    assert sorted((tmp_path / "libraries").iterdir()) == sorted([first, second])
