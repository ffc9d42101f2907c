"""A common interface to the backends, and inference in evaluation mode."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet5.network.model import LeNet5, TorchNetwork
from lenet5.network.native import NativeNetwork

BATCH = {"cpu": 240, "cuda": 8192}  # images: their activations fit the CPU's cache, or fill the GPU


class Network(Protocol):
    """A LeNet5 and a way to compute it: TorchNetwork or NativeNetwork."""

    model: LeNet5
    parameters: list[nn.Parameter]  # what the optimizer updates

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor:
        """Return the logits, float32 B x 10, of the images (uint8 N x 1 x 32 x 32) at `indices` (int64 B)."""
        ...


def network_of(model: LeNet5, backend: str) -> Network:
    """Return the model wrapped in the backend "native" or "torch"."""
    return NativeNetwork(model) if backend == "native" else TorchNetwork(model)


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
