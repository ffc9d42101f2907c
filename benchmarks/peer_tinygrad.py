"""LeNet-5 in tinygrad, on its CPU device: the images stay in memory as bytes, and a training step, from selecting the
batch to Adam, is captured once by `TinyJit` and then replayed. Its C is compiled by clang, or else by Zig's clang."""

import os
import platform
import shlex
import shutil
import sys
from functools import cache
from typing import Any

from lenet5.network.native.build import LIBRARIES

# tinygrad starts one program, which reads C and writes an object file. Zig's names targets differently, and writes to
# named files only.
ZIG = """#!/bin/sh
object=$(mktemp)
for argument; do
    shift
    case $argument in --target=* | - | -o) ;; *) set -- "$@" "$argument" ;; esac
done
{python} -m ziglang cc -g0 -target {machine}-freestanding-none "$@" -o "$object" - >&2 && cat "$object"
status=$?
rm "$object"
exit $status
"""


def clang() -> str:
    """Return the command of clang, or of a program that is written here and runs Zig's."""
    if path := shutil.which("clang"):
        return path
    program = LIBRARIES / "clang"
    LIBRARIES.mkdir(parents=True, exist_ok=True)
    machine = platform.machine().replace("arm64", "aarch64")
    program.write_text(ZIG.format(python=shlex.quote(sys.executable), machine=machine))
    program.chmod(0o755)
    return str(program)


# Read when tinygrad is imported. A cache of its own: a compiler is not part of the names in tinygrad's.
os.environ |= {"DEV": "CPU", "CC": clang(), "CACHEDB": str(LIBRARIES / "tinygrad.db")}

import numpy as np
from tinygrad import Tensor, TinyJit, dtypes, nn
from tinygrad.helpers import Context

from benchmarks.contenders import Contender, Scores
from lenet5.data.dataset import load_split

EVALUATED = 200  # images; shares of 0.1, 0.2 and 1.0 are multiples, so that no smaller batch is captured


class Network:
    def __init__(self) -> None:
        self.c1, self.c3 = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.c5, self.f6, self.output = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def __call__(self, images: Any) -> Any:
        s2 = self.c1(images.cast(dtypes.float) / 255).relu().avg_pool2d(2)
        s4 = self.c3(s2).relu().avg_pool2d(2)
        return self.output(self.f6(self.c5(s4.flatten(1)).relu()).relu())


def contender(batch_size: int) -> Contender:
    Tensor.manual_seed(0)
    network = Network()
    parameters = nn.state.get_parameters(network)
    adam = nn.optim.Adam(parameters, lr=0.01)
    data = {name: load_split(name) for name in ("train", "validation", "test")}
    tensors = {
        name: (Tensor(images.numpy()).realize(), Tensor(labels.int().numpy()).realize())
        for name, (images, labels) in data.items()
    }
    random = np.random.default_rng(0)

    def update(batch: Any) -> Any:
        images, labels = tensors["train"]
        adam.zero_grad()
        loss = network(images[batch]).sparse_categorical_crossentropy(labels[batch]).backward()
        return loss.realize(*adam.schedule_step())

    def judge(images: Any, labels: Any) -> Any:
        """Return the mean loss and the fraction of correct predictions."""
        logits = network(images)
        loss = logits.sparse_categorical_crossentropy(labels)
        return loss.stack((logits.argmax(1) == labels).mean()).realize()

    # What has been captured fits batches of one size.
    captured_update, captured_judge = cache(lambda size: TinyJit(update)), cache(lambda size: TinyJit(judge))

    def train(share: float) -> None:
        order = random.permutation(round(share * len(data["train"].labels))).astype(np.int32)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            with Context(TRAINING=1):
                loss = captured_update(len(batch))(Tensor(batch).realize())
        loss.item()

    def evaluate(share: float) -> Scores:
        means = {}
        for name, (images, labels) in tensors.items():
            count = round(share * len(data[name].labels))
            slices = [slice(start, min(start + EVALUATED, count)) for start in range(0, count, EVALUATED)]
            batches = [(images[each], labels[each]) for each in slices]
            scores = [
                captured_judge(len(batch[0]))(*(part.contiguous().realize() for part in batch)).numpy()
                for batch in batches
            ]
            means[name] = np.mean(scores, 0)
        return Scores(float(means["train"][0]), float(means["test"][1]))

    return Contender(sum(parameter.numel() for parameter in parameters), len(data["train"].labels), train, evaluate)
