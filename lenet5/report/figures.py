"""What all figures share: the style of each technique, sizes, and the PNG format."""

import io
from typing import Any

from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can distinguish, and three of Tol's. Dashes and markers help in a
# greyscale print.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#332288", "#999999")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
WIDTH = 9  # inches; the README shows about 90 pixels per inch
# For matplotlib.rc_context.
STYLE: dict[Any, Any] = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}


def styles(techniques: list[str]) -> dict[str, dict[str, Any]]:
    """Return colour, dash and marker of each technique, the same in every figure.

    They follow the order in params.yaml, so that a technique added at the end changes no other.
    """
    return {
        name: {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": DASHES[place % len(DASHES)],
            "marker": MARKERS[place % len(MARKERS)],
        }
        for place, name in enumerate(techniques)
    }


def label(technique: str) -> str:
    """Return the name of a technique as figures show it."""
    return technique.replace("_", " ")


def png(figure: Figure) -> bytes:
    """Return the figure at 150 dots per inch, without the metadata that differs between versions of matplotlib."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()
