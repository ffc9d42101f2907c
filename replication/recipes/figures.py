"""The figures of the recipes: metrics/recipes/{accuracy,augmentation}.png."""

from typing import get_args

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lenet5.report.figures import COLOURS, WIDTH, label
from lenet5.support.params import Augmentation
from lenet5.training.augmentation import augmented
from replication.analysis.comparison import Techniques

SEED = 0  # of the copies in the figure
COLUMNS = 9


def accuracy(search: Techniques, final: Techniques) -> Figure:
    """Return the accuracy of every run as a dot, with the mean of each recipe: on validation images in the search, on
    test images for the chosen recipes."""
    figure = Figure(figsize=(WIDTH, 1.4 + 0.36 * (len(search) + len(final))), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, height_ratios=[len(search) + 0.5, len(final) + 0.5])
    contents = (
        ("search, on validation images; bar: mean, blue: chosen", search, "validation"),
        ("chosen recipes with other seeds, on test images", final, "test"),
    )
    for axis, (title, runs, images) in zip(panels, contents, strict=True):
        for place, (name, ours) in enumerate(runs.items()):
            colour = COLOURS[1] if name in final else COLOURS[0]
            if ours.by_seed:
                values = 100 * np.array([run[f"{images}_accuracy"] for run in ours.by_seed.values()])
                axis.plot(values, [place] * len(values), "o", color=colour, alpha=0.4, markersize=6, markeredgewidth=0)
                axis.plot([values.mean()], [place], "|", color=colour, markersize=14, markeredgewidth=2)
                text = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "color": colour}
                axis.annotate(f"{values.mean():.2f}", (values.mean(), place), (0, 8), **text)
        axis.set_yticks(range(len(runs)), [label(name) for name in runs])
        axis.set_ylim(len(runs) - 0.5, -0.7)
        axis.set_title(title, loc="left")
        axis.set_xlabel(f"{images} accuracy, %")
        axis.tick_params(labelbottom=True)
        axis.grid(axis="x", alpha=0.3)
    return figure


def augmentation(images: Tensor) -> Figure:
    """Return what each value of `train.augmentation` makes of the first training images, uint8 N x 1 x 32 x 32."""
    kinds = get_args(Augmentation)
    figure = Figure(figsize=(WIDTH, 1.05 * len(kinds) + 0.4), layout="constrained")
    axes = figure.subplots(len(kinds), COLUMNS)
    for row, kind in zip(axes, kinds, strict=True):
        copies = augmented(images[:COLUMNS], kind, torch.Generator().manual_seed(SEED))
        for axis, copy in zip(row, copies, strict=True):
            axis.imshow(copy[0].numpy(), cmap="gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(kind, rotation=0, ha="right", va="center")
    figure.suptitle("training images as one epoch shows them, by the setting augmentation")
    return figure
