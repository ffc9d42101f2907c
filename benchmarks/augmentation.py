"""Time augmentation beside an epoch of the baseline without it, in seconds: `python -m benchmarks.augmentation`."""

from lenet5.support.process import set_up, set_up_torch, take_no_arguments

set_up()

import json
import time
from typing import get_args

import torch

from lenet5.data.dataset import load_data
from lenet5.support.params import BASELINE, Augmentation, load_params, technique_settings
from lenet5.training.augmentation import augment
from lenet5.training.loop import build_network, measure, train_epoch, training_step
from lenet5.training.optimizer import build_optimizer

KINDS = [kind for kind in get_args(Augmentation) if kind != "none"]
REPEATS = 3


def seconds() -> dict[str, float]:
    """Return the seconds of one epoch, and of augmenting all training images in each way; the smallest of the
    repeats."""
    set_up_torch()
    settings = technique_settings(load_params(), BASELINE).model_copy(update={"backend": "native"})
    data = load_data()
    network = build_network(settings)
    step = training_step(network, build_optimizer(network.parameters, settings), data.train, settings)
    copies = data.train.images.clone()
    found: dict[str, list[float]] = {name: [] for name in ("epoch", *KINDS)}
    for epoch in range(1, REPEATS + 1):
        started = time.perf_counter()
        train_epoch(network, step, len(copies), settings, epoch)
        measure(network, data, epoch)
        found["epoch"].append(time.perf_counter() - started)
        for kind in KINDS:
            started = time.perf_counter()
            augment(data.train.images, kind, torch.Generator().manual_seed(epoch), copies)
            found[kind].append(time.perf_counter() - started)
    return {name: min(times) for name, times in found.items()}


if __name__ == "__main__":
    take_no_arguments()
    print(json.dumps(seconds()))
