"""The study's figures, and what `dvc plots` shows."""

import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import pandas as pd
import torch
import vl_convert

from lenet5 import CLASS_NAMES, Split, load_params
from lenet5.report.figures import COLOURS, label
from stages.plot import gallery
from tests.conftest import ROOT
from tests.project import Project
from tests.stages.curves import put_committed_curves

TECHNIQUES = tuple(load_params(ROOT / "params.yaml").techniques)
COMPARISONS = ("Validation loss", "Training loss", "Test accuracy", "Training accuracy")
VEGA_LITE = "5.8"  # the oldest version that vl-convert has; the page of `dvc plots show` loads a version 5


def shown(project: Project, *arguments: str) -> dict[str, Any]:
    """Return the plots that DVC outputs, by name."""
    output = json.loads(project.dvc("plots", *arguments, "--json").stdout)
    assert "errors" not in output
    return {name: plots[0] for name, plots in output["data"].items()}


def drawn(specification: dict[str, Any]) -> tuple[list[str], list[tuple[str, bool]]]:
    """Return the texts of a Vega-Lite plot, and the colour of each visible line and whether it is dashed, all as drawn
    in its SVG."""
    svg = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    lines = re.findall(r'<path aria-label="[^"]*" role="graphics-symbol"[^>]*line mark[^>]*/>', svg)
    visible = [line for line in lines if len(re.findall(r"[ML]", line)) > 1]
    colours = [re.search(r'stroke="(#[0-9A-Fa-f]{6})"', line) for line in visible]
    dashed = ["stroke-dasharray" in line and 'stroke-dasharray="1,0"' not in line for line in visible]
    return texts, [(colour[1], dash) for colour, dash in zip(colours, dashed, strict=True) if colour]


def marked_epochs(specification: dict[str, Any]) -> dict[str, int]:
    """Return the epoch at which each technique is marked with a dot."""
    svg = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
    labels = re.findall(r'<path aria-label="([^"]*)"[^>]*roledescription="point"[^>]*stroke="white"', svg)
    found = [re.search(r"^epoch: ([0-9]+);.*technique: ([^;]*);", text) for text in labels]
    return {match[2]: int(match[1]) for match in found if match}


def test_dvc_plots_show_draws_every_technique_and_its_kept_epoch(project: Project) -> None:
    put_committed_curves(project)
    plots = shown(project, "show")
    curves = {name: pd.read_csv(project.root / f"metrics/curves/{name}.csv") for name in TECHNIQUES}
    kept = {label(name): int(curve["epoch"][curve["validation_loss"].argmin()]) for name, curve in curves.items()}
    for name in COMPARISONS:
        texts, lines = drawn(plots[name]["content"])
        assert set(map(label, TECHNIQUES)) <= set(texts), name
        assert lines == [(colour, False) for colour in COLOURS[: len(TECHNIQUES)]], name
        assert marked_epochs(plots[name]["content"]) == kept, name
        marks = vl_convert.vegalite_to_vega(plots[name]["content"], vl_version=VEGA_LITE)["marks"]
        assert any("tooltip" in json.dumps(mark) for mark in marks), name
    for technique in TECHNIQUES:
        texts, lines = drawn(plots[f"metrics/curves/{technique}.csv"]["content"])
        assert {"train", "validation", "test", f"Losses of {technique}"} <= set(texts)
        assert len(lines) == 3
        texts, _ = drawn(plots[f"metrics/confusion/{technique}.csv"]["content"])
        assert {"T-shirt/top", "Ankle boot", f"Confusion of {technique}"} <= set(texts)
    images = {name for name, plot in plots.items() if plot["type"] == "image"}
    assert images == {f"metrics/{name}.png" for name in ("convergence", "test_accuracy", "confusion", "gallery")}


def test_dvc_plots_diff_keeps_colours_and_dashes_one_revision(project: Project) -> None:
    project.commit("results")
    curve = project.root / "metrics/curves/dropout.csv"
    curve.write_text(re.sub(r",([0-9.e-]+)$", ",0.5", curve.read_text(), flags=re.MULTILINE))
    texts, lines = drawn(shown(project, "diff", "HEAD")["Test accuracy"]["content"])
    assert {*map(label, TECHNIQUES), "HEAD", "workspace"} <= set(texts)
    assert sorted(lines) == sorted((colour, dash) for colour in COLOURS[: len(TECHNIQUES)] for dash in (False, True))


def test_curves_and_plots_are_current_after_each_epoch_of_a_run(project: Project) -> None:
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=100_000))
    curve = project.root / "metrics/curves/dropout.csv"
    run = subprocess.Popen(
        ["dvc", "repro", "train@dropout"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert run.stdout
        seen = 0
        for line in run.stdout:
            if found := re.match(r"dropout: epoch (\d+)/", line):
                # The row is written before the epoch is printed, and the file is complete.
                rows = curve.read_text().splitlines()[1:]
                assert len(rows) >= int(found[1])
                assert all(row.count(",") == 6 for row in rows)
                if int(found[1]) == 10:
                    values = shown(project, "show")["Validation loss"]["content"]["data"]["values"]
                    seen = sum(value["filename"] == "dropout.csv" for value in values)
                    break
        assert seen >= 10
        assert run.poll() is None
    finally:
        os.killpg(run.pid, signal.SIGTERM)
        run.wait(timeout=60)
        time.sleep(1)  # the stage notices that DVC has ended, and ends


def test_the_gallery_captions_the_most_confident_mistakes() -> None:
    images = torch.zeros(4, 1, 32, 32, dtype=torch.uint8)
    coat, shirt = CLASS_NAMES.index("Coat"), CLASS_NAMES.index("Shirt")
    columns = ["image", "label", "predicted", "probability"]
    rows = [(0, coat, coat, 1.0), (1, coat, shirt, 0.999), (2, shirt, coat, 0.9996), (3, coat, shirt, 0.42)]
    predictions = {name: pd.DataFrame(rows, columns=columns) for name in ("baseline", "batch_norm")}
    figure = gallery(Split(images, torch.zeros(4).long()), predictions, CLASS_NAMES, columns=5)
    expected = [
        "predicted Coat\n(> 99.9 %),\nactual Shirt",
        "predicted Shirt\n(99.9 %),\nactual Coat",
        "predicted Shirt\n(42.0 %),\nactual Coat",
    ]
    assert [axis.get_title() for axis in figure.axes] == 2 * [*expected, "", ""]
    assert [axis.get_ylabel() for axis in figure.axes[::5]] == ["baseline", "batch norm"]
