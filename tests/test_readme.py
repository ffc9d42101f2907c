"""Every command and every line of Python in the README runs, as it stands there, in the small project."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.project import Project

# Lines of sh blocks that another test or CI runs, and which.
RUN_ELSEWHERE = {
    "make reproduce": "tests/test_resume.py",
    "make replicate": "tests/test_replication.py",
    "make test": "CI",
}
SHOWN = {"text", "json", "yaml", "csv", "markdown"}  # languages of blocks that show and do not run
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[int, str, str]]:
    """Line number, language and content of each fenced block."""
    text = document.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(BLOCK.findall(text))
    return [(text[: block.start()].count("\n") + 1, block[1], block[2]) for block in BLOCK.finditer(text)]


def give_environment(project: Project) -> None:
    """This Python's environment as the project's .venv, so that make does not install another."""
    project.call_environment_ready()
    for part in Path(sys.prefix).iterdir():
        if part.name != "ready":
            (project.root / ".venv" / part.name).symlink_to(part)


@pytest.mark.parametrize("document", sorted(ROOT.glob("README*.md")), ids=lambda path: path.name)
def test_the_commands_in_the_readme_run_one_after_another(document: Path, project: Project) -> None:
    shutil.copy(document, project.root / document.name)
    give_environment(project)
    project.commit("results")
    try:
        for number, language, content in blocks(document):
            run_block(project, f"{document.name}:{number}", language, content)
    finally:
        project.dvc("queue", "stop", "--kill", check=False)  # the workers that the README starts


def run_block(project: Project, place: str, language: str, content: str) -> None:
    if language in SHOWN:
        return
    assert language in {"sh", "python"}, f"{place}: say what the block is: sh, python or one of {SHOWN}"
    lines = [line for line in content.splitlines() if language == "python" or line not in RUN_ELSEWHERE]
    program = {"sh": ["bash", "-eu", "-o", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    result = project.run(*program, "\n".join(lines), check=False)
    assert result.returncode == 0, f"{place}\n{content}\n{result.stdout}\n{result.stderr}"


def test_no_command_is_excused_that_the_readme_does_not_have() -> None:
    commands = {
        command
        for document in ROOT.glob("README*.md")
        for _, language, content in blocks(document)
        if language == "sh"
        for command in content.splitlines()
    }
    assert not commands or set(RUN_ELSEWHERE) <= commands


def test_the_tables_in_the_readme_are_those_that_the_pipeline_wrote() -> None:
    readme = (ROOT / "README.md").read_text()
    assert (ROOT / "metrics/summary.md").read_text() in readme
    for check in json.loads((ROOT / "metrics/theory.json").read_text())["checks"]:
        assert f"| {check['statement']} | {check['computed']} |" in readme
    for row in json.loads((ROOT / "metrics/summary.json").read_text())["techniques"]:
        assert f"{row['parameters']:,} parameters" in readme or f"{row['parameters']:,} with" in readme


def test_the_replicates_figures_in_the_readme_are_those_of_the_analysis() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert (ROOT / "metrics/replication.md").read_text() in (ROOT / "README.md").read_text()
    rows = json.loads((ROOT / "metrics/replication.json").read_text())["results"]
    for row in rows:
        if row["learning_rate"] == rows[0]["learning_rate"] and (compared := row["against_baseline"]):
            low, high = compared["interval"]
            assert f"{compared['difference']:+.2f} ({low:+.2f} to {high:+.2f})" in readme
            assert (compared["verdict"] == "helps") == (row["technique"] == "batch_norm")


def test_the_times_in_the_readme_are_those_of_the_benchmark() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    benchmark = json.loads((ROOT / "metrics/benchmark.json").read_text())
    reference, seconds, ratios = benchmark["reference"], benchmark["seconds_per_epoch"], benchmark["ratios"]
    study, by_compiler = f"study by {reference} / study", benchmark["seconds_per_epoch_by_compiler"]
    whole = sum(benchmark["parts_of_an_epoch"].values())
    parts = [f"{part} {100 * value / whole:.0f} %" for part, value in benchmark["parts_of_an_epoch"].items()]
    for words in (
        f"{seconds['native']['epoch']:.1f} s on one core",
        f"against) {seconds['torch']['epoch']:.1f} s; in the usual loop",
        f"{seconds[reference]['epoch']:.1f} s, {ratios[f'{reference} / native']:.1f} times as long; in JAX",
        f"{seconds['jax']['epoch']:.1f} s, and in Keras on JAX {seconds['keras']['epoch']:.1f} s",
        f"DataLoader with {reference.removeprefix('reference-')} worker processes",
        f"Batch normalisation takes {ratios['native-batch_norm / native']:.2f} times",
        f"dropout {ratios['native-dropout / native']:.2f} times",
        f"one core would take {100 * ratios['peak / native']:.0f} % of our time",
        f"takes {benchmark['seconds']['study'] / 60:.1f} minutes; the usual loop would need {ratios[study]:.1f} times",
        f"{seconds['native']['megabytes']:.0f} MB and {seconds['native']['start']:.1f} s from its start",
        f"nothing to do takes {benchmark['seconds']['nothing to do']:.1f} s",
        "(" + ", ".join(f"{name} {value:.2f} s" for name, value in by_compiler.items()) + " an epoch)",
        f"Of our epoch's time: {', '.join(parts)}.",
        benchmark["machine"]["processor"].removesuffix(" Processor"),
    ):
        assert words in readme
    backends = json.loads((ROOT / "metrics/backends.json").read_text())["techniques"].values()
    lowest = "lowest_validation_loss"
    apart = (abs(of["native"][lowest] - of["torch"][lowest]) / of["deviation_over_seeds"] for of in backends)
    assert f"at most {max(apart):.1f} standard deviations over seeds" in readme
