"""A common interface to the backends, and inference in evaluation mode."""

import functools
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet5.network.model import LeNet5, TorchNetwork
from lenet5.network.native import NativeNetwork
from lenet5.support.errors import UserError

BATCH = {"cpu": 240, "cuda": 8192}  # images: their activations fit the CPU's cache, or fill the GPU


class Network(Protocol):
    """A LeNet5 and a way to compute it: TorchNetwork or NativeNetwork."""

    model: LeNet5
    parameters: list[nn.Parameter]  # what the optimizer updates

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return the logits, float32 B x 10, of the images (uint8 N x 1 x 32 x 32) at `indices` (int64 B)."""
        ...


def network_of(model: LeNet5, backend: str) -> Network:
    """Return the model wrapped in the backend "native" or "torch".

    Raises UserError if the native backend computes another network, as after a change of LeNet5 alone.
    """
    if backend == "torch":
        return TorchNetwork(model)
    network = NativeNetwork(model)
    require_same_network(type(model), bool(network.norms))  # type: ignore[arg-type]  # mypy finds no __hash__
    return network


@functools.cache
def require_same_network(architecture: type[LeNet5], batch_norm: bool) -> None:
    """Raise UserError if C and the modules of LeNet5 compute different logits from the same weights, in evaluation mode
    or, with the same dropout masks, in training mode."""
    images = torch.arange(2 * 32 * 32, dtype=torch.uint8).view(2, 1, 32, 32)
    same = True
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = architecture(batch_norm=batch_norm, dropout=0.5)
        for training in (False, True):
            model.train(training)
            torch.manual_seed(0)  # for the dropout masks
            ours = NativeNetwork(model)(images, torch.arange(2))
            torch.manual_seed(0)
            expected = TorchNetwork(model)(images, torch.arange(2))
            same &= torch.allclose(ours, expected, rtol=1e-4, atol=1e-4)
    if not same:
        raise UserError(
            "LeNet5 in lenet5/network/model.py is not the network that the native backend computes: set train.backend "
            "to torch in params.yaml, or change lenet5/network/native too."
        )


@torch.inference_mode()
def logits_of(network: Network, images: Tensor) -> Tensor:
    """Return the logits, float32 N x 10, of uint8 images N x 1 x 32 x 32. Leaves the model in evaluation mode."""
    network.model.eval()
    indices = torch.arange(len(images), device=images.device)
    return torch.cat([network(images, batch) for batch in indices.split(BATCH[images.device.type])])


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy in nats (summed in float64) and the fraction of images classified correctly.

    logits: float32 N x 10; labels: int64 N.
    """
    loss = F.cross_entropy(logits.double(), labels)
    correct = (logits.argmax(dim=1) == labels).sum()
    return float(loss), int(correct) / len(labels)
