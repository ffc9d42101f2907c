"""The report of `make report`."""

import base64
import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest

from commands.report import sections
from commands.report_replication import confirmation, overview, replicates, replication_sections
from lenet5 import UserError
from tests.conftest import ROOT
from tests.documents import cells
from tests.project import Project
from tests.stages.curves import put_committed_curves


def put_committed_replication(project: Project) -> None:
    for name in ("replication", "recipes"):
        shutil.copytree(ROOT / "metrics" / name, project.root / "metrics" / name)
        shutil.copy(ROOT / f"metrics/{name}.md", project.root / "metrics")
    for name in ("confirmation.md", "confirmation.png"):
        shutil.copy(ROOT / "metrics" / name, project.root / "metrics")


def test_the_report_shows_every_result_without_a_network(project: Project, tmp_path: Path) -> None:
    put_committed_curves(project)
    put_committed_replication(project)
    printed = project.run("python", "-m", "commands.report").stdout
    page = project.root / "report.html"
    assert page.as_uri() in printed
    html = page.read_text()
    markup = re.sub(r"<(script|style).*?</\1>", "", html, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', markup) == ["https://arxiv.org/abs/1706.04599"]
    headings = ["Answer", "Curves", "Confusion", "Calibration", "Mistakes", "Replicates", "Confirmation", "Recipes"]
    assert re.findall("<h2>(.*?)</h2>", markup) == headings
    images = re.findall(r'<img alt="[^"]{20,}" src="data:image/png;base64,[^"]+">', markup)
    assert len(images) == markup.count("<img") == 9
    tables = ["summary.md", "replication/fresh_seeds.md", "replication.md", "recipes.md", "recipes/search.md"]
    for path in (f"metrics/{table}" for table in tables):
        for name, *values in cells(project.read(path).decode())[2:]:
            data = "".join(f"<td>{escape(value)}</td>" for value in values)
            assert f'<th scope="row">{name}</th>{data}' in markup, f"{path}: {name}"

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium to open the page")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
    command += ["--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'browser'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    charts = 4 + 3 * len(project.params()["techniques"])  # comparisons; losses, confusion and calibration of each
    assert len(re.findall(r"<svg[^>]*class=\"marks\"", dom)) == charts


def test_a_missing_result_is_named_and_a_fork_needs_no_seeds(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)
    content = sections(["baseline"], [])
    assert not {"Replicates", "Confirmation", "Recipes"} & content.keys() and "Over seeds" not in content["Answer"]

    put_committed_replication(project)
    for path, remedy in (
        ("metrics/replication/curves.png", r"Run `make replicate`"),
        ("metrics/curves/dropout.csv", r"Run `dvc repro`"),
        ("metrics/predictions/baseline.csv", r"Run `dvc repro`"),
    ):
        (project.root / path).rename("kept")
        with pytest.raises(UserError, match=f"{re.escape(path)}.*{remedy}"):
            sections(["baseline"], [])
        Path("kept").rename(project.root / path)

    (project.root / "metrics/replication.md").write_text("")
    with pytest.raises(UserError, match=r"metrics/replication\.md is damaged.*Run `make replicate`"):
        sections(["baseline"], [])

    (project.root / "metrics/summary.md").unlink()
    failed = project.run("python", "-m", "commands.report", check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "metrics/summary.md is missing. Run `dvc repro`" in failed.stderr
    assert not (project.root / "report.html").exists()


def test_fresh_seeds_come_first_once_they_are_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    metrics = Path("metrics")
    shutil.copytree(ROOT / "metrics/replication", metrics / "replication")
    shutil.copy(ROOT / "metrics/replication.md", metrics)
    tables, figure, short = (
        metrics / name for name in ("confirmation.md", "confirmation.png", "replication/fresh_seeds.md")
    )
    figure.write_bytes(b"fresh")
    (metrics / "replication/differences.png").write_bytes(b"ten")
    fresh, ten = (f'src="data:image/png;base64,{base64.b64encode(content).decode()}"' for content in (b"fresh", b"ten"))
    for path in (tables, short):
        path.write_text("8 of 30 fresh seeds are computed. Nothing is compared.\n")
    html = confirmation()
    assert "\n<p>8 of 30 fresh seeds are computed. Nothing is compared.</p>" in html
    assert "<img" not in html and "<table" not in html
    assert ten in overview() and fresh not in overview() and ten not in replicates()

    tables.write_text("| technique | p |\n|:--|--:|\n| dropout | < 0.001 |\n\n| rule | % |\n|:--|--:|\n| last | 90 |\n")
    short.write_text("| technique | verdict |\n|:--|--:|\n| dropout | open |\n")
    html = confirmation()
    assert re.findall('<th scope="col">(.*?)</th>', html) == ["technique", "p", "rule", "%"]
    rows = re.findall('<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', html)
    assert rows == [("dropout", "&lt; 0.001"), ("last", "90")]
    assert '<th scope="row">dropout</th><td>open</td>' in overview()
    assert fresh in overview() and ten not in overview() and ten in replicates()
    figure.unlink()
    with pytest.raises(UserError, match=r"metrics/confirmation\.png is missing\. Run `make replicate`"):
        overview()


def test_the_search_is_shown_before_the_tuned_techniques(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("metrics/tuning").mkdir(parents=True)
    tested = Path("metrics/tuning.md")
    tested.write_text("0 of 20 seeds are computed.\n")
    Path("metrics/tuning/search.md").write_text("| technique | loss |\n|:--|--:|\n| dropout | 0.2 |\n")
    for name in ("accuracy", "search"):
        Path(f"metrics/tuning/{name}.png").write_bytes(name.encode())
    html = replication_sections()["Tuned techniques"]
    assert "<p>0 of 20 seeds are computed.</p>" in html and html.count("<img") == html.count("<table") == 1

    tested.write_text("| technique | setting |\n|:--|:--|\n| dropout | dropout_10 |\n")
    html = replication_sections()["Tuned techniques"]
    rows = re.findall('<tr><th scope="row">(.*?)</th><td>(.*?)</td></tr>', html)
    assert rows == [("dropout", "dropout_10"), ("dropout", "0.2")]
    for name in ("accuracy", "search"):
        assert f"base64,{base64.b64encode(name.encode()).decode()}" in html
    Path("metrics/tuning/search.md").unlink()
    with pytest.raises(UserError, match=r"metrics/tuning/search\.md is missing\. Run `make tune`"):
        replication_sections()
