"""README.md and docs/: every command runs as written, every number comes from metrics/, every link leads somewhere."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replication import fingerprint
from tests import quick_start
from tests.conftest import ROOT
from tests.project import Project, add_replication

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# Commands that another test runs, and which one.
RUN_ELSEWHERE = {
    "make reproduce": "tests/test_resume.py",
    "make replicate": "tests/replication/test_run.py",
    "make audit N=4": "tests/replication/test_audit.py",
    "make sync": "tests/commands/test_sync.py",
    "make verify": "tests/test_pipeline.py",
    "python -m commands.verify dropout": "tests/commands/test_verify.py",
    "python -m commands.verify --replicates 1": "tests/replication/test_audit.py",
    "make test": ".ci/run",
    "python -m replication.worker replicate@dropout-3 control@baseline-0": "tests/replication/test_worker.py",
    "python -m replication.worker --shard 2/16": "tests/replication/test_worker.py",
    "dvc repro --pull": "tests/replication/test_worker.py",
}
NEEDS_SLURM = "## Slurm"  # what follows this heading has been run by hand; its log is at the end of the page
SHOWN = {"text", "json", "yaml", "csv", "markdown"}  # languages of blocks that are not run
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[str, str, str]]:
    """Return place (file and line), language and content of each fenced block."""
    text = document.read_text(encoding="utf-8")
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(BLOCK.findall(text)), f"{document}: unclosed block"
    found = BLOCK.finditer(text)
    return [(f"{document.name}:{text[: each.start()].count(chr(10)) + 1}", each[1], each[2]) for each in found]


def needs_slurm(document: Path, content: str) -> bool:
    _, heading, rest = document.read_text(encoding="utf-8").partition(NEEDS_SLURM)
    return bool(heading) and content in rest


def give_environment(project: Project) -> None:
    """Use this Python's environment as the project's .venv, so that make does not install another. Its programs start
    quickly."""
    project.call_environment_ready()
    programs = project.root / ".venv/bin"
    programs.mkdir()
    for program in (*quick_start.programs().glob("[!s]*"), *(Path(sys.prefix) / "bin").iterdir()):
        if not (programs / program.name).exists():
            (programs / program.name).symlink_to(program)


@pytest.mark.parametrize("document", [each for each in DOCUMENTS if blocks(each)], ids=lambda path: path.name)
def test_the_commands_in_a_document_run_one_after_another(document: Path, project: Project) -> None:
    add_replication(project, ROOT)
    give_environment(project)
    project.commit("results")
    try:
        for place, language, content in blocks(document):
            run_block(project, place, language, content, only_parse=needs_slurm(document, content))
    finally:
        project.dvc("queue", "stop", "--kill", check=False)  # the workers that docs/daily-use.md starts


def run_block(project: Project, place: str, language: str, content: str, *, only_parse: bool) -> None:
    if language in SHOWN:
        return
    assert language in {"sh", "python"}, f"{place}: name the language of the block: sh, python or one of {SHOWN}"
    lines = [line for line in content.splitlines() if language == "python" or line not in RUN_ELSEWHERE]
    shell = ["bash", "-n", "-c"] if only_parse else ["bash", "-eu", "-o", "pipefail", "-c"]
    program = {"sh": shell, "python": [sys.executable, "-c"]}[language]
    result = project.run(*program, "\n".join(lines), check=False)
    assert result.returncode == 0, f"{place}\n{content}\n{result.stdout}\n{result.stderr}"


def commands() -> list[str]:
    """Return every line of the sh blocks in all documents."""
    return [
        line
        for document in DOCUMENTS
        for _, language, content in blocks(document)
        if language == "sh"
        for line in content.splitlines()
    ]


def test_every_excused_command_is_documented_and_its_test_exists() -> None:
    documented = " ".join(commands()) + (ROOT / "README.md").read_text()
    for command, elsewhere in RUN_ELSEWHERE.items():
        assert command.removesuffix(" N=4") in documented
        assert (ROOT / elsewhere).exists(), elsewhere


def table_commands() -> Iterator[str]:
    """Yield the commands in the README's table."""
    for line in (ROOT / "README.md").read_text().splitlines():
        if line.startswith("| `"):
            yield from re.findall(r"`((?:make|dvc|python) [^`]*)`", line)


def test_every_command_of_the_table_runs_in_a_document_or_test() -> None:
    run = [*commands(), *RUN_ELSEWHERE]
    found = list(table_commands())
    assert len(found) > 10
    for command in found:
        words = re.sub(r"train\.epochs=\d+", "", command)
        assert any(line.startswith(words) or words.strip() in line for line in run) or words.startswith(
            "dvc exp run -S"
        ), command


def test_every_target_of_the_makefile_that_is_documented_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        for target in re.findall(r"`make ([a-z]+)", document.read_text()):
            assert target in targets, f"{document.name}: make {target}"


def test_links_and_images_lead_to_files_of_the_repository() -> None:
    for document in [*DOCUMENTS, ROOT / "models/README.md", ROOT / "data/README.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_is_short_and_its_tables_fit_a_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 130
    assert len(text.split()) <= 900
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= 100


# ---- numbers ----


def words(document: str) -> str:
    """Return the text of a document with single spaces."""
    return " ".join((ROOT / document).read_text().split())


def metrics(name: str) -> Any:
    return json.loads((ROOT / f"metrics/{name}.json").read_text())


def test_the_tables_are_those_that_the_pipelines_wrote() -> None:
    assert (ROOT / "metrics/replication/overview.md").read_text() in (ROOT / "README.md").read_text()
    assert (ROOT / "metrics/replication.md").read_text() in (ROOT / "docs/results.md").read_text()
    assert (ROOT / "metrics/summary.md").read_text() in (ROOT / "docs/results.md").read_text()
    assert (ROOT / "metrics/summary.md").read_text() in (ROOT / "models/README.md").read_text()
    theory = (ROOT / "docs/theory.md").read_text()
    for check in metrics("theory")["checks"]:
        cells = (check[key] for key in ("name", "compared", "max_difference", "result"))
        assert f"\n| {' | '.join(cells)} |\n" in theory
    design = words("docs/design.md")
    for row in metrics("summary")["techniques"]:
        assert f"{row['parameters']:,} parameters" in design or f"{row['parameters']:,} with" in design


def test_the_readmes_answers_are_those_of_the_analysis() -> None:
    readme, replication = words("README.md"), metrics("replication")
    rows = {(row["technique"], row["learning_rate"]): row["against_baseline"] for row in replication["results"]}
    verdicts = {key: compared["verdict"] for key, compared in rows.items() if compared}
    assert verdicts == {
        ("batch_norm", 0.001): "helps",
        ("dropout", 0.001): "helps",
        ("weight_decay", 0.001): "helps",
        ("batch_norm", 0.01): "helps",
        ("dropout", 0.01): "hurts",
        ("weight_decay", 0.01): "hurts",
    }
    preferred = replication["preferred_by_validation"]
    pairs = f"is lower at this rate than at 0.01 in {preferred['0.001']} of {sum(preferred.values())} pairs"
    assert pairs in readme and pairs in words("docs/results.md")
    summary = {row["technique"]: row for row in metrics("summary")["techniques"]}
    p_values = {f"{summary[name]['mcnemar_p_holm']:.3f}" for name in ("dropout", "weight_decay")}
    assert f"Holm-corrected p = {p_values.pop()} for both" in readme and not p_values
    assert f"{metrics('benchmark')['seconds']['study'] / 60:.1f} minutes on two cores" in readme


def test_the_numbers_in_the_results_are_those_of_the_analysis() -> None:
    results = words("docs/results.md")
    for row in metrics("replication")["results"]:
        if compared := row["against_baseline"]:
            low, high = compared["interval"]
            assert f"{compared['difference']:+.2f} ({low:+.2f} to {high:+.2f})" in results
        if (reported := row.get("exercise")) and row["technique"] != "baseline":
            low, high = reported["interval"]
            assert f"{low:.2f} to {high:.2f} %" in results
    exercise = {row["technique"]: row["exercise"] for row in metrics("replication")["results"] if "exercise" in row}
    accuracies = {name: f"{each['test_accuracy']:.2f} %" for name, each in exercise.items()}
    assert (
        f"dropout first ({accuracies['dropout']}) and batch normalisation last ({accuracies['batch_norm']}" in results
    )
    assert f"baseline {accuracies['baseline']})" in results
    assert max(exercise, key=lambda name: exercise[name]["test_accuracy"]) == "dropout"
    worst = next(
        row["test_accuracy"]["worst"]
        for row in metrics("replication")["results"]
        if (row["technique"], row["learning_rate"]) == ("batch_norm", 0.01)
    )
    assert worst > exercise["batch_norm"]["interval"][1]
    kept = {row["technique"]: row["chosen_epoch"] for row in metrics("summary")["techniques"]}
    assert all(epoch <= 15 for name, epoch in kept.items() if name != "weight_decay") and kept["weight_decay"] > 15


def test_the_times_are_those_of_the_benchmark() -> None:
    page, benchmark = words("docs/performance.md"), metrics("benchmark")
    reference, seconds, ratios = benchmark["reference"], benchmark["seconds_per_epoch"], benchmark["ratios"]
    workers, ours = reference.removeprefix("reference-"), seconds["native"]
    machine = benchmark["machine"]
    by_compiler = benchmark["seconds_per_epoch_by_compiler"]
    whole = sum(benchmark["parts_of_an_epoch"].values())
    parts = [f"{part} {100 * value / whole:.0f} %" for part, value in benchmark["parts_of_an_epoch"].items()]
    for expected in (
        f"native backend, one core | {seconds['native']['epoch']:.1f} s |",
        f"(`train.backend: torch`), one core | {seconds['torch']['epoch']:.1f} s |",
        f"DataLoader with {workers} workers, all cores | {seconds[reference]['epoch']:.1f} s |",
        f"JAX, a compiled step, all cores | {seconds['jax']['epoch']:.1f} s |",
        f"Keras on JAX, all cores | {seconds['keras']['epoch']:.1f} s |",
        f"data files present, all cores | {benchmark['seconds']['study'] / 60:.1f} min |",
        f"nothing to do | {benchmark['seconds']['nothing to do']:.1f} s |",
        f"takes {ratios[f'{reference} / native']:.1f} times as long per epoch",
        f"would need {ratios[f'study by {reference} / study']:.1f} times as long",
        f"Batch normalisation takes {ratios['native-batch_norm / native']:.2f} times",
        f"dropout {ratios['native-dropout / native']:.2f} times",
        f"one core would take {100 * ratios['peak / native']:.0f} % of our time",
        f"uses {ours['megabytes']:.0f} MB of memory, and takes {ours['start']:.1f} s from its start",
        "(" + ", ".join(f"{name} {value:.2f} s" for name, value in by_compiler.items()) + " per epoch)",
        f"Of an epoch's time: {', '.join(parts)}.",
        f"on {machine['cores']} cores of an {machine['processor'].removesuffix(' Processor')}",
    ):
        assert expected in page, expected
    backends = metrics("backends")
    lowest = "lowest_validation_loss"
    of_all = backends["techniques"].values()
    apart = max(abs(of["native"][lowest] - of["torch"][lowest]) / of["deviation_over_seeds"] for of in of_all)
    assert f"within {backends['epochs']} epochs differs by at most {apart:.1f} standard deviations over seeds" in page


def test_the_fingerprint_is_described_as_it_is() -> None:
    page = words("docs/reproducibility.md")
    assert f"for {fingerprint.EPOCHS} epochs on {fingerprint.IMAGES[0]:,} images" in page


def test_the_costs_of_installation_are_those_measured() -> None:
    page, measured = words("docs/performance.md"), metrics("installation")
    rows = {"before": f"one list for all commands, at {measured['before']['commit']}"}
    rows |= {"study": "what `make reproduce` needs", "tests": "what `make test` adds"}
    for key, row in rows.items():
        seconds, used, size = (measured[key][name] for name in ("seconds", "cpu_seconds", "megabytes"))
        assert f"| {row} | {seconds:.0f} s | {used:.0f} s | {size / 1000:.1f} GB |" in page
    assert f"PyTorch {measured['torch']['after']}" in page and len(set(measured["torch"].values())) == 1
    assert measured["study"]["megabytes"] < 1800
