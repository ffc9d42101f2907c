"""The figure of the test images: accuracy by distance, differences by class, and images that all networks miss."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from numpy.typing import NDArray

from lenet5.data.dataset import Split
from lenet5.report.figures import WIDTH, label, styles

SHOWN = 8  # images that all networks miss
HEIGHTS = (3, 4.2, 3)  # of the three rows


def draw(
    rates: dict[str, Any],
    missed: list[int],
    test: Split,
    known: Split,
    nearest: NDArray[np.int64],
    *,
    class_names: tuple[str, ...],
) -> Figure:
    """Return the figure. rates: results by learning rate; missed: the places of the test images that all networks miss;
    known: the images to which `nearest`, int64 N, refers."""
    figure = Figure(figsize=(WIDTH, 11), layout="constrained")
    top, middle, bottom = figure.subfigures(3, 1, squeeze=False, height_ratios=HEIGHTS)[:, 0]
    all_styles = styles(list(dict.fromkeys(name for of in rates.values() for name in of["accuracy_by_tenth"])))
    panels = top.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    for axis, (rate, of_rate) in zip(panels, rates.items(), strict=True):
        for name, accuracies in of_rate["accuracy_by_tenth"].items():
            axis.plot(range(1, 11), accuracies, label=label(name), markersize=4, **all_styles[name])
        axis.set(title=f"learning rate {rate}", xlabel="tenth of each class, nearest to a training image first")
        axis.grid(alpha=0.3)
    panels[0].set_ylabel("test accuracy, %")
    top.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    panels = middle.subplots(1, len(rates), sharex=True, sharey=True, squeeze=False)[0]
    for axis, (rate, of_rate) in zip(panels, rates.items(), strict=True):
        _differences(axis, of_rate["difference_by_class"], all_styles)
        axis.set(title=f"learning rate {rate}", xlabel="accuracy minus that of the baseline, points (95 %)")
    pairs = [((test, image), (known, int(nearest[image]))) for image in missed[:SHOWN]]
    bottom.suptitle(
        f"top: the first {len(pairs)} of {len(missed)} test images that every network misclassifies; "
        "bottom: the nearest training image",
        fontsize="medium",
    )
    _missed(bottom, pairs, class_names)
    return figure


def _differences(axis: Axes, by_technique: dict[str, Any], all_styles: dict[str, Any]) -> None:
    """Draw the difference from the baseline on each class, with its interval."""
    classes = list(next(iter(by_technique.values()), {}))
    axis.axvline(0, color="0.3", linewidth=1)
    shifts = np.linspace(-0.25, 0.25, len(by_technique))
    for shift, (name, differences) in zip(shifts, by_technique.items(), strict=True):
        style = {key: all_styles[name][key] for key in ("color", "marker")}
        means = np.array([differences[each]["difference"] for each in classes])
        bounds = np.array([differences[each]["interval"] for each in classes])
        reach = np.abs(bounds.T - means)
        axis.errorbar(means, np.arange(len(classes)) + shift, xerr=reach, fmt="none", ecolor=style["color"], capsize=2)
        axis.plot(means, np.arange(len(classes)) + shift, linestyle="none", markersize=4, **style)
    axis.set_yticks(range(len(classes)), classes)
    axis.set_ylim(len(classes) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)


def _missed(
    figure: FigureBase, pairs: list[tuple[tuple[Split, int], tuple[Split, int]]], class_names: tuple[str, ...]
) -> None:
    """Draw pairs of images, one above the other, each with its label above."""
    axes = figure.subplots(2, SHOWN, squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for column, pair in zip(axes.T, pairs, strict=False):
        for axis, (split, place) in zip(column, pair, strict=True):
            axis.imshow(split.images[place, 0, 2:-2, 2:-2].numpy(), cmap="gray_r", vmin=0, vmax=255)
            axis.set_title(class_names[int(split.labels[place])], fontsize=9)
