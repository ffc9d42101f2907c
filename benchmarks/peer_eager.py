"""LeNet-5 in PyTorch's eager mode with what its performance guide advises for a CPU: images in memory as one tensor,
`channels_last`, fused Adam, all threads. The settings of the memory allocator are the system's."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.contenders import Contender, Scores
from lenet5.data.dataset import load_data
from lenet5.network.model import LeNet5, parameter_count, to_pixels

EVALUATED = 200  # images; shares of 0.1, 0.2 and 1.0 are multiples, so that no smaller batch is compiled

Function = Callable[..., Any]


def loop(batch_size: int, compiled: Callable[[Function], Function]) -> Contender:
    """Return a training loop whose two functions of a batch, training loss and evaluation, are `compiled`."""
    torch.manual_seed(0)
    model = LeNet5().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    data = load_data()

    @compiled
    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(to_pixels(images)), labels)

    @compiled
    def judge(images: Tensor, labels: Tensor) -> Tensor:
        """Return the summed loss and the number of correct predictions."""
        logits = model(to_pixels(images))
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return torch.stack((loss, (logits.argmax(1) == labels).sum()))

    def train(share: float) -> None:
        model.train()
        for batch in torch.randperm(round(share * len(data.train.labels))).split(batch_size):
            optimizer.zero_grad()
            loss_of(data.train.images[batch], data.train.labels[batch]).backward()
            optimizer.step()

    @torch.no_grad()
    def evaluate(share: float) -> Scores:
        model.eval()
        means = []
        for images, labels in data:
            count = round(share * len(labels))
            batches = zip(images[:count].split(EVALUATED), labels[:count].split(EVALUATED), strict=True)
            means.append(sum(judge(*batch).double() for batch in batches) / count)
        return Scores(float(means[0][0]), float(means[2][1]))

    return Contender(parameter_count(model), len(data.train.labels), train, evaluate)


def contender(batch_size: int) -> Contender:
    return loop(batch_size, lambda function: function)
