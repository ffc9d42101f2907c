"""Where an epoch of the native backend goes, part by part, in seconds: `python -m benchmarks.breakdown`."""

import json
import time

import torch
import torch.nn.functional as F

from stages import process
from stages.dataset import load_split
from stages.params import BASELINE, load_params, technique_settings
from stages.training import Data, build_network, build_optimizer, measure, step_optimizer


def breakdown() -> dict[str, float]:
    """What `stages.training.training_step` and `measure` do, timed part by part in the second of two epochs."""
    process.set_up()
    settings = technique_settings(load_params(), BASELINE).model_copy(update={"backend": "native"})
    data = Data(*(load_split(name) for name in Data._fields))
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
    print(json.dumps(breakdown()))
