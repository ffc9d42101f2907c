"""Time the study next to a standard PyTorch loop and other libraries: `make benchmark`. -> metrics/benchmark.json"""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import importlib.metadata
import importlib.util
import json
import os
import shutil
import statistics
from typing import Any

from benchmarks.kernels import kernels
from benchmarks.measure import (
    BATCH,
    CORES,
    Numbers,
    by_batch_size,
    by_compiler,
    by_cores,
    epochs,
    factors,
    medians,
    python,
    shares_of_limit,
    timed,
    usual,
)
from benchmarks.projection import projection
from benchmarks.study import study_seconds
from commands.machine import machine
from lenet5.support.errors import UserError
from lenet5.support.files import write_json
from lenet5.support.params import BASELINE, Params, load_params, technique_settings
from lenet5.support.paths import METRICS, RAW
from replication.analysis.plan import load_plan

ROUNDS = 3
COMPILER_ROUNDS = 5
WORKERS = sorted({0, 1, 2, CORES})  # of the standard PyTorch loop; the fastest is compared
# Contender -> the share of an epoch that is timed, after that of the standard loop.
SHARES = {
    "torch": 0.2,
    "eager": 0.2,
    "compile": 0.2,
    "jax": 0.2,
    "keras": 0.2,
    "tensorflow": 0.2,
    "tinygrad": 0.1,
    "native": 1.0,
    "native-batch_norm": 1.0,
    "native-dropout": 1.0,
    "native-weight_decay": 1.0,
    "peak": 1.0,
    "limit": 1.0,
}
# The settings that are fixed in the other contenders.
COMPARED = {
    "subset": 1.0,
    "validation_fraction": 0.2,
    "optimizer": "adam",
    "learning_rate": 0.01,
    "schedule": "constant",
    "augmentation": "none",
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "batch_norm": False,
    "dropout": 0.0,
    "device": "cpu",
}
# Full batches of each of these sizes, so that compilation for a smaller last batch is not timed.
SCALED = {"torch": 5_120 / 48_000, "jax": 10_240 / 48_000, "native": 20_480 / 48_000}
SCALED_ROUNDS = 2


def available() -> dict[str, float]:
    """Return SHARES without the contenders that cannot run here, each of which is named with the reason."""
    reasons = {}
    if not shutil.which(os.environ.get("CXX", "g++")):
        reasons["compile"] = "torch.compile needs g++, or the C++ compiler that the environment variable CXX names"
    if not importlib.util.find_spec("tensorflow"):
        reasons["tensorflow"] = "there is no TensorFlow for this Python or machine"
    for name, reason in reasons.items():
        print(f"{name} is left out: {reason}.", flush=True)
    return {name: share for name, share in SHARES.items() if name not in reasons}


def standard_loop() -> tuple[str, float]:
    """Return the name of the standard PyTorch loop with the fastest number of workers, and the share to time."""
    # a larger share with workers, which start once per epoch
    shares = {f"reference-{workers}": 0.3 if workers else 0.1 for workers in WORKERS}
    seconds = {name: timed(name, share, str(BATCH))[0]["epoch"] for name, share in shares.items()}
    print(f"seconds per epoch of the standard loop, by workers: {seconds}", flush=True)
    best = min(seconds, key=lambda name: seconds[name])
    return best, shares[best]


def epochs_by_technique() -> dict[str, int]:
    """Return how many epochs each technique of the study is trained."""
    params = load_params()
    return {name: technique_settings(params, name).epochs for name in params.techniques}


def study_beside(reference: str) -> Numbers:
    """Return the seconds of the study, and those that the standard loop would need for its epochs.

    One epoch of the loop is timed just before and one just after the study, since a machine's speed drifts in minutes.
    """
    before = timed(reference, 1.0, str(BATCH))[0]["epoch"]
    seconds = study_seconds()
    after = timed(reference, 1.0, str(BATCH))[0]["epoch"]
    return seconds | {"standard loop": sum(epochs_by_technique().values()) * (before + after) / 2}


def require_what_is_compared(params: Params) -> None:
    """Raise UserError if params.yaml has other data or settings than those fixed in the other contenders."""
    found = params.data.model_dump() | technique_settings(params, BASELINE).model_dump()
    for name, value in COMPARED.items():
        if found[name] != value:
            raise UserError(
                f"{name} of {BASELINE} is {found[name]} in params.yaml, but the other contenders of the benchmark use "
                f"{value}. Change it for the benchmark, or run it in a fresh clone."
            )
    for name in SHARES:
        if name.startswith("native-"):
            technique_settings(params, name.removeprefix("native-"))


def require_images() -> None:
    """Raise UserError if the files that the standard loop reads are missing."""
    if not any(RAW.glob("*-ubyte*")):
        raise UserError(f"{RAW} has no images. Run `dvc repro --force --single-item prepare`, which downloads them.")


def main() -> None:
    require_what_is_compared(load_params())
    require_images()
    shares = available()
    best, share = standard_loop()
    rounds = epochs({best: share, **shares}, ROUNDS)
    peers = [name for name in (best, *shares) if name not in ("native", "peak", "limit")]

    def ratio(slower: str, faster: str) -> float:
        slow, fast = ([usual(name, r[name])["epoch"] for r in rounds] for name in (slower, faster))
        return round(statistics.median(a / b for a, b in zip(slow, fast, strict=True)), 2)

    parts = medians([python("benchmarks.breakdown") for _ in range(ROUNDS)])
    print(f"parts of an epoch: {parts}", flush=True)
    augmentation = medians([python("benchmarks.augmentation") for _ in range(ROUNDS)])
    print(f"seconds of augmentation, beside an epoch: {augmentation}", flush=True)
    of_kernels = kernels()
    seconds_by_compiler = by_compiler(of_kernels, SHARES["native"], COMPILER_ROUNDS)
    print(f"seconds per epoch of ours, by vectors and compiler: {seconds_by_compiler}", flush=True)
    per_image = by_batch_size({best: share, **SCALED}, SCALED_ROUNDS)
    print(f"microseconds per image: {per_image}", flush=True)
    study = study_beside(best)
    libraries = {"jax": "jax", "keras": "keras", "tensorflow": "tensorflow-cpu", "tinygrad": "tinygrad"}
    seconds = {name: medians([usual(name, r[name]) for r in rounds]) for name in rounds[0]}
    limit = max(of["limit"] for of in of_kernels.values())
    content: dict[str, Any] = {
        "machine": {
            **machine(),
            "cores": CORES,
            **{name: importlib.metadata.version(package) for name, package in libraries.items() if name in shares},
        },
        "rounds": ROUNDS,
        "reference": best,
        "seconds_per_epoch": seconds,
        "ratios": {
            **{f"{name} / native": ratio(name, "native") for name in peers},
            f"{best} / torch": ratio(best, "torch"),
            "peak / native": ratio("peak", "native"),
            f"study by {best} / study": round(study["standard loop"] / study["study"], 2),
        },
        "share_of_limit": shares_of_limit(seconds["native"], limit),
        "epochs_per_minute": by_cores(rounds),
        "factors_at_equal_cores": factors(rounds),
        "parts_of_an_epoch": parts,
        "augmentation": augmentation,
        "kernels": of_kernels,
        "seconds_per_epoch_by_compiler": seconds_by_compiler,
        "microseconds_per_image": per_image,
        "seconds": {name: round(value, 2) for name, value in study.items()},
    }
    plan = load_plan()
    content["projection"] = projection(content, epochs_by_technique(), len(plan.seeds) + len(plan.control.seeds))
    write_json(METRICS / "benchmark.json", content)
    print(json.dumps(content["ratios"], indent=2))


if __name__ == "__main__":
    take_no_arguments()
    main()
