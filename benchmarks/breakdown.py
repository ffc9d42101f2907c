"""Time the parts of an epoch of the native backend, in seconds: `python -m benchmarks.breakdown`."""

from lenet5.support.process import set_up, set_up_torch, take_no_arguments

set_up()

import json
import time

import torch
import torch.nn.functional as F

from lenet5.data.dataset import load_data
from lenet5.support.params import BASELINE, load_params, technique_settings
from lenet5.training.loop import build_network, measure
from lenet5.training.optimizer import build_optimizer, step_optimizer


def breakdown() -> dict[str, float]:
    """Return the seconds of each part of `training_step`, and of `measure`, in the second of two epochs."""
    set_up_torch()
    settings = technique_settings(load_params(), BASELINE).model_copy(update={"backend": "native"})
    data = load_data()
    network = build_network(settings)
    optimizer = build_optimizer(network.parameters, settings)
    for _ in range(2):
        parts = dict.fromkeys(("gather and forward", "loss", "backward", "optimizer", "evaluation"), 0.0)
        network.model.train()
        for batch in torch.randperm(len(data.train.labels)).split(settings.batch_size):
            moments = [time.perf_counter()]
            for parameter in network.parameters:
                parameter.grad = None
            logits = network(data.train.images, batch)
            moments.append(time.perf_counter())
            loss = F.cross_entropy(logits, data.train.labels.index_select(0, batch))
            moments.append(time.perf_counter())
            loss.backward()
            moments.append(time.perf_counter())
            step_optimizer(optimizer)
            moments.append(time.perf_counter())
            for part, start, end in zip(parts, moments, moments[1:], strict=False):
                parts[part] += end - start
        started = time.perf_counter()
        measure(network, data, 1)
        parts["evaluation"] = time.perf_counter() - started
    return parts


if __name__ == "__main__":
    take_no_arguments()
    print(json.dumps(breakdown()))
