"""README.md and docs/: every command runs as written, and every link leads somewhere."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
    if language == "text" and content.startswith("$ dvc "):  # a command and its error
        command, error = content.removeprefix("$ ").split("\n", maxsplit=1)
        failed = project.run(*command.split(), check=False)
        assert failed.returncode != 0 and error.strip() in failed.stderr, f"{place}\n{failed.stderr}"
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
        program, *arguments = command.split()
        name = arguments[{"make": 0, "python": 1, "dvc": -1}[program]]
        assert re.search(rf'["\s]{name}["\s]', (ROOT / elsewhere).read_text()), f"{elsewhere} does not run {command}"


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


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a document."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_and_images_lead_to_files_of_the_repository() -> None:
    for document in [*DOCUMENTS, ROOT / "models/README.md", ROOT / "data/README.md"]:
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)", document.read_text()):
            path = document.parent / target if target else document
            assert path.exists(), f"{document.name}: {target}"
            assert not anchor or anchor in anchors(path), f"{document.name}: {target}#{anchor}"


def test_the_readme_is_short_and_its_tables_fit_a_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 130
    assert len(text.split()) <= 900
    assert max(len(line) for line in text.splitlines() if line.startswith("|")) <= 100
