"""What a person sees with `dvc plots` and in the page of `make plots`."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import vl_convert
from dvc.repo import Repo

from stages.plot import COLOURS, label
from tests.conftest import ROOT
from tests.project import Project
from tests.test_pipeline import TECHNIQUES

COMPARISONS = ("Validation loss", "Training loss", "Test accuracy", "Training accuracy")
VEGA_LITE = "5.8"  # the oldest that vl-convert has; the page of `dvc plots show` loads a 5


def shown(project: Project, *arguments: str) -> dict[str, Any]:
    """The plots that DVC emits, by name."""
    output = json.loads(project.dvc("plots", *arguments, "--json").stdout)
    assert "errors" not in output
    return {name: plots[0] for name, plots in output["data"].items()}


def drawn(specification: dict[str, Any]) -> tuple[list[str], list[tuple[str, bool]]]:
    """The texts of a Vega-Lite plot, and of each line that is long enough to be seen, its colour and whether it is
    dashed: as drawn, from its SVG."""
    svg = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    lines = re.findall(r'<path aria-label="[^"]*" role="graphics-symbol"[^>]*line mark[^>]*/>', svg)
    visible = [line for line in lines if len(re.findall(r"[ML]", line)) > 1]
    colours = [re.search(r'stroke="(#[0-9A-Fa-f]{6})"', line) for line in visible]
    dashed = ["stroke-dasharray" in line and 'stroke-dasharray="1,0"' not in line for line in visible]
    return texts, [(colour[1], dash) for colour, dash in zip(colours, dashed, strict=True) if colour]


def marked_epochs(specification: dict[str, Any]) -> dict[str, int]:
    """The epoch at which each technique's dot stands."""
    svg = vl_convert.vegalite_to_svg(specification, vl_version=VEGA_LITE)
    labels = re.findall(r'<path aria-label="([^"]*)"[^>]*roledescription="point"[^>]*stroke="white"', svg)
    found = [re.search(r"^epoch: ([0-9]+);.*technique: ([^;]*);", text) for text in labels]
    return {match[2]: int(match[1]) for match in found if match}


def put_committed_curves(project: Project) -> None:
    """The study's own curves where it has them, so that what is tested is what a reader sees."""
    if (ROOT / "metrics/curves").is_dir():
        shutil.copytree(ROOT / "metrics/curves", project.root / "metrics/curves", dirs_exist_ok=True)


def test_dvc_plots_show_draws_each_technique_in_its_colour_with_its_name_and_kept_epoch(project: Project) -> None:
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


def test_dvc_plots_diff_keeps_the_techniques_colours_and_dashes_the_revision(project: Project) -> None:
    project.commit("results")
    curve = project.root / "metrics/curves/dropout.csv"
    curve.write_text(re.sub(r",([0-9.e-]+)$", ",0.5", curve.read_text(), flags=re.MULTILINE))
    texts, lines = drawn(shown(project, "diff", "HEAD")["Test accuracy"]["content"])
    assert {*map(label, TECHNIQUES), "HEAD", "workspace"} <= set(texts)
    assert sorted(lines) == sorted((colour, dash) for colour in COLOURS[: len(TECHNIQUES)] for dash in (False, True))


def test_the_page_of_make_plots_draws_everything_without_network(project: Project, tmp_path: Path) -> None:
    put_committed_curves(project)
    project.run("python", "-m", "commands.page")
    page = project.root / "plots.html"
    html = page.read_text()
    markup = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]*"', markup)
    assert html.count('src="data:image/png;base64,') == 4
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium here to open the page with")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    plots = len(COMPARISONS) + 2 * len(TECHNIQUES)
    assert len(re.findall(r"<svg[^>]*class=\"marks\"", dom)) == plots


def test_curves_and_plots_are_current_after_every_epoch_of_a_running_training(project: Project) -> None:
    project.change_params(lambda params: params["techniques"]["dropout"].update(epochs=100_000))
    curve = project.root / "metrics/curves/dropout.csv"
    training = subprocess.Popen(
        ["dvc", "repro", "train@dropout"],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert training.stdout
        seen = 0
        for line in training.stdout:
            if found := re.match(r"dropout: epoch (\d+)/", line):
                # The row is there before the epoch is announced, and the file is whole.
                rows = curve.read_text().splitlines()[1:]
                assert len(rows) >= int(found[1])
                assert all(row.count(",") == 6 for row in rows)
                if int(found[1]) == 10:
                    values = shown(project, "show")["Validation loss"]["content"]["data"]["values"]
                    seen = sum(value["filename"] == "dropout.csv" for value in values)
                    break
        assert seen >= 10
        assert training.poll() is None
    finally:
        os.killpg(training.pid, signal.SIGTERM)
        training.wait(timeout=60)
        time.sleep(1)  # the training itself notices that DVC is gone


def test_every_technique_has_its_model_named_as_an_artifact(computed_project: Project) -> None:
    artifacts = Repo(str(ROOT)).artifacts.read()["dvc.yaml"]
    assert {name.replace("-", "_"): artifact.path for name, artifact in artifacts.items()} == {
        name: f"models/{name}.pt" for name in computed_project.params()["techniques"]
    }, "dvc.yaml: name each technique's model under artifacts, with dashes for underscores"
    for artifact in artifacts.values():
        assert artifact.type == "model" and artifact.desc and artifact.labels
        assert (computed_project.root / artifact.path).exists()
