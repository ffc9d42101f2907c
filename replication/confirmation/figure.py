"""The figure of the confirmation, metrics/confirmation.png."""

from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from lenet5.report.figures import STYLE, WIDTH, label, png, styles
from lenet5.support.params import BASELINE
from replication.analysis.plan import Plan

Row = dict[str, Any]
ByTechnique = dict[str, Row]
Colour = tuple[float, float, float]
# Heights below the place of a technique: of its intervals, and of the text above the one and below the other
FRESH, BEFORE = -0.14, 0.1
FRESH_TEXT, BEFORE_TEXT = FRESH - 0.21, BEFORE + 0.2
TEXT_REACH = 0.22  # half the width of the longest text, as a part of the width of a panel
TONE = 0.4  # how much of its colour a technique keeps for the ten seeds


def draw(rows: list[Row], ten_seeds: dict[float, ByTechnique], plan: Plan) -> bytes:
    """Return the figure of the differences from the baseline, as PNG."""
    with mpl.rc_context(STYLE):
        return png(differences(rows, ten_seeds, plan))


def differences(rows: list[Row], ten_seeds: dict[float, ByTechnique], plan: Plan) -> Figure:
    """Return the differences from the baseline over the fresh seeds, those over the ten seeds in a paler tone, and
    whether the verdict is confirmed. The dotted lines are the intervals for another training set, the band is the
    margin of equivalence.

    rows, ten_seeds: what `confirm` returns and takes.
    """
    compared = [name for name in plan.techniques if name != BASELINE]
    by_cell = {(row["learning_rate"], row["technique"]): row for row in rows}
    rates, margin = sorted({rate for rate, _ in by_cell}), plan.equivalence_points
    figure = Figure(figsize=(WIDTH, 1.5 + 0.9 * len(compared)), layout="constrained")
    panels = figure.subplots(1, len(rates), sharex=True, sharey=True, squeeze=False)[0]
    panels[0].set_xlim(_limits(rows, ten_seeds, margin))
    for axis, rate in zip(panels, rates, strict=True):
        axis.axvspan(-margin, margin, color="0.9", linewidth=0)
        axis.axvline(0, color="0.5", linewidth=1)
        for place, name in enumerate(compared):
            row, before, style = by_cell[rate, name], ten_seeds[rate].get(name), styles(plan.techniques)[name]
            colour = to_rgb(style["color"])
            _interval(axis, before, place + BEFORE, _paler(colour), style["marker"])
            if fresh := row["against_baseline"]:
                axis.plot(fresh["interval_new_training"], [place + FRESH] * 2, ":", color=colour, linewidth=1.5)
            _interval(axis, fresh, place + FRESH, colour, style["marker"])
            _text(axis, before, place + BEFORE_TEXT, "0.4")
            _text(axis, fresh, place + FRESH_TEXT, "black")
            # Outside the panel, where nothing is drawn
            axis.annotate(
                _conclusion(row, plan.confirmation.planned),
                (1.02, place),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9,
                fontweight="bold" if row["confirmed"] else "normal",
            )
        axis.set_title(f"learning rate {rate}")
        axis.locator_params(axis="x", nbins=8)
        axis.grid(axis="x", alpha=0.3)
    figure.supxlabel(
        "test accuracy minus that of the baseline, points; bars: 95 % intervals, from the same training images",
        fontsize="medium",
    )
    panels[0].set_yticks(range(len(compared)), [label(name) for name in compared])
    panels[0].set_ylim(len(compared) - 0.45, -0.6)
    black = to_rgb("black")
    for colour, name in ((black, f"{plan.confirmation.planned} fresh seeds"), (_paler(black), "earlier seeds")):
        panels[0].plot([], [], "o-", color=colour, linewidth=4, markersize=8, markeredgecolor="white", label=name)
    panels[0].plot([], [], ":", color=black, linewidth=1.5, label="fresh seeds, another training set (approximate)")
    panels[0].fill_between([], [], color="0.9", label=f"margin of equivalence, ±{margin:g} points")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _limits(rows: list[Row], ten_seeds: dict[float, ByTechnique], margin: float) -> tuple[float, float]:
    """Return the ends of the horizontal axis, which shows every interval, the band, and some space around them."""
    results = [row["against_baseline"] for row in rows if row["against_baseline"]]
    results += [result for of_rate in ten_seeds.values() for result in of_rate.values()]
    intervals = [result["interval"] for result in results]
    intervals += [row["against_baseline"]["interval_new_training"] for row in rows if row["against_baseline"]]
    bounds = [-margin, margin, *(bound for interval in intervals for bound in interval)]
    space = 0.1 * (max(bounds) - min(bounds))
    return min(bounds) - space, max(bounds) + space


def _paler(colour: Colour) -> Colour:
    """Return the colour mixed with white: one that is transparent would let the band shine through."""
    red, green, blue = (1 - TONE * (1 - part) for part in colour)
    return red, green, blue


def _conclusion(row: Row, planned: int) -> str:
    """Return whether the verdict is confirmed, and the number of pairs if runs that diverged leave fewer."""
    words, result = "confirmed" if row["confirmed"] else "not\nconfirmed", row["against_baseline"]
    return f"{words}\n({result['n']} pairs)" if result and result["n"] < planned else words


def _interval(axis: Axes, result: Row | None, place: float, colour: Colour, marker: str) -> None:
    if result:
        axis.plot(result["interval"], [place] * 2, color=colour, linewidth=4, solid_capstyle="butt")
        axis.plot(result["difference"], place, marker, color=colour, markersize=8, markeredgecolor="white")


def _text(axis: Axes, result: Row | None, place: float, colour: str) -> None:
    """Write the difference and the verdict at the interval, but inside the panel."""
    low, high = axis.get_xlim()
    reach = TEXT_REACH * (high - low)
    words = f"{result['difference']:+.2f}, {result['verdict']}" if result else "fewer than two pairs"
    centre = min(max(result["difference"], low + reach), high - reach) if result else (low + high) / 2
    axis.annotate(words, (centre, place), ha="center", va="center", fontsize=9, color=colour)
