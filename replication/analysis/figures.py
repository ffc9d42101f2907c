"""The figures of the replication: metrics/replication/{accuracy,differences,curves}.png."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lenet5.report.figures import STYLE, WIDTH, label, png, styles
from lenet5.support.params import BASELINE
from replication.analysis.comparison import OUTCOMES, PRIMARY, common_seeds
from replication.analysis.plan import Plan
from replication.analysis.results import Replicates

Rows = list[dict[str, Any]]


def accuracy(replicates: dict[float, dict[str, Replicates]], rows: Rows) -> Figure:
    """Return the test accuracy of every replicate as a dot, next to the mean with its 95 % interval, and the accuracy
    that the exercise reports, with the range of what its counter would show of the replicates."""
    techniques = list(next(iter(replicates.values())))
    figure = Figure(figsize=(WIDTH, 1.3 + 1.05 * len(techniques)), layout="constrained")
    panels = figure.subplots(1, len(replicates), sharex=True, sharey=True, squeeze=False)[0]
    for axis, (rate, of_rate) in zip(panels, replicates.items(), strict=True):
        for place, (name, style) in enumerate(styles(techniques).items()):
            row = next(row for row in rows if (row["learning_rate"], row["technique"]) == (rate, name))
            if "test_accuracy" not in row:
                axis.annotate("diverged", (0.5, place), xycoords=("axes fraction", "data"), ha="center")
                continue
            values = of_rate[name].values(OUTCOMES[PRIMARY])
            dots(axis, values, place + 0.12, style)
            mean_with_interval(
                axis, row["test_accuracy"]["mean"], row["test_accuracy"]["interval"], place - 0.16, style
            )
            if reported := row.get("exercise"):
                if "range" in reported["test"]:
                    axis.plot(reported["test"]["range"], [place + 0.36] * 2, color=style["color"], linewidth=1)
                axis.plot(reported["test"]["accuracy"], place + 0.36, "x", color="0.2", markersize=8, markeredgewidth=2)
        axis.set_title(f"learning rate {rate}")
        axis.set_xlabel("test accuracy, %")
        axis.margins(x=0.17)
        axis.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(techniques)), [label(name) for name in techniques])
    panels[0].set_ylim(len(techniques) - 0.4, -0.5)
    panels[0].plot([], [], "o", color="0.4", alpha=0.7, label="replicate")
    panels[0].plot([], [], "o-", color="0.1", linewidth=4, markeredgecolor="white", label="mean, 95 % interval")
    if any("exercise" in row for row in rows):
        panels[0].plot([], [], color="0.4", linewidth=1, label="95 % of ours, counted as in the exercise")
        panels[0].plot([], [], "x", color="0.2", markersize=8, markeredgewidth=2, label="exercise")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


def differences(replicates: dict[float, dict[str, Replicates]], rows: Rows, margin: float) -> Figure:
    """Return the differences from the baseline with the same seed: a dot per seed, and the mean with its intervals for
    the same images (thick), new test images (thin) and a new training set (dotted). The band is what the plan counts
    as no difference."""
    compared = [name for name in next(iter(replicates.values())) if any(_of(rows, name))]
    figure = Figure(figsize=(WIDTH, 1.5 + 0.75 * len(compared)), layout="constrained")
    panels = figure.subplots(1, len(replicates), sharex=True, sharey=True, squeeze=False)[0]
    all_styles = styles(list(next(iter(replicates.values()))))
    for axis, (rate, of_rate) in zip(panels, replicates.items(), strict=True):
        no_difference(axis, margin)
        common = common_seeds(of_rate)
        for place, name in enumerate(compared):
            row = next(row for row in rows if (row["learning_rate"], row["technique"]) == (rate, name))
            result, style = row["against_baseline"], all_styles[name]
            if not result:
                continue
            ours, baseline = of_rate[name], of_rate[BASELINE]
            seeds = common[name]
            values = ours.values(OUTCOMES[PRIMARY], seeds) - baseline.values(OUTCOMES[PRIMARY], seeds)
            axis.plot(result["interval_new_images"], [place - 0.12] * 2, color=style["color"], linewidth=1)
            axis.plot(result["interval_new_training"], [place - 0.01] * 2, ":", color=style["color"], linewidth=1.5)
            difference(axis, values, result, place, style)
        axis.set_title(f"learning rate {rate}")
        axis.set_xlabel("test accuracy minus that of the baseline, points")
        axis.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(compared)), [label(name) for name in compared])
    panels[0].set_ylim(len(compared) - 0.5, -0.6)
    panels[0].plot([], [], "o", color="0.4", alpha=0.7, label="pair with one seed")
    panels[0].plot([], [], color="0.1", linewidth=4, label="95 %, same images")
    panels[0].plot([], [], color="0.1", linewidth=1, label="95 %, new test images")
    panels[0].plot([], [], ":", color="0.1", linewidth=1.5, label="95 %, new training set")
    panels[0].fill_between([], [], color="0.88", label=f"no difference (±{margin:g})")
    figure.legend(loc="outside upper center", ncols=5, fontsize="small", columnspacing=1.2)
    return figure


def curves(replicates: dict[float, dict[str, Replicates]]) -> Figure:
    """Return the validation loss over epochs: the median over seeds, and the band from the lowest to the highest."""
    figure = Figure(figsize=(WIDTH, 2.6 * len(replicates) + 0.6), layout="constrained")
    techniques = list(next(iter(replicates.values())))
    axes = figure.subplots(len(replicates), len(techniques), sharex=True, sharey=True, squeeze=False)
    for row, (rate, of_rate) in zip(axes, replicates.items(), strict=True):
        row[0].set_ylabel(f"learning rate {rate}\nvalidation loss, nats")
        for axis, (name, style) in zip(row, styles(techniques).items(), strict=True):
            if of_rate[name].by_seed:
                losses = of_rate[name].curves()
                epochs = range(1, losses.shape[1] + 1)
                axis.fill_between(epochs, losses.min(0), losses.max(0), color=style["color"], alpha=0.25, linewidth=0)
                axis.plot(epochs, np.median(losses, axis=0), color=style["color"], linestyle=style["linestyle"])
            axis.grid(alpha=0.3)
    for axis, name in zip(axes[0], techniques, strict=True):
        axis.set_title(label(name))
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    figure.suptitle("line: median over seeds; band: from the lowest to the highest")
    return figure


def _of(rows: Rows, technique: str) -> list[Any]:
    return [row["against_baseline"] for row in rows if row["technique"] == technique]


def dots(axis: Axes, values: NDArray[np.float64], place: float, style: dict[str, Any]) -> None:
    """Draw values at alternating heights, so that equal values do not hide each other."""
    heights = place + 0.1 * (values.argsort().argsort() % 3 - 1)
    axis.plot(values, heights, style["marker"], color=style["color"], alpha=0.55, markersize=5, markeredgewidth=0)


def mean_with_interval(axis: Axes, mean: float, interval: list[float], place: float, style: dict[str, Any]) -> None:
    """Draw a mean as a marker on its interval."""
    axis.plot(interval, [place] * 2, color=style["color"], linewidth=4, solid_capstyle="butt", alpha=0.8)
    axis.plot(
        mean, place, style["marker"], color=style["color"], markersize=7, markeredgecolor="white", markeredgewidth=1
    )


def no_difference(axis: Axes, margin: float) -> None:
    """Draw a line at zero, in the band of what the plan counts as no difference."""
    axis.axvspan(-margin, margin, color="0.88", linewidth=0)
    axis.axvline(0, color="0.3", linewidth=1)


def difference(
    axis: Axes, values: NDArray[np.float64], result: dict[str, Any], place: float, style: dict[str, Any]
) -> None:
    """Draw the differences of the pairs, and above them the mean with its interval, written with the verdict."""
    dots(axis, values, place + 0.18, style)
    mean_with_interval(axis, result["difference"], result["interval"], place - 0.12, style)
    text = f"{result['difference']:+.2f}, {result['verdict']}"
    axis.annotate(text, (result["difference"], place - 0.34), ha="center", va="center", fontsize=9)


def draw(replicates: dict[float, dict[str, Replicates]], rows: Rows, plan: Plan) -> dict[str, bytes]:
    """Return the figures by name, as PNG."""
    with mpl.rc_context(STYLE):
        return {
            "accuracy": png(accuracy(replicates, rows)),
            "differences": png(differences(replicates, rows, plan.equivalence_points)),
            "curves": png(curves(replicates)),
        }


def notice(text: str) -> bytes:
    """Return a picture of a sentence, as PNG: DVC needs the file before there is anything to draw."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.6))
        figure.text(0.5, 0.5, text.strip(), ha="center", va="center")
        return png(figure)
