"""The parts of a report, as HTML that loads nothing: tables, images, charts, and the page around them."""

import base64
import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import vl_convert

from lenet5.support.errors import UserError

VEGA_LITE = "5.21"  # of the major version in the $schema of .dvc/plots
TEMPLATE = Path(__file__).with_suffix(".html")
OPTIONS = {
    "actions": False,
    "renderer": "svg",
    "config": {
        "background": None,
        "font": "system-ui, sans-serif",
        "axis": {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"},
        "legend": {
            "orient": "top",
            "columns": 2,
            "symbolType": "stroke",
            "symbolStrokeWidth": 2,
            "symbolSize": 500,
            "layout": {"top": {"direction": "vertical", "anchor": "start"}},
            "labelFontSize": 12,
            "titleFontWeight": "normal",
        },
    },
}
# Draws every chart in the place of its specification.
DRAW = f"""
for (const chart of document.querySelectorAll("script[type='application/json']"))
  vegaEmbed(chart.parentElement, JSON.parse(chart.textContent), {json.dumps(OPTIONS)});
"""


def read(path: Path, remedy: str) -> bytes:
    """Return the content of a result. Raises UserError with `remedy` if it is missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path} is missing. {remedy}") from None
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Fix this and run again.") from None


def markdown(path: Path, remedy: str) -> str:
    """Return the tables and sentences in a Markdown file, with blank lines between them. The first cell of each row of
    a table names it."""
    try:
        blocks = read(path, remedy).decode().rstrip().split("\n\n")
        return "\n".join(_table(block) if block[0] == "|" else f"<p>{escape(block)}</p>" for block in blocks)
    except (ValueError, IndexError):
        raise UserError(f"{path} is damaged: it is neither a table nor a sentence. {remedy}") from None


def _table(text: str) -> str:
    header, _, *rows = [[escape(cell.strip()) for cell in line.strip("|").split("|")] for line in text.splitlines()]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in header)
    body = "\n".join(
        f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>' for name, *cells in rows
    )
    return (
        f'<div class="scroll" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def image(path: Path, description: str, remedy: str) -> str:
    """Return the HTML of a picture, which is part of the page. Raises UserError with the remedy if it is missing."""
    url = f"data:image/png;base64,{base64.b64encode(read(path, remedy)).decode()}"
    return f'<figure class="scroll" tabindex="0"><img alt="{escape(description)}" src="{url}"></figure>'


def chart(title: str, specification: dict[str, Any]) -> str:
    """Return a Vega-Lite chart with its title above it."""
    # No text may close the script element.
    content = json.dumps(specification | {"description": title}).replace("<", r"\u003c")
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<div class="chart"><script type="application/json">{content}</script></div></figure>'
    )


def charts(*parts: str) -> str:
    """Return charts side by side, as far as the page is wide enough."""
    return '<div class="charts">\n' + "\n".join(parts) + "\n</div>"


def page(title: str, introduction: str, sections: dict[str, str]) -> str:
    """Return the whole page; `sections` maps each heading to the HTML below it."""
    ids = {heading: heading.lower().replace(" ", "-") for heading in sections}
    bundle = vl_convert.javascript_bundle(DRAW, vl_version=VEGA_LITE)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        introduction=introduction,
        contents="\n".join(f'<li><a href="#{name}">{escape(heading)}</a></li>' for heading, name in ids.items()),
        sections="\n".join(
            f'<section id="{ids[heading]}">\n<h2>{escape(heading)}</h2>\n{body}\n</section>'
            for heading, body in sections.items()
        ),
        script=bundle.replace("</script", r"<\/script"),  # nor may the text of this one
    )
