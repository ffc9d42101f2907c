"""The contenders: ways to train the baseline LeNet-5 with Adam, and to evaluate it on all 70,000 images.

Ours, a standard PyTorch loop, and the arithmetic alone, as matrix products. Each other way has its own file,
`peer_<name>.py`, and so has the arithmetic as multiply-adds in registers, limit.py.
"""

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from lenet5.data.dataset import Data, load_data
from lenet5.network.model import LeNet5, parameter_count
from lenet5.preparation.prepare import take
from lenet5.support.params import load_params, technique_settings
from lenet5.support.paths import RAW
from lenet5.support.process import set_up_torch
from lenet5.training.loop import build_network, measure, train_epoch, training_step
from lenet5.training.optimizer import build_optimizer

# Multiply-adds: per image in the forward pass, of C1, C3, C5, F6 and the output layer; in training on 48,000 images,
# whose backward pass has twice as many, except for C1, whose input needs no gradient; in evaluation on 70,000.
LAYERS = (28 * 28 * 6 * 25, 10 * 10 * 16 * 150, 400 * 120, 120 * 84, 84 * 10)
TRAINING = 48_000 * (3 * sum(LAYERS) - LAYERS[0])
EVALUATION = 70_000 * sum(LAYERS)


class Scores(NamedTuple):
    """Mean cross-entropy in nats and accuracy as a fraction."""

    train_loss: float
    test_accuracy: float


class Contender(NamedTuple):
    """`train(share)` trains once on a share of the training images; `evaluate(share)` evaluates on that share of the
    training, validation and test images."""

    parameters: int
    training_images: int
    train: Callable[[float], object]
    evaluate: Callable[[float], Scores]


def ours(backend: str, technique: str, batch: int) -> Contender:
    """Return the study's own training and evaluation, on one core."""
    set_up_torch()
    settings = technique_settings(load_params(), technique).model_copy(update={"backend": backend, "batch_size": batch})
    data = load_data()
    network = build_network(settings)
    step = training_step(network, build_optimizer(network.parameters, settings), data.train, settings)

    def train(share: float) -> None:
        train_epoch(network, step, round(share * len(data.train.labels)), settings, 1)

    def evaluate(share: float) -> Scores:
        row = measure(network, data if share == 1 else Data(*(take(split, share) for split in data)), 1)
        return Scores(row.train_loss, row.test_accuracy)

    return Contender(parameter_count(network.model), len(data.train.labels), train, evaluate)


def torchvision_fashion_mnist() -> Any:
    """Return torchvision's FashionMNIST class, even if torchvision's compiled operators do not match torch.

    PyPI's torchvision is linked against a CUDA torch. Next to a CPU-only torch its operators are not registered and the
    import stops at `torchvision::nms`. The data sets use none of them: declaring their schemas is enough.
    """
    try:
        from torchvision.datasets import FashionMNIST  # noqa: PLC0415
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from torchvision.datasets import FashionMNIST  # noqa: PLC0415
    return FashionMNIST


def reference(workers: int, batch: int) -> Contender:
    """Return a standard PyTorch loop: torchvision's data set, PIL transforms, DataLoader, eager mode, all cores."""
    fashion_mnist = torchvision_fashion_mnist()
    from torchvision import transforms  # noqa: PLC0415

    transform = transforms.Compose([transforms.Pad(2), transforms.ToTensor()])
    with tempfile.TemporaryDirectory() as folder:  # torchvision reads the files once, here
        raw = Path(folder) / "FashionMNIST/raw"
        raw.mkdir(parents=True)
        for path in RAW.glob("*-ubyte*"):  # compressed or not
            content = path.read_bytes()
            (raw / path.stem).write_bytes(gzip.decompress(content) if path.suffix == ".gz" else content)
        training = fashion_mnist(folder, train=True, transform=transform)
        test = fashion_mnist(folder, train=False, transform=transform)
    cut = round(0.8 * len(training))  # the first four fifths train, the rest validates
    splits = {
        "train": (training, range(cut)),
        "validation": (training, range(cut, len(training))),
        "test": (test, range(len(test))),
    }
    torch.manual_seed(0)
    model = LeNet5()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss_function = nn.CrossEntropyLoss()

    def loader(name: str, share: float, *, shuffle: bool) -> torch.utils.data.DataLoader[list[torch.Tensor]]:
        images, indices = splits[name]
        subset = torch.utils.data.Subset(images, indices[: round(share * len(indices))])
        return torch.utils.data.DataLoader(subset, batch_size=batch, shuffle=shuffle, num_workers=workers)

    def train(share: float) -> None:
        model.train()
        for images, labels in loader("train", share, shuffle=True):
            optimizer.zero_grad()
            loss_function(model(images), labels).backward()
            optimizer.step()

    def evaluate(share: float) -> Scores:
        model.eval()
        losses, accuracies = {}, {}
        with torch.no_grad():
            for name in splits:
                count, correct, loss = 0, 0, 0.0
                for images, labels in loader(name, share, shuffle=False):
                    logits = model(images)
                    count += len(labels)
                    loss += loss_function(logits, labels).item() * len(labels)
                    correct += int((logits.argmax(1) == labels).sum())
                losses[name], accuracies[name] = loss / count, correct / count
        return Scores(losses["train"], accuracies["test"])

    return Contender(parameter_count(model), cut, train, evaluate)


def peak() -> Contender:
    """Return the arithmetic alone: the operations of an epoch, as products of 1024 x 1024 matrices on one core.

    There is no network, so it has no parameters and no scores.
    """
    torch.set_num_threads(1)
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)

    def products(multiply_adds: float) -> None:
        for _ in range(max(1, round(multiply_adds / 1024**3))):
            torch.mm(a, b)

    def train(share: float) -> None:
        products(share * TRAINING)

    def evaluate(share: float) -> Scores:
        products(share * EVALUATION)
        return Scores(0.0, 0.0)

    return Contender(0, 48_000, train, evaluate)
