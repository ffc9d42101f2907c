"""Draw the benchmark: metrics/benchmark.json -> metrics/benchmark.png."""

from lenet5.support.process import set_up, take_no_arguments

set_up()

import json
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from lenet5.report.figures import COLOURS, DASHES, MARKERS, WIDTH, png
from lenet5.support.files import write_atomically
from lenet5.support.paths import METRICS

NAMES = {
    "native": "ours, C",
    "torch": "ours, PyTorch",
    "eager": "PyTorch, tensors",
    "compile": "torch.compile",
    "jax": "JAX",
    "keras": "Keras on JAX",
    "tensorflow": "Keras on TensorFlow",
    "tinygrad": "tinygrad",
    "peak": "matrix products alone",
    "limit": "multiply-adds alone",
}


def names_of(benchmark: dict[str, Any]) -> dict[str, str]:
    """Return what figure and tables call each contender."""
    return NAMES | {benchmark["reference"]: "standard loop"}


def draw(benchmark: dict[str, Any]) -> Figure:
    """Return seconds per epoch, microseconds per image by batch size, and epochs per minute by cores."""
    figure = Figure(figsize=(WIDTH, 8), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    epoch, left, right = (figure.add_subplot(cell) for cell in (grid[0, :], grid[1, 0], grid[1, 1]))
    names = names_of(benchmark)
    _bars(epoch, {names[name]: f for name, f in benchmark["seconds_per_epoch"].items() if name in names})
    by_cores = benchmark["epochs_per_minute"]
    for axis, lines in ((left, benchmark["microseconds_per_image"]), (right, by_cores)):
        for name, by in lines.items():
            axis.plot([int(x) for x in by], list(by.values()), label=names[name], **_style(list(by_cores).index(name)))
        ticks = [int(x) for x in next(iter(lines.values()))]
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    left.set_xlabel("batch size")
    left.set_ylabel("training, microseconds per image")
    right.set_xlabel("cores")
    right.set_ylabel("epochs per minute")
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    about = benchmark["machine"]
    figure.suptitle(f"LeNet-5, {about['cores']} cores of an {about['processor']}", fontsize="medium")
    return figure


def _style(place: int) -> dict[str, Any]:
    return {"color": COLOURS[place], "linestyle": DASHES[place % len(DASHES)], "marker": MARKERS[place]}


def _bars(axis: Axes, seconds: dict[str, dict[str, float]]) -> None:
    ordered = sorted(seconds, key=lambda name: seconds[name]["epoch"])
    train = [seconds[name]["train"] for name in ordered]
    # Each number is a median, and the bar ends at that of the epoch.
    evaluate = [seconds[name]["epoch"] - seconds[name]["train"] for name in ordered]
    axis.barh(ordered, train, color="0.35", label="training on 48,000 images")
    bars = axis.barh(ordered, evaluate, left=train, color="0.75", label="evaluation on 70,000")
    axis.bar_label(bars, [f" {seconds[name]['epoch']:.1f}" for name in ordered])
    axis.margins(x=0.08)
    axis.invert_yaxis()
    axis.set_xlabel("seconds per epoch, batch size 64; ours and arithmetic alone on one core, the others on all")
    axis.legend()


def main() -> None:
    benchmark = json.loads((METRICS / "benchmark.json").read_text())
    write_atomically(METRICS / "benchmark.png", png(draw(benchmark)))


if __name__ == "__main__":
    take_no_arguments()
    main()
