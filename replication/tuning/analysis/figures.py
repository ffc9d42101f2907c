"""The figures of the tuned techniques: metrics/tuning/{search,accuracy}.png."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lenet5.report.figures import COLOURS, WIDTH, label, styles
from lenet5.support.params import BASELINE
from replication.analysis.comparison import OUTCOMES, PRIMARY, common_seeds
from replication.analysis.figures import difference, dots, mean_with_interval, no_difference
from replication.analysis.results import Replicates
from replication.tuning.files import Runs
from replication.tuning.plan import Tuning

Rows = list[dict[str, Any]]


def search(cells: Rows, plan: Tuning) -> Figure:
    """Return the validation loss of every cell in the search, in nats: a row for each setting, a column for each
    learning rate, a panel for each schedule. Thin frames are the candidates of a technique, thick ones its choice."""
    settings = [name for names in plan.choices.values() for name in names]
    rates = sorted(plan.learning_rates)
    figure = Figure(figsize=(WIDTH, 1.2 + 0.3 * len(settings)), layout="constrained")
    panels = figure.subplots(1, len(plan.schedules), sharey=True, squeeze=False)[0]
    losses = [row["search_loss"] for row in cells if row["search_loss"] is not None]
    # The worst cells, of high learning rates, would leave the others one colour.
    limits = (min(losses), float(np.quantile(losses, 0.8))) if losses else (0.0, 1.0)
    for axis, schedule in zip(panels, plan.schedules, strict=True):
        table = np.full((len(settings), len(rates)), np.nan)
        for row in cells:
            if row["schedule"] == schedule:
                place = settings.index(row["setting"]), rates.index(row["learning_rate"])
                table[place] = np.nan if row["search_loss"] is None else row["search_loss"]
                _cell(axis, place, row, limits)
        axis.imshow(table, cmap="viridis_r", vmin=limits[0], vmax=limits[1], aspect="auto")
        axis.set_xticks(range(len(rates)), [str(rate) for rate in rates])
        axis.set_xlabel("learning rate")
        axis.set_title(schedule)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        for end in np.cumsum([len(names) for names in plan.choices.values()])[:-1]:
            axis.axhline(end - 0.5, color="white", linewidth=4)
    panels[0].set_yticks(range(len(settings)), [label(name) for name in settings])
    figure.suptitle("validation loss in the search, nats; frames: candidates of a technique (thin), its choice (thick)")
    return figure


def _cell(axis: Axes, place: tuple[int, int], row: dict[str, Any], limits: tuple[float, float]) -> None:
    """Write the loss into a cell, and frame a candidate."""
    y, x = place
    loss = row["search_loss"]
    dark = loss is not None and loss > sum(limits) / 2
    text = "diverged" if loss is None else f"{loss:.3f}"
    axis.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    if row["candidate"]:
        frame = Rectangle((x - 0.46, y - 0.4), 0.92, 0.8, fill=False, edgecolor=COLOURS[2])
        frame.set_linewidth(3 if row["chosen"] else 1)
        axis.add_patch(frame)


def accuracy(tested: dict[str, Runs], rows: Rows, margin: float) -> Figure:
    """Return the test accuracy of every run of what was chosen as a dot, next to the mean with its 95 % interval, and
    the difference from the tuned baseline, seed by seed. The band is what the plan counts as no difference."""
    figure = Figure(figsize=(WIDTH, 1.2 + 0.6 * len(rows)), layout="constrained")
    values_axis, differences_axis = figure.subplots(1, 2, sharey=True)
    runs = {technique: Replicates(of_technique) for technique, of_technique in tested.items()}
    no_difference(differences_axis, margin)
    common = common_seeds(runs)
    for place, (row, style) in enumerate(zip(rows, styles(list(runs)).values(), strict=True)):
        ours, baseline, of = runs[row["technique"]], runs[BASELINE], OUTCOMES[PRIMARY]
        if "test_accuracy" in row:
            dots(values_axis, ours.values(of), place + 0.18, style)
            statistics = row["test_accuracy"]
            mean_with_interval(values_axis, statistics["mean"], statistics["interval"], place - 0.12, style)
            text = (f"{statistics['mean']:.2f}", (statistics["mean"], place - 0.34))
            values_axis.annotate(*text, ha="center", va="center", fontsize=9)
        elif row["failures"]:
            values_axis.annotate("diverged", (0.5, place), xycoords=("axes fraction", "data"), ha="center")
        if result := row["against_baseline"]:
            seeds = common[row["technique"]]
            values = ours.values(of, seeds) - baseline.values(of, seeds)
            difference(differences_axis, values, result, place, style)
    for axis, title in ((values_axis, "test accuracy, %"), (differences_axis, "minus the tuned baseline, points")):
        axis.set_xlabel(title)
        axis.grid(axis="x", alpha=0.3)
    values_axis.set_yticks(range(len(rows)), [label(name) for name in runs])
    values_axis.set_ylim(len(rows) - 0.5, -0.6)
    return figure
