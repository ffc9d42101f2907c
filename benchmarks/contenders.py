"""What is compared: ways to train the baseline LeNet-5 with Adam, and to evaluate it on all 70,000 images.

Ours, the usual loop, and the bare arithmetic; of other libraries each has a file of its own, `peer_<library>.py`.
"""

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from stages import process
from stages.dataset import load_split, take
from stages.model import LeNet5, parameter_count
from stages.params import load_params, technique_settings
from stages.paths import RAW
from stages.sources import torchvision_fashion_mnist
from stages.training import Data, build_network, build_optimizer, measure, train_epoch, training_step


class Scores(NamedTuple):
    train_loss: float
    test_accuracy: float


class Contender(NamedTuple):
    """`train` makes one pass over a share of the training images; `evaluate` judges by that share of the training, the
    validation and the test images."""

    parameters: int
    training_images: int
    train: Callable[[float], object]
    evaluate: Callable[[float], Scores]


def ours(backend: str, technique: str, batch: int) -> Contender:
    """The study's own training and evaluation, on one core."""
    process.set_up()
    settings = technique_settings(load_params(), technique).model_copy(update={"backend": backend, "batch_size": batch})
    data = Data(*(load_split(name) for name in Data._fields))
    network = build_network(settings)
    step = training_step(network, build_optimizer(network.parameters, settings), data.train, settings)

    def train(share: float) -> None:
        train_epoch(network, step, round(share * len(data.train.labels)), settings, 1)

    def evaluate(share: float) -> Scores:
        row = measure(network, Data(*(take(split, share) for split in data)), 1)
        return Scores(row.train_loss, row.test_accuracy)

    return Contender(parameter_count(network.model), len(data.train.labels), train, evaluate)


def reference(workers: int, batch: int) -> Contender:
    """The usual loop, as tutorials have it: torchvision's data set, PIL transforms, DataLoader, eager, all cores."""
    fashion_mnist = torchvision_fashion_mnist()
    from torchvision import transforms  # noqa: PLC0415

    transform = transforms.Compose([transforms.Pad(2), transforms.ToTensor()])
    with tempfile.TemporaryDirectory() as folder:  # torchvision reads the files once, here
        raw = Path(folder) / "FashionMNIST/raw"
        raw.mkdir(parents=True)
        for path in RAW.glob("*-ubyte*"):  # packed or not
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
    """The arithmetic alone: as many operations as an epoch takes, as products of 1024 x 1024 matrices on one core. No
    network, so no parameters and no scores."""
    torch.set_num_threads(1)
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    # Multiply-adds an image forward: C1, C3, C5, F6, output. Backward: twice that, but for C1, whose input needs none.
    layers = [28 * 28 * 6 * 25, 10 * 10 * 16 * 150, 400 * 120, 120 * 84, 84 * 10]

    def products(multiply_adds: float) -> None:
        for _ in range(max(1, round(multiply_adds / 1024**3))):
            torch.mm(a, b)

    def train(share: float) -> None:
        products(share * 48_000 * (3 * sum(layers) - layers[0]))

    def evaluate(share: float) -> Scores:
        products(share * 70_000 * sum(layers))
        return Scores(0.0, 0.0)

    return Contender(0, 48_000, train, evaluate)
