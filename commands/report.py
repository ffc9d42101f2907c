"""Write all results as one HTML file that needs no network, report.html: `make report`.

`python -m commands.report REVISION ...` adds the curves and confusion matrices of these revisions.

Curves and confusion matrices are the plots of `dvc plots`; everything else is read from metrics/.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from commands.interruption import end_together
from commands.page import chart, charts, image, markdown, page
from commands.repair import check_lock_files
from commands.report_replication import OVERVIEW, overview, replication_sections
from commands.scratch import require, run, temporary_folder
from lenet5.report.figures import label, styles
from lenet5.report.reliability import reliability
from lenet5.support.errors import UserError
from lenet5.support.files import number, read_csv, read_json, write_atomically
from lenet5.support.params import load_params
from lenet5.support.paths import CONFUSION, EVALUATION, METRICS, PARAMS, PREDICTIONS

REPORT = Path("report.html")
REPRODUCE = "Run `dvc repro` to compute it."
EXAMPLES = """examples:
  python -m commands.report           the results in this folder
  python -m commands.report HEAD      their curves next to those of the last commit
"""
# The calibration chart: accuracy over confidence, where a dot is one bin
RELIABILITY: dict[str, Any] = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "width": "container",
    "height": 300,
    "encoding": {
        "x": {"field": "confidence", "type": "quantitative", "scale": {"domain": [0, 1]}, "axis": {"format": "%"}},
        "y": {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": {"format": "%"}, "title": "accuracy"},
    },
    "layer": [
        {
            "data": {"values": [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]},
            "mark": {"type": "line", "color": "#777", "strokeDash": [4, 4]},
            "encoding": {"y": {"field": "accuracy"}},
        },
        {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"y": {"field": "low"}, "y2": {"field": "high"}}},
        {
            "mark": {"type": "point", "filled": True, "opacity": 1, "size": 60},
            "encoding": {
                "y": {"field": "accuracy"},
                "tooltip": [
                    {"field": "images"},
                    *({"field": name, "format": ".1%"} for name in ("confidence", "accuracy", "low", "high")),
                ],
            },
        },
    ],
}


def fraction(text: str) -> float:
    """Return the number in [0, 1]. Raises ValueError if it is another."""
    if not 0 <= (value := number(text)) <= 1:
        raise ValueError(f"{text} is not between 0 and 1")
    return value


def calibration(techniques: list[str]) -> str:
    """Return the HTML of the reliability diagrams. Raises UserError if a result is missing or damaged."""
    parts = []
    for name, style in styles(techniques).items():
        columns = read_csv(PREDICTIONS / f"{name}.csv", {"label": int, "predicted": int, "probability": fraction})
        error = read_json(EVALUATION / f"{name}.json", {"test_calibration_error": number})["test_calibration_error"]
        correct = np.array(columns["label"]) == np.array(columns["predicted"])
        rows = reliability(np.array(columns["probability"]), correct).to_dict("records")
        colour = {"color": style["color"]}
        look = {"config": {"point": colour, "rule": colour}, "data": {"values": rows}}
        parts.append(chart(f"{label(name)}: calibration error {100 * error:.2f} %", RELIABILITY | look))
    return (
        "<p>How often the prediction is right, over the probability that the network gives it. The test images are "
        "grouped by this probability into 15 bins; a dot is a bin, with the 95 % interval of its accuracy. Below the "
        'dashed line, a network is overconfident (<a href="https://arxiv.org/abs/1706.04599">Guo et al. 2017</a>).'
        f"</p>{charts(*parts)}"
    )


def answer() -> str:
    """Return the overview of the replicates, if there are any, and the table of the study."""
    accuracy = "Test accuracy of each technique with its 95 % interval, as in the table."
    return "\n".join(
        [
            *([overview()] if OVERVIEW.exists() else []),
            "<h3>One run per technique</h3>",
            "<p>The kept model is that of the epoch with the lowest validation loss. The intervals cover other test "
            "images, not other seeds. p is from McNemar’s exact test against the baseline, with Holm’s correction.</p>",
            markdown(METRICS / "summary.md", REPRODUCE),
            image(METRICS / "test_accuracy.png", accuracy, REPRODUCE),
        ]
    )


def plots(revisions: list[str]) -> dict[str, dict[str, Any]]:
    """Return the Vega-Lite charts of `dvc plots` by name. Raises UserError if a result of the workspace is missing."""
    check_lock_files()
    require("dvc")
    shown = ["diff", *revisions] if revisions else ["show"]
    with temporary_folder() as folder:
        command = ["dvc", "--wait-for-lock", "plots", *shown, "--json", "--out", str(folder)]
        # DVC's warnings go to the user.
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if result.returncode != 0:
        raise UserError("`dvc plots` failed; see the messages above.")
    output = json.loads(result.stdout)
    for error in output.get("errors", []):
        if error["rev"] == "workspace" and "source" in error:
            raise UserError(f"DVC cannot read {error['source']}: {error['msg']}. {REPRODUCE}")
    found = {name: plot[0]["content"] for name, plot in output.get("data", {}).items() if plot[0]["type"] == "vega"}
    if not found:
        run("dvc", "stage", "list")  # raises UserError with DVC's message if dvc.yaml cannot be read
        raise UserError("dvc.yaml defines no plots. Restore it, for example with `git checkout -- dvc.yaml`.")
    return found


def fitted(name: str, plot: dict[str, Any], *, compared: bool) -> str:
    """Return a plot of DVC, as wide as its place on the page, with its title above it."""
    title = plot.pop("title", name)
    if compared:
        plot["columns"] = 1  # of facets, one per revision
    else:  # the templates distinguish revisions by facets and dashes
        plot |= plot.pop("spec", {})
        plot.pop("facet", None)
        for layer in plot.get("layer", []):
            layer.get("encoding", {}).pop("strokeDash", None)
    if "width" in plot:
        plot["width"] = "container"
    return chart(label(title["text"] if isinstance(title, dict) else title), plot)


def sections(techniques: list[str], revisions: list[str]) -> dict[str, str]:
    """Return the HTML below each heading. What takes longest comes last, after everything that may be missing."""
    found = {"Answer": answer(), "Curves": "", "Confusion": "", "Calibration": calibration(techniques)}
    gallery = "The most confidently misclassified test images of each technique, with predicted and actual class."
    found["Mistakes"] = image(METRICS / "gallery.png", gallery, REPRODUCE)
    found |= replication_sections()
    drawn: dict[bool, list[str]] = {True: [], False: []}
    for name, plot in plots(revisions).items():
        drawn[Path(name).is_relative_to(CONFUSION)].append(fitted(name, plot, compared=bool(revisions)))
    found["Curves"] = (
        "<p>A dot marks the kept epoch, with the lowest validation loss. Point at a line to see its values.</p>"
        + charts(*drawn[False])
    )
    found["Confusion"] = (
        "<p>Test images of each class (row) by predicted class (column), shaded by their share of the class.</p>"
        + charts(*drawn[True])
    )
    return found


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m commands.report",
        description=f"Write the results in metrics/ as one HTML file that needs no network, {REPORT}.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("revisions", metavar="REVISION", nargs="*", help="a commit, branch, tag or experiment")
    revisions = parser.parse_args(arguments).revisions

    print("Reading metrics/, and the curves through DVC: this takes some seconds.", flush=True)
    content = sections(list(load_params().techniques), revisions)
    commit = run("git", "rev-parse", "--short", "HEAD")
    changed = run("git", "status", "--porcelain", "--", str(PARAMS), "dvc.lock", str(METRICS))
    introduction = f'<p class="note">Results of revision {commit}{", with uncommitted changes" if changed else ""}.</p>'
    write_atomically(REPORT, page("Regularisation techniques compared", introduction, content).encode())
    print(f"Open {REPORT.resolve().as_uri()} in a browser.")


if __name__ == "__main__":
    end_together()
    main(sys.argv[1:])
