"""The benchmark drawn: metrics/benchmark.json -> metrics/benchmark.png."""

import json
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from stages.files import write_atomically
from stages.paths import METRICS
from stages.plot import COLOURS, DASHES, MARKERS, WIDTH, png

NAMES = {
    "native": "ours, C",
    "torch": "ours, PyTorch",
    "jax": "JAX",
    "keras": "Keras on JAX",
    "peak": "bare arithmetic",
}


def draw(benchmark: dict[str, Any]) -> Figure:
    """Seconds of an epoch, the cost of an image against the size of the batch, and epochs a minute against cores."""
    figure = Figure(figsize=(WIDTH, 7), layout="constrained")
    grid = figure.add_gridspec(2, 2)
    epoch, left, right = (figure.add_subplot(cell) for cell in (grid[0, :], grid[1, 0], grid[1, 1]))
    names = NAMES | {benchmark["reference"]: "usual loop"}
    _bars(epoch, {names[name]: f for name, f in benchmark["seconds_per_epoch"].items() if name in names})
    for axis, key in ((left, "microseconds_per_image"), (right, "epochs_per_minute")):
        for place, (name, by) in enumerate(benchmark[key].items()):
            style: dict[str, Any] = {"color": COLOURS[place], "linestyle": DASHES[place], "marker": MARKERS[place]}
            axis.plot([int(x) for x in by], list(by.values()), label=names[name], **style)
        ticks = [int(x) for x in next(iter(benchmark[key].values()))]
        axis.set_xscale("log", base=2)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
    left.set_xlabel("images in a batch")
    left.set_ylabel("training on an image, microseconds")
    right.set_xlabel("cores")
    right.set_ylabel("epochs a minute")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    about = benchmark["machine"]
    figure.suptitle(f"LeNet-5, {about['cores']} cores of an {about['processor']}", fontsize="medium")
    return figure


def _bars(axis: Axes, seconds: dict[str, dict[str, float]]) -> None:
    ordered = sorted(seconds, key=lambda name: seconds[name]["epoch"])
    train, evaluate = ([seconds[name][part] for name in ordered] for part in ("train", "evaluate"))
    axis.barh(ordered, train, color="0.35", label="training on 48,000 images")
    bars = axis.barh(ordered, evaluate, left=train, color="0.75", label="evaluation on 70,000")
    axis.bar_label(bars, [f" {seconds[name]['epoch']:.1f}" for name in ordered])
    axis.margins(x=0.08)
    axis.invert_yaxis()
    axis.set_xlabel("seconds of an epoch, batches of 64; ours and bare arithmetic on one core, the others on all")
    axis.legend()


def main() -> None:
    benchmark = json.loads((METRICS / "benchmark.json").read_text())
    write_atomically(METRICS / "benchmark.png", png(draw(benchmark)))


if __name__ == "__main__":
    main()
