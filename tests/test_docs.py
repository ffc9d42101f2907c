"""README.md and docs/: every command runs as written, every number comes from metrics/, every link leads somewhere."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lenet5 import load_params
from replication.replicate import SHORT_EPOCHS, SHORT_IMAGES
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
    "make tune": "tests/replication/test_tuning.py",
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


def estimate(of: dict[str, Any], digits: int = 2) -> str:
    """Return a difference with its interval, as the documents show it."""
    difference, low, high = (f"{value:+.{digits}f}" for value in (of["difference"], *of["interval"]))
    return f"{difference} ({low} to {high})"


def test_the_tables_are_those_that_the_pipelines_wrote() -> None:
    assert (ROOT / "metrics/replication/overview.md").read_text() in (ROOT / "README.md").read_text()
    for table in ("replication.md", "confirmation.md", "replication/exercise.md", "recipes.md", "recipes/search.md"):
        assert (ROOT / "metrics" / table).read_text() in (ROOT / "docs/results.md").read_text()
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
    pairs = f"than at 0.01 in {preferred['0.001']} of {sum(preferred.values())} pairs of technique and seed"
    assert pairs in readme and pairs in words("docs/results.md")
    helped = [rows[name, 0.001]["difference"] for name, rate in verdicts if rate == 0.001]
    assert f"all three techniques help, by {min(helped):.1f} to {max(helped):.1f} points" in readme
    summary = {row["technique"]: row for row in metrics("summary")["techniques"]}
    p_values = {f"{summary[name]['mcnemar_p_holm']:.3f}" for name in ("dropout", "weight_decay")}
    assert f"Holm-corrected p = {p_values.pop()} for both" in readme and not p_values
    assert f"{metrics('benchmark')['seconds']['study'] / 60:.1f} minutes on two cores" in readme


def test_what_seed_0_decides_is_that_of_the_analysis() -> None:
    without = metrics("replication")["verdicts_without_seed_0"]
    found = {(name, rate) for rate, of_rate in without.items() for name in of_rate if of_rate[name] == "open"}
    assert found == {("dropout", "0.001"), ("dropout", "0.01"), ("weight_decay", "0.001")}
    assert "dropout at both rates and weight decay at 0.001 are open" in words("README.md")
    assert "dropout is open at both rates and weight decay at 0.001" in words("docs/results.md")


def test_the_share_of_errors_with_shirts_is_that_of_the_results() -> None:
    pairs = {frozenset(("Shirt", other)) for other in ("T-shirt/top", "Pullover", "Coat")}
    shares = []
    for path in sorted((ROOT / "metrics/confusion").glob("*.csv")):
        errors = pd.read_csv(path).query("actual != predicted")
        similar = [frozenset(pair) in pairs for pair in zip(errors["actual"], errors["predicted"], strict=True)]
        shares.append(100 * errors["count"][similar].sum() / errors["count"].sum())
    text = f"{min(shares):.0f} to {max(shares):.0f} %, confuse shirts with T-shirts, pullovers or coats"
    assert text in words("docs/results.md")


def test_the_power_in_the_plan_is_that_of_the_analysis() -> None:
    power = metrics("replication")["power_of_confirmation"]
    lowest, highest = power["0.01"]["dropout"], power["0.01"]["batch_norm"]
    every = [value for of_rate in power.values() for value in of_rate.values()]
    assert (min(every), max(every)) == (lowest, highest)
    text = f"{lowest:.2f} (dropout at 0.01) to {highest:g} (batch normalisation at 0.01)"
    assert text in words("docs/analysis-plan.md")


def test_the_numbers_in_the_results_are_those_of_the_analysis() -> None:
    results = words("docs/results.md")
    replication = metrics("replication")
    compared = {(row["technique"], row["learning_rate"]): row["against_baseline"] for row in replication["results"]}
    for of in compared.values():
        assert of is None or estimate(of) in results
    interactions = {name: of["interaction"] for name, of in replication["across_rates"].items()}
    for name, of in interactions.items():
        assert re.search(
            f"{re.escape(estimate(of))}[a-z ]* for {name.replace('_', ' ').replace('norm', 'normalisation')}", results
        )
        assert f"p = {of['sign_flip_p_holm']:.3f}" in results
    of_rates = [replication["across_rates"][name] for name in ("dropout", "weight_decay")]
    paired = [estimate(of["gain_minus_difference"]) for of in of_rates]
    assert f"The baseline gains {estimate(of_rates[0]['baseline_gain'])} points" in results
    assert f"is not shown: the paired differences are {paired[0]} and {paired[1]}" in results
    assert all(np.prod(of["gain_minus_difference"]["interval"]) < 0 for of in of_rates)
    decay = compared["weight_decay", 0.01]
    calibration, loss = decay["calibration_error"], decay["test_loss"]
    assert f"with {calibration['seeds_lower']} of 10 seeds, {estimate(calibration)} points on average" in results
    assert f"the test loss with {loss['seeds_lower']} of 10, {estimate(loss, 4)}" in results
    shown = [key for key, of in compared.items() if of and np.prod(of["interval_new_training"]) > 0]
    assert shown == [("batch_norm", 0.01)]
    low, high = compared[shown[0]]["interval_new_training"]
    assert f"only that of batch normalisation at 0.01, {low:+.2f} to {high:+.2f}" in results
    assert f"in {100 * replication['share_baseline_first_of_those_that_hurt']['0.01']:.0f} % of draws" in results
    kept = {row["technique"]: row["chosen_epoch"] for row in metrics("summary")["techniques"]}
    assert all(epoch <= 15 for name, epoch in kept.items() if name != "weight_decay") and kept["weight_decay"] > 15


def test_what_is_said_of_the_recipes_follows_from_their_runs() -> None:
    readme, results, recipes = words("README.md"), words("docs/results.md"), metrics("recipes")
    plain, augmented = recipes["final"]
    assert (plain["augmented"], augmented["augmented"]) == (False, True)
    for row in (plain, augmented):
        accuracy = row["test_accuracy"]
        low, high = accuracy["interval"]
        assert f"**: {accuracy['mean']:.2f} % ({low:.2f} to {high:.2f}) on the test images, with" in results
    means = [f"{row['test_accuracy']['mean']:.2f} %" for row in (plain, augmented)]
    assert f"reach {means[0]} and, with augmented images, {means[1]}" in readme
    search = {row["recipe"]: row for row in recipes["search"]}
    parts = ("dropout", "smoothing", "decay")
    without = [estimate(search[f"plain_without_{part}"]["against_chosen"]) for part in parts]
    assert f"by {without[0]} points, label smoothing by {without[1]} and weight decay by {without[2]}." in results
    shorter = [search[f"augmented_80_epochs{part}"]["against_chosen"] for part in ("", "_without_erasing")]
    text = f"change it by {estimate(shorter[0])} points, and 80 epochs without erasing by {estimate(shorter[1])}: three"
    assert text in results and all(np.prod(of["interval"]) < 0 for of in shorter)
    described = {"batch_norm": True, "dropout": 0.3, "label_smoothing": 0.1, "optimizer": "adamw", "schedule": "cosine"}
    assert plain["settings"].items() >= described.items()
    assert not {"dropout", "label_smoothing"} & augmented["settings"].keys()
    assert augmented["settings"]["epochs"] == 2 * load_params(ROOT / "params.yaml").train.epochs


def test_what_is_said_of_the_exercise_follows_from_the_analysis() -> None:
    results, rows = words("docs/results.md"), metrics("replication")["results"]
    exercise = {(row["technique"], row["learning_rate"]): row["exercise"] for row in rows}
    accuracies = {name: of["test"]["accuracy"] for (name, rate), of in exercise.items() if rate == 0.01}
    order = sorted(accuracies, key=lambda name: -accuracies[name])
    assert (order[0], order[-1]) == ("dropout", "batch_norm")
    last = f"{accuracies['batch_norm']:.2f} %, baseline {accuracies['baseline']:.2f} %"
    assert f"dropout first ({accuracies['dropout']:.2f} %) and batch normalisation last ({last})" in results
    counts = metrics("replication")["exercise_counts"]
    for name, images in (("test", 10_000), ("train", 48_000)):
        batches = (counts[name]["total"] - counts[name]["start"]) // 10
        assert f"10 x {batches} + {counts[name]['start']} = {counts[name]['total']} for {images:,}" in results

    def inside(of: dict[str, Any]) -> bool:
        within = {2.5 <= of[name] <= 97.5 for name in ("percentile", "percentile_all_images")}
        assert len(within) == 1  # "no accuracy would enter or leave the range"
        return bool(within.pop())

    fits = {(key, name) for key, of in exercise.items() for name in ("test", "train") if inside(of[name])}
    assert {(name, kind) for (name, rate), kind in fits if rate == 0.01} == {
        (name, "test") for name in ("baseline", "dropout", "weight_decay")
    }
    assert exercise["batch_norm", 0.01]["test"]["percentile"] < 0.01
    assert [name for name in accuracies if {((name, 0.001), kind) for kind in ("test", "train")} <= fits] == ["dropout"]
    at = {name: f"{exercise[name, 0.01]['test']['percentile']:.1f}" for name in accuracies}
    assert f"percentile {at['dropout']} of ours" in results
    assert f"weight decay at {at['baseline']} and {at['weight_decay']}, so all three" in results
    of_dropout = [f"{exercise['dropout', 0.001][kind]['percentile']:.1f}" for kind in ("test", "train")]
    assert f"only the row of dropout fits, at percentiles {' and '.join(of_dropout)}" in results


def test_the_plan_names_the_verdicts_that_depend_on_seed_0() -> None:
    page, replication = words("docs/analysis-plan.md"), metrics("replication")
    without = {
        (name, rate): of for rate, all_ in replication["verdicts_without_seed_0"].items() for name, of in all_.items()
    }
    changed = {key for key, of in without.items() if of == "open"}
    assert changed == {("dropout", "0.001"), ("weight_decay", "0.001"), ("dropout", "0.01")}
    verdicts = f"{len(changed)} of the {len(without)} verdicts are open"
    assert f"{verdicts}: dropout and weight decay at 0.001, and dropout at 0.01" in page
    for row in replication["results"]:
        key = row["technique"], str(row["learning_rate"])
        assert key not in without or key in changed or row["against_baseline"]["verdict"] == without[key]


def test_the_times_are_those_of_the_benchmark() -> None:
    page, benchmark = words("docs/performance.md"), metrics("benchmark")
    reference, ours, ratios = benchmark["reference"], benchmark["seconds_per_epoch"]["native"], benchmark["ratios"]
    workers, machine, limit = reference.removeprefix("reference-"), benchmark["machine"], benchmark["share_of_limit"]
    one, two = (benchmark["epochs_per_minute"]["native"][cores] for cores in ("1", "2"))
    whole = sum(benchmark["parts_of_an_epoch"].values())
    parts = [f"{part} {100 * value / whole:.0f} %" for part, value in benchmark["parts_of_an_epoch"].items()]
    augmentation = dict(benchmark["augmentation"])
    epoch = augmentation.pop("epoch")
    kind = max(augmentation, key=lambda name: augmentation[name])
    for expected in (
        f"Augmentation adds at most {100 * augmentation[kind] / epoch:.0f} % to an epoch's time (`{kind}`).",
        f"a DataLoader with {workers} workers, the fastest",
        f"data files present, all cores | {benchmark['seconds']['study'] / 60:.1f} min |",
        f"figures and DVC | {benchmark['seconds']['before and after training']:.0f} s |",
        f"nothing to do | {benchmark['seconds']['nothing to do']:.1f} s |",
        f"takes {ratios[f'{reference} / native']:.1f} times as long per epoch",
        f"would need {ratios[f'study by {reference} / study']:.1f} times as long",
        f"Batch normalisation takes {ratios['native-batch_norm / native']:.2f} times",
        f"dropout {ratios['native-dropout / native']:.2f} times",
        f"take {100 * limit['train']:.0f} % of our time in training and {100 * limit['evaluate']:.0f} % in evaluation",
        f"uses {ours['megabytes']:.0f} MB of memory, and takes {ours['start']:.1f} s from its start",
        f"Of an epoch's time: {', '.join(parts)}.",
        f"Two runs side by side train {two / one:.1f} times as many epochs per minute as one",
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
    assert f"for {SHORT_EPOCHS} epochs on {SHORT_IMAGES[0]:,} images" in page


def test_the_costs_of_installation_are_those_measured() -> None:
    page, measured = words("docs/performance.md"), metrics("installation")
    rows = {"before": f"one list for all commands, at {measured['before']['commit']}"}
    rows |= {"study": "what `make reproduce` needs", "tests": "what `make test` adds"}
    for key, row in rows.items():
        seconds, used, size = (measured[key][name] for name in ("seconds", "cpu_seconds", "megabytes"))
        assert f"| {row} | {seconds:.0f} s | {used:.0f} s | {size / 1000:.1f} GB |" in page
    assert f"PyTorch {measured['torch']['after']}" in page and len(set(measured["torch"].values())) == 1
    assert measured["study"]["megabytes"] < 1800
