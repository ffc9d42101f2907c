"""Time one contender in its own process: `python -m benchmarks.timing native 1.0 64`.

It trains and evaluates on this share of the images, for each batch size, and prints the seconds for all images as JSON.
A small share comes first, so that the steady state is timed and libraries have compiled. With --wait it then prints
`ready` and continues when it reads a line, so that several processes can start together. With `--level x86-64-v3` our C
is built, and PyTorch computes, as on a processor with no better vectors than AVX2.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import importlib
import json
import os
import resource
import sys
import time

import psutil

from benchmarks.contenders import Contender, ours, peak, reference
from lenet5.network.model import LeNet5, parameter_count
from lenet5.network.native.build import LEVELS
from lenet5.support.errors import UserError
from lenet5.support.params import BASELINE

WARM_UP = 0.1  # contains full batches of every size, so that libraries that compile per batch size do so


def build(name: str, batch: int) -> Contender:
    """Return a contender by name: `reference-<workers>`, `peak`, `limit`, `torch`, `native`, `native-<technique>`, or
    one with a file peer_<name>.py."""
    kind, _, option = name.partition("-")
    if kind in ("native", "torch"):
        return ours(kind, option or BASELINE, batch)
    if "x86-64-v4" in LEVELS:  # Only our own programs limit PyTorch to AVX2, for equal bytes on every machine.
        for variable in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"):
            os.environ.pop(variable, None)
    if kind == "reference":
        return reference(int(option), batch)
    if kind == "peak":
        return peak()
    module = "limit" if kind == "limit" else f"peer_{name}"
    contender: Contender = importlib.import_module(f"benchmarks.{module}").contender(batch)
    return contender


def timed(name: str, share: float, batch: int, *, wait: bool) -> dict[str, float]:
    """Return the seconds of training and of evaluation on all images, the seconds from the start of the process to the
    end of the first batch, and the peak memory of the process in MB.

    Raises UserError if the contender's network is not LeNet-5 or does not learn.
    """
    contender = build(name, batch)
    contender.train(batch / contender.training_images)
    numbers = {"start": time.time() - psutil.Process().create_time()}
    before = contender.evaluate(WARM_UP)
    contender.train(max(WARM_UP, share))  # the first pass over the images finds their memory cold
    if wait:
        print("ready", flush=True)
        sys.stdin.readline()
    for part, work in (("train", contender.train), ("evaluate", contender.evaluate)):
        started = time.perf_counter()
        work(share)
        numbers[part] = (time.perf_counter() - started) / share
    numbers["epoch"] = numbers["train"] + numbers["evaluate"]
    numbers["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    after = contender.evaluate(WARM_UP)
    expected = parameter_count(LeNet5(batch_norm=name.endswith("batch_norm")))
    if name not in ("peak", "limit") and (contender.parameters != expected or not after.train_loss < before.train_loss):
        raise UserError(
            f"{name} does not train LeNet-5: it has {contender.parameters} parameters of {expected}, and its loss "
            f"went from {before.train_loss:.3f} to {after.train_loss:.3f}."
        )
    return numbers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.timing", description="Time one contender in its own process"
    )
    parser.add_argument("contender")
    parser.add_argument("share", type=float)
    parser.add_argument("batches", type=int, nargs="+")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--level", choices=LEVELS)
    asked = parser.parse_args()
    for better in list(LEVELS)[: list(LEVELS).index(asked.level)] if asked.level else ():
        del LEVELS[better]
    print(json.dumps([timed(asked.contender, asked.share, batch, wait=asked.wait) for batch in asked.batches]))
