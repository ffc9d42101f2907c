"""The figure of the confirmation, drawn from rows with every kind of gap."""

import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lenet5.report.figures import COLOURS
from replication.analysis.plan import load_plan
from replication.confirmation.figure import differences
from tests.conftest import ROOT

RATES = (0.001, 0.01)


def result(low: float, difference: float, high: float, verdict: str, n: int = 30) -> dict[str, Any]:
    wider = {"interval_new_training": [low - 0.5, high + 0.5]}
    return {"interval": [low, high], "difference": difference, "verdict": verdict, "n": n} | wider


def row(rate: float, technique: str, compared: dict[str, Any] | None, *, confirmed: bool) -> dict[str, Any]:
    return {"learning_rate": rate, "technique": technique, "against_baseline": compared, "confirmed": confirmed}


# The differences at both ends are where a text might leave its panel.
TEN_SEEDS = {
    0.001: {"dropout": result(0.1, 0.5, 0.9, "helps", 10), "decay": result(-2, -1.9, -1.8, "no difference", 10)},
    0.01: {"dropout": result(-1, -0.5, -0.1, "hurts", 10)},
}
ROWS = [
    *({"learning_rate": rate, "technique": "baseline", "against_baseline": None} for rate in RATES),
    row(0.001, "dropout", result(0.3, 0.45, 0.6, "helps"), confirmed=True),
    row(0.001, "decay", result(-0.1, 0.05, 0.2, "open", 29), confirmed=False),
    row(0.01, "dropout", None, confirmed=False),
    row(0.01, "decay", result(1.9, 1.95, 2, "no difference"), confirmed=False),
]


@pytest.fixture
def figure() -> Figure:
    plan = load_plan(ROOT / "replication/params.yaml")
    confirmation = plan.confirmation.model_copy(update={"planned": 30})
    update = {"techniques": ["baseline", "dropout", "decay"], "confirmation": confirmation}
    figure = differences(ROWS, TEN_SEEDS, plan.model_copy(update=update))
    figure.draw_without_rendering()  # decides where everything is
    return figure


def intervals(axis: Axes, style: str = "-") -> list[Line2D]:
    """Return the horizontal lines of this style in the panel."""
    lines = {line: np.array(line.get_xydata()) for line in axis.lines if line.get_linestyle() == style}
    return [line for line, points in lines.items() if len(points) == 2 and np.ptp(points[:, 0])]


def values(axis: Axes) -> list[tuple[float, ...]]:
    """Return each interval in the panel with the mark on it, from top to bottom."""
    points = [np.array(line.get_xydata()) for line in axis.lines]
    marks = {each[0, 1]: each[0, 0] for each in points if len(each) == 1}
    bounds = {each[0, 1]: each[:, 0] for each in (np.array(line.get_xydata()) for line in intervals(axis))}
    assert marks.keys() == bounds.keys()
    return [(bounds[place][0], marks[place], bounds[place][1]) for place in sorted(marks)]


def test_the_figure_shows_fresh_seeds_above_the_ten_seeds(figure: Figure) -> None:
    low, high = figure.axes
    assert values(low) == [(0.3, 0.45, 0.6), (0.1, 0.5, 0.9), (-0.1, 0.05, 0.2), (-2, -1.9, -1.8)]
    assert values(high) == [(-1, -0.5, -0.1), (1.9, 1.95, 2)]
    dotted = [[np.array(line.get_xdata()).tolist() for line in intervals(axis, ":")] for axis in figure.axes]
    assert dotted == [[[-0.2, 1.1], [-0.6, 0.7]], [[1.4, 2.5]]]  # of the fresh seeds alone
    of_dropout, of_decay = (to_rgb(line.get_color()) for line in intervals(high))
    assert of_decay == to_rgb(COLOURS[2])
    assert np.all(np.subtract(of_dropout, to_rgb(COLOURS[1])) > 0)  # of the ten seeds: the same colour, but paler
    texts = [
        [text.get_text() for text in sorted(axis.texts, key=lambda text: text.get_position()[1])]
        for axis in figure.axes
    ]
    assert texts[0][:3] == ["+0.45, helps", "confirmed", "+0.50, helps"]
    assert texts[0][3:] == ["+0.05, open", "not\nconfirmed\n(29 pairs)", "-1.90, no difference"]
    assert texts[1][:3] == ["fewer than two pairs", "not\nconfirmed", "-0.50, hurts"]
    assert texts[1][3:] == ["+1.95, no difference", "not\nconfirmed", "fewer than two pairs"]


def test_nothing_in_the_figure_overlaps_or_is_cut(figure: Figure) -> None:
    shown: list[Artist] = [*figure.legends, *figure.texts]
    for axis in figure.axes:
        shown += [axis.title, *axis.texts, *axis.get_yticklabels(), *intervals(axis)]
        inside = [each.get_window_extent() for style in ("-", ":") for each in intervals(axis, style)]
        inside += [text.get_window_extent() for text in axis.texts if "confirmed" not in text.get_text()]
        assert all(axis.bbox.x0 < box.x0 and box.x1 < axis.bbox.x1 for box in inside)
    boxes = [each.get_window_extent() for each in shown if each.get_visible()]
    assert len(boxes) > 20
    assert not [pair for pair in itertools.combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
