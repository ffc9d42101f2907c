"""One contender, timed in a process of its own: `python -m benchmarks.timing native 1.0 64` trains and evaluates on
this share of the images, for each size of batch named, and prints the seconds that all images would take, as JSON.

A small share is trained and evaluated on before, so that what is timed is the steady state; what compiles does so then.
With --wait it then says `ready` and goes on when it is given a line, so that several can start together.
"""

import argparse
import importlib
import json
import os
import resource
import sys
import time

import psutil

from benchmarks.contenders import Contender, ours, peak, reference
from stages.model import LeNet5, parameter_count
from stages.params import BASELINE

WARM_UP = 0.1  # holds whole batches of any size, so that libraries that compile for a size of batch meet theirs


def build(name: str, batch: int) -> Contender:
    """A contender by its name: `reference-<workers>`, `peak`, `torch`, `native`, `native-<technique>`, or the library
    of a file peer_<library>.py."""
    kind, _, option = name.partition("-")
    if kind in ("native", "torch"):
        return ours(kind, option or BASELINE, batch)
    # What our stages demand of the libraries, for equal bytes on every machine, is not asked of others.
    for variable in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR"):
        os.environ.pop(variable, None)
    if kind == "reference":
        return reference(int(option), batch)
    if kind == "peak":
        return peak()
    contender: Contender = importlib.import_module(f"benchmarks.peer_{name}").contender(batch)
    return contender


def timed(name: str, share: float, batch: int, *, wait: bool) -> dict[str, float]:
    """Seconds of training and of evaluation on all images, seconds from the start of the process to the end of the
    first batch, and the process's memory at its highest, in MB.

    Raises SystemExit for a contender whose network is not ours or does not learn.
    """
    contender = build(name, batch)
    contender.train(batch / contender.training_images)
    figures = {"start": time.time() - psutil.Process().create_time()}
    before = contender.evaluate(WARM_UP)
    contender.train(WARM_UP)
    if wait:
        print("ready", flush=True)
        sys.stdin.readline()
    for part, work in (("train", contender.train), ("evaluate", contender.evaluate)):
        started = time.perf_counter()
        work(share)
        figures[part] = (time.perf_counter() - started) / share
    figures["epoch"] = figures["train"] + figures["evaluate"]
    figures["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    after = contender.evaluate(WARM_UP)
    expected = parameter_count(LeNet5(batch_norm=name.endswith("batch_norm")))
    if name != "peak" and (contender.parameters != expected or not after.train_loss < before.train_loss):
        raise SystemExit(
            f"{name} does not train LeNet-5: it has {contender.parameters} parameters of {expected}, and its loss "
            f"went from {before.train_loss:.3f} to {after.train_loss:.3f}."
        )
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.timing", description=__doc__.partition(":")[0])
    parser.add_argument("contender")
    parser.add_argument("share", type=float)
    parser.add_argument("batches", type=int, nargs="+")
    parser.add_argument("--wait", action="store_true")
    asked = parser.parse_args()
    print(json.dumps([timed(asked.contender, asked.share, batch, wait=asked.wait) for batch in asked.batches]))
