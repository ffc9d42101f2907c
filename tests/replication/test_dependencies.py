"""replication/dvc.yaml against the files that its stages really read."""

import pytest

from tests.project import Project
from tests.test_dependencies import files_read, is_code, mistakes, stages

STAGES = stages("replication/dvc.yaml")


@pytest.mark.parametrize("name", ["fingerprint", "analyse", "confirmation", "images", "recipes"])
def test_a_stage_reads_exactly_its_declared_dependencies(name: str, replicated: Project) -> None:
    assert mistakes(STAGES[name], files_read(STAGES[name], replicated), replicated) == []


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
