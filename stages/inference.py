"""What a network says of images, in evaluation mode."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stages.model import LeNet5, TorchNetwork
from stages.native import NativeNetwork

BATCH = {"cpu": 240, "cuda": 8192}  # images at a time: their activations fit the CPU's cache; fill the GPU


class Network(Protocol):
    """A LeNet5 and a way to compute it: model.TorchNetwork or native.NativeNetwork."""

    model: LeNet5
    parameters: list[nn.Parameter]  # what an optimizer steps

    def __call__(self, images: Tensor, indices: Tensor) -> Tensor: ...


def network_of(model: LeNet5, backend: str) -> Network:
    """The model, computed by the backend that params.yaml calls so."""
    return NativeNetwork(model) if backend == "native" else TorchNetwork(model)


@torch.inference_mode()
def logits_of(network: Network, images: Tensor) -> Tensor:
    """Logits, float32 N x 10, of uint8 images N x 1 x 32 x 32; leaves the model in evaluation mode."""
    network.model.eval()
    indices = torch.arange(len(images), device=images.device)
    return torch.cat([network(images, batch) for batch in indices.split(BATCH[images.device.type])])


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean cross-entropy in nats, summed in float64, and the fraction of images whose largest logit is the label's."""
    loss = F.cross_entropy(logits.double(), labels)
    correct = (logits.argmax(dim=1) == labels).sum()
    return float(loss), int(correct) / len(labels)
