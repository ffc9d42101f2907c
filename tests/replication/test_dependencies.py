"""The pipelines of the replication against the files that their stages really read."""

from pathlib import Path

import pytest

from tests.project import Project
from tests.test_dependencies import files_read, is_code, mistakes, stages

STAGES = stages("replication/dvc.yaml")


@pytest.mark.parametrize("name", ["fingerprint", "analyse", "confirmation", "images", "recipes"])
def test_a_stage_reads_exactly_its_declared_dependencies(name: str, replicated: Project) -> None:
    assert mistakes(STAGES[name], files_read(STAGES[name], replicated), replicated) == []


TUNING = stages("replication/tuning/dvc.yaml")


@pytest.mark.parametrize("name", ["fingerprint", "candidates", "choice", "analyse"])
def test_a_stage_of_the_tuning_reads_what_it_declares(name: str, tuned_project: Project, tmp_path: Path) -> None:
    tuned = tuned_project.copy(tmp_path / "tuned")
    assert mistakes(TUNING[name], files_read(TUNING[name], tuned), tuned) == []
    if name == "fingerprint":
        command = TUNING["final"]["cmd"].removesuffix("0") + "6"  # a seed of the small plan
        read = files_read(TUNING["final"] | {"cmd": command}, tuned)
        code = {path for path in read if is_code(path) and path.endswith((".py", ".c", ".h"))}
        assert "replication/tuning/compute.py" in code
        assert [line for line in mistakes(TUNING[name], code, tuned) if "is read" in line] == []


def test_the_fingerprint_depends_on_the_code_of_replicates(replicated: Project) -> None:
    """Replicates depend on the fingerprint instead of their code, so the fingerprint must depend on all of that."""
    programs = [
        STAGES[name]["cmd"].split()[3] for name in ("replicate", "control", "confirm", "longer", "search", "final")
    ]
    assert programs == ["replication.replicate"] * 4 + ["replication.recipe"] * 2
    read = files_read(STAGES["replicate"], replicated) | files_read(STAGES["final"], replicated)
    code = {path for path in read if is_code(path)}
    assert {"replication/replicate.py", "replication/recipe.py"} <= code
    others = [line for line in mistakes(STAGES["fingerprint"], code, replicated) if "is read" in line]
    assert others == []
