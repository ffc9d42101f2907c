"""The curves of the study itself, for tests of what a reader sees."""

import shutil

from tests.conftest import ROOT
from tests.project import Project


def put_committed_curves(project: Project) -> None:
    """Replace the project's curves by those in metrics/curves, if the study has been computed."""
    if (ROOT / "metrics/curves").is_dir():
        shutil.copytree(ROOT / "metrics/curves", project.root / "metrics/curves", dirs_exist_ok=True)
