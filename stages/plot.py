"""Draw the results: metrics/summary.json, metrics/{curves,predictions} and the test images -> metrics/*.png."""

from lenet5.support.process import Inputs, set_up, take_no_arguments

set_up()

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter, PercentFormatter

from lenet5.data.dataset import Split, load_class_names, load_split
from lenet5.report.figures import STYLE, WIDTH, label, png, styles
from lenet5.support.files import Fields, damaged, number, read_csv, read_json, write_atomically
from lenet5.support.params import CLASS_NAMES
from lenet5.support.paths import CURVES, METRICS, PREDICTIONS, PREPARED

SUMMARY = METRICS / "summary.json"
Curves = dict[str, pd.DataFrame]
Summary = dict[str, dict[str, Any]]  # the row of each technique


def class_number(text: str) -> int:
    """Return the number of a class. Raises ValueError if there is no such class."""
    return range(len(CLASS_NAMES)).index(int(text))


# What the figures show of the results of a technique
CURVE: Fields = {
    "epoch": int,
    **dict.fromkeys(("train_loss", "validation_loss", "train_accuracy", "test_accuracy"), number),
}
ROW: Fields = {
    "chosen_epoch": int,
    **dict.fromkeys(("test_accuracy", "test_accuracy_low", "test_accuracy_high"), number),
    "exercise_test_accuracy": lambda value: None if value is None else number(value),
}
PREDICTED: Fields = {"image": int, "label": class_number, "predicted": class_number, "probability": number}


def read_summary() -> Summary:
    """Return the summary's row of each technique. Raises UserError if it is missing or damaged."""

    def rows(value: Any) -> Summary:
        return {str(row["technique"]): {key: convert(row[key]) for key, convert in ROW.items()} for row in value}

    content: Summary = read_json(SUMMARY, {"techniques": rows})["techniques"]
    return content


def read_curve(name: str, chosen_epoch: int) -> pd.DataFrame:
    """Return the curve of a technique. Raises UserError if it does not reach the chosen epoch."""
    path = CURVES / f"{name}.csv"
    curve = pd.DataFrame(read_csv(path, CURVE))
    if list(curve["epoch"]) != list(range(1, len(curve) + 1)) or not 1 <= chosen_epoch <= len(curve):
        raise damaged(path, f"its epochs are not 1, 2 and so on, up to {chosen_epoch} at least")
    return curve


def read_predictions(name: str, test: Split) -> pd.DataFrame:
    """Return the predictions of a technique. Raises UserError if they are not those of the test images."""
    path = PREDICTIONS / f"{name}.csv"
    table = pd.DataFrame(read_csv(path, PREDICTED))
    if table["label"].tolist() != test.labels.tolist() or list(table["image"]) != list(range(len(table))):
        raise damaged(path, "its images are not the test images")
    return table


def convergence(curves: Curves, chosen: dict[str, int]) -> Figure:
    """Return losses and accuracies over epochs. A marker shows the kept epoch, that of lowest validation loss."""
    figure = Figure(figsize=(WIDTH, 7), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True)
    axes[1, 1].sharey(axes[1, 0])
    panels = {
        "train_loss": ("training loss", axes[0, 0]),
        "validation_loss": ("validation loss", axes[0, 1]),
        "train_accuracy": ("training accuracy", axes[1, 0]),
        "test_accuracy": ("test accuracy", axes[1, 1]),
    }
    for column, (title, axis) in panels.items():
        for name, style in styles(list(curves)).items():
            curve, epoch = curves[name], chosen[name]
            line = {key: style[key] for key in ("color", "linestyle")}
            axis.plot(curve["epoch"], curve[column], label=label(name), linewidth=1.3, **line)
            kept = curve.loc[curve["epoch"] == epoch, column]
            axis.plot([epoch], kept, style["marker"], color=style["color"], markersize=8, markeredgecolor="white")
        axis.set_title(title)
        axis.grid(alpha=0.3)
    axes[0, 0].set_yscale("log")
    axes[0, 0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes[0, 0].yaxis.set_major_formatter(FormatStrFormatter("%.2g"))
    axes[0, 0].yaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("cross-entropy, nats (log scale)")
    axes[0, 1].set_ylabel("cross-entropy, nats")
    axes[1, 0].set_ylabel("accuracy in evaluation mode")
    axes[1, 0].yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    for axis in axes[1]:
        axis.set_xlabel("epoch")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=4,
        title="marker: the kept epoch, with the lowest validation loss",
    )
    return figure


def test_accuracy(summary: Summary) -> Figure:
    """Return the test accuracies with their 95 % Wilson intervals, next to those that the exercise reports."""
    figure = Figure(figsize=(WIDTH, 1.4 + 0.55 * len(summary)), layout="constrained")
    axis = figure.subplots()
    for place, (name, style) in enumerate(styles(list(summary)).items()):
        row = summary[name]
        accuracy = row["test_accuracy"]
        error = [[accuracy - row["test_accuracy_low"]], [row["test_accuracy_high"] - accuracy]]
        appearance = {"color": style["color"], "marker": style["marker"], "markersize": 8, "capsize": 4}
        axis.errorbar([accuracy], [place], xerr=error, **appearance)
        axis.annotate(f"{accuracy:.2f}", (accuracy, place), (0, 8), textcoords="offset points", ha="center")
        if row["exercise_test_accuracy"] is not None:
            axis.plot(
                [row["exercise_test_accuracy"]], [place], "x", color="0.35", markersize=9, markeredgewidth=2, zorder=3
            )
    axis.plot([], [], "x", color="0.35", markersize=9, markeredgewidth=2, label="exercise, as printed")
    axis.errorbar([], [], xerr=[], color="0.1", marker="o", capsize=4, label="this run, 95 % interval over test images")
    axis.set_yticks(range(len(summary)), [label(name) for name in summary])
    axis.set_ylim(len(summary) - 0.5, -0.7)
    axis.set_xlabel("test accuracy, %")
    axis.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def confusion(predictions: dict[str, pd.DataFrame], class_names: tuple[str, ...]) -> Figure:
    """Return the confusion matrices: the percentage of the test images of each class (row) predicted as each class."""
    rows = (len(predictions) + 1) // 2
    figure = Figure(figsize=(WIDTH, 0.6 + 4.7 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False)
    for axis, (name, table) in zip(axes.flat, predictions.items(), strict=False):
        counts = np.zeros((len(class_names), len(class_names)))
        np.add.at(counts, (table["label"], table["predicted"]), 1)
        percent = 100 * counts / counts.sum(axis=1, keepdims=True).clip(min=1)
        axis.imshow(percent, cmap="Greys", vmin=0, vmax=100)
        for (row, column), value in np.ndenumerate(percent):
            if value >= 1:
                ink = "white" if value > 50 else "black"
                axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7.5, color=ink)
        axis.set_title(label(name))
        axis.set_xticks(
            range(len(class_names)), class_names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8
        )
        axis.set_yticks(range(len(class_names)), class_names, fontsize=8)
        axis.set_xlabel("predicted")
        axis.set_ylabel("actual")
    for axis in axes.flat[len(predictions) :]:
        axis.set_visible(False)
    figure.suptitle("percentage of the test images of each class; empty cells are below 1")
    return figure


def gallery(
    test: Split, predictions: dict[str, pd.DataFrame], class_names: tuple[str, ...], columns: int = 6
) -> Figure:
    """Return one row per technique: the misclassified test images with the highest predicted probabilities."""
    figure = Figure(figsize=(WIDTH, 2.1 * len(predictions)), layout="constrained")
    axes = figure.subplots(len(predictions), columns, squeeze=False)
    for row, (name, table) in zip(axes, predictions.items(), strict=True):
        row[0].set_ylabel(label(name), fontsize=11)
        for axis in row:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        wrong = table[table["label"] != table["predicted"]].nlargest(columns, "probability")
        for axis, miss in zip(row, wrong.to_dict("records"), strict=False):
            axis.imshow(test.images[miss["image"], 0, 2:-2, 2:-2].numpy(), cmap="gray_r")
            predicted, actual = class_names[miss["predicted"]], class_names[miss["label"]]
            percent = f"{100 * miss['probability']:.1f} %" if miss["probability"] < 0.9995 else "> 99.9 %"
            axis.set_title(f"predicted {predicted}\n({percent}),\nactual {actual}", fontsize=8)
    figure.suptitle("the most confidently misclassified test images")
    return figure


def main() -> None:
    inputs = Inputs(lambda: None, CURVES, SUMMARY, PREDICTIONS, PREPARED)
    test, class_names = load_split("test"), load_class_names()
    summary = read_summary()
    chosen = {name: row["chosen_epoch"] for name, row in summary.items()}
    curves = {name: read_curve(name, epoch) for name, epoch in chosen.items()}
    predictions = {name: read_predictions(name, test) for name in summary}
    with mpl.rc_context(STYLE):
        images = {
            "convergence": png(convergence(curves, chosen)),
            "test_accuracy": png(test_accuracy(summary)),
            "confusion": png(confusion(predictions, class_names)),
            "gallery": png(gallery(test, predictions, class_names)),
        }
    inputs.require_unchanged()
    for name, image in images.items():
        write_atomically(METRICS / f"{name}.png", image)
        print(METRICS / f"{name}.png")


if __name__ == "__main__":
    take_no_arguments()
    main()
