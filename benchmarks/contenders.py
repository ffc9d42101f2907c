"""What is compared: each contender trains the baseline LeNet-5 on the first images, evaluates it on the same share of
all 70,000, and prints the seconds of each: `python -m benchmarks.contenders native`.
"""

import gzip
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from stages import process
from stages.dataset import load_split, take
from stages.model import LeNet5
from stages.params import load_params
from stages.paths import RAW
from stages.sources import torchvision_fashion_mnist
from stages.training import Data, build_network, build_optimizer, measure, train_epoch


def ours(backend: str, share: float) -> tuple[Callable[[], object], Callable[[], object]]:
    """The study's own training and evaluation, on one core."""
    process.set_up()
    settings = load_params().train.model_copy(update={"backend": backend})
    data = Data(*(take(load_split(name), share) for name in Data._fields))
    network = build_network(settings)
    optimizer = build_optimizer(network.parameters, settings)
    return lambda: train_epoch(network, optimizer, data.train, settings, 1), lambda: measure(network, data, 1)


def reference(workers: int, share: float) -> tuple[Callable[[], object], Callable[[], object]]:
    """The usual loop, as tutorials have it: torchvision's data set, PIL transforms, DataLoader, eager, all cores."""
    # What our stages demand of the libraries is not asked of the usual loop.
    for name in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"):
        os.environ.pop(name, None)
    fashion_mnist = torchvision_fashion_mnist()
    from torchvision import transforms  # noqa: PLC0415

    folder = tempfile.TemporaryDirectory()  # gone with the process; torchvision reads the files once, here
    root = Path(folder.name)
    (root / "FashionMNIST/raw").mkdir(parents=True)
    for packed in RAW.glob("*.gz"):
        (root / "FashionMNIST/raw" / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    transform = transforms.Compose([transforms.Pad(2), transforms.ToTensor()])
    training = fashion_mnist(root, train=True, transform=transform)
    test = fashion_mnist(root, train=False, transform=transform)
    counts = {"train": round(48_000 * share), "validation": round(12_000 * share), "test": round(10_000 * share)}
    subsets = {
        "train": torch.utils.data.Subset(training, range(counts["train"])),
        "validation": torch.utils.data.Subset(training, range(48_000, 48_000 + counts["validation"])),
        "test": torch.utils.data.Subset(test, range(counts["test"])),
    }
    loaders = {
        name: torch.utils.data.DataLoader(subset, batch_size=64, shuffle=name == "train", num_workers=workers)
        for name, subset in subsets.items()
    }
    model = LeNet5()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    loss_function = nn.CrossEntropyLoss()

    def train() -> None:
        model.train()
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            loss_function(model(images), labels).backward()
            optimizer.step()

    def evaluate() -> None:
        model.eval()
        with torch.no_grad():
            for loader in loaders.values():
                correct, loss = 0, 0.0
                for images, labels in loader:
                    logits = model(images)
                    loss += loss_function(logits, labels).item() * len(labels)
                    correct += int((logits.argmax(1) == labels).sum())

    return train, evaluate


def peak(share: float) -> tuple[Callable[[], object], Callable[[], object]]:
    """The arithmetic alone: as many operations as an epoch takes, as products of 1024 x 1024 matrices on one core."""
    os.environ.pop("ATEN_CPU_CAPABILITY", None)
    os.environ.pop("MKL_CBWR", None)
    torch.set_num_threads(1)
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    # Multiply-adds an image forward: C1, C3, C5, F6, output. Backward: twice that, but for C1, whose input needs none.
    layers = [28 * 28 * 6 * 25, 10 * 10 * 16 * 150, 400 * 120, 120 * 84, 84 * 10]
    training = 48_000 * (3 * sum(layers) - layers[0])
    evaluation = 70_000 * sum(layers)

    def products(operations: float) -> None:
        for _ in range(max(1, round(operations * share / 1024**3))):
            torch.mm(a, b)

    return lambda: products(training), lambda: products(evaluation)


def main(name: str, share_text: str) -> None:
    share = float(share_text)
    kind, _, option = name.partition("-")
    if kind == "reference":
        train, evaluate = reference(int(option), share)
    elif kind == "peak":
        train, evaluate = peak(share)
    else:
        train, evaluate = ours(kind, share)
    seconds = []
    for step in (train, evaluate):
        started = time.perf_counter()
        step()
        seconds.append((time.perf_counter() - started) / share)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"train": seconds[0], "evaluate": seconds[1], "megabytes": megabytes}))


if __name__ == "__main__":
    main(*sys.argv[1:])
