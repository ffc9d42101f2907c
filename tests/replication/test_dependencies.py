"""replication/dvc.yaml against the files that its stages really read."""

import pytest

from tests.project import Project
from tests.test_dependencies import files_read, is_code, mistakes, stages

STAGES = stages("replication/dvc.yaml")


@pytest.mark.parametrize("name", ["fingerprint", "analyse", "images"])
def test_a_stage_reads_exactly_its_declared_dependencies(name: str, replicated: Project) -> None:
    assert mistakes(STAGES[name], files_read(STAGES[name], replicated), replicated) == []


def test_the_fingerprint_depends_on_the_code_of_replicates(replicated: Project) -> None:
    """Replicates depend on the fingerprint instead of their code, so the fingerprint must depend on all of that."""
    replicate, control = (STAGES[name]["cmd"].split()[:4] for name in ("replicate", "control"))
    assert replicate == control
    code = {path for path in files_read(STAGES["replicate"], replicated) if is_code(path)}
    assert "replication/replicate.py" in code
    others = [line for line in mistakes(STAGES["fingerprint"], code, replicated) if "is read" in line]
    assert others == []
