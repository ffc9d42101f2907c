"""Models, images and results that the tests of the native backend share."""

import ctypes
import functools
import shutil

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet5.network import native
from lenet5.network.model import LeNet5
from lenet5.network.native import NativeNetwork
from lenet5.network.native.build import ZIG

IMAGES, LABELS = 600, torch.arange(600) % 10
TECHNIQUES: list[dict[str, float]] = [{}, {"batch_norm": True}, {"dropout": 0.2}, {"batch_norm": True, "dropout": 0.5}]

COMPILERS = {name: [path] for name in ("gcc", "clang") if (path := shutil.which(name))}
COMPILERS["zig"] = ZIG


@functools.cache
def images() -> Tensor:
    """Return blurred noise, in which neighbouring pixels are alike as in photographs: uint8 600 x 1 x 32 x 32."""
    noise = torch.rand(IMAGES, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    return (F.avg_pool2d(noise, 9, stride=1)[..., :32, :32] * 255).to(torch.uint8).contiguous()


def pick(batch: int, seed: int = 0) -> Tensor:
    """Return the indices of `batch` different images."""
    return torch.randperm(IMAGES, generator=torch.Generator().manual_seed(seed))[:batch]


def new_model(technique: dict[str, float], seed: int = 0) -> LeNet5:
    """Return a model whose batch normalisations do not start from the ones and zeros that would hide a mistake."""
    torch.manual_seed(seed)
    model = LeNet5(batch_norm=bool(technique.get("batch_norm")), dropout=technique.get("dropout", 0.0))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def torch_results(model: LeNet5, indices: Tensor, labels: Tensor = LABELS) -> dict[str, Tensor]:
    """Return logits and gradients by the model itself, in the precision of its parameters."""
    torch.manual_seed(1)
    pixels = images()[indices].to(model.f6.weight.dtype).div(255)
    logits = model(pixels)
    F.cross_entropy(logits, labels[indices]).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {"logits": logits.detach(), **gradients}


def native_results(model: LeNet5, indices: Tensor, labels: Tensor = LABELS) -> dict[str, Tensor]:
    """Return logits and gradients by the native backend. The model's running averages move."""
    return network_results(NativeNetwork(model), indices, labels)


def network_results(network: NativeNetwork, indices: Tensor, labels: Tensor = LABELS) -> dict[str, Tensor]:
    """Return logits and gradients by a network of the native backend."""
    torch.manual_seed(1)
    logits = network(images(), indices)
    F.cross_entropy(logits, labels[indices]).backward()
    assert network.vector.grad is not None
    names = [name for name, _ in network.model.named_parameters()]
    return {"logits": logits.detach(), **dict(zip(names, network.views(network.vector.grad), strict=True))}


def step_bytes(library: ctypes.CDLL, model: LeNet5, batch: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Return everything that a training step and then inference compute with a compiled library, by name. The model's
    running averages move."""
    monkeypatch.setattr(native, "library", lambda: native.with_signatures(library))
    network = NativeNetwork(model)
    results = network_results(network, pick(batch))
    results["statistics"] = network.statistics
    results |= dict(model.named_buffers())  # the running averages
    model.eval()
    results["inference"] = NativeNetwork(model)(images(), pick(batch))
    return {name: value.numpy().tobytes() for name, value in results.items()}
