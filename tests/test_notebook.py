"""docs/tour.ipynb: it runs in a clone, offline, and is committed without outputs."""

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT
from tests.project import Project
from tests.test_docs import give_environment

TOUR = "docs/tour.ipynb"


def clone_with_remote(project: Project, root: Path) -> Project:
    """Return a clone of the project, with its environment, without models but with a DVC remote that has them."""
    (project.root / "docs").mkdir()
    shutil.copy(ROOT / TOUR, project.root / "docs")
    shutil.copytree(ROOT / "metrics/replication", project.root / "metrics/replication")
    shutil.copy(ROOT / "metrics/confirmation.png", project.root / "metrics")
    project.commit("results and notebook")
    project.run("git", "clone", "--quiet", str(project.root), str(root))
    remote = root.with_name("remote")
    for each in (project.root, root):
        (each / ".dvc/config.local").write_text(f"[core]\n remote = models\n['remote \"models\"']\n url = {remote}\n")
    project.dvc("push", "models/dropout.pt")
    give_environment(Project(root))
    return Project(root)


def test_the_notebook_runs_in_a_clone(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clone = clone_with_remote(project, tmp_path / "clone")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "jupyter"))
    notebook = nbformat.read(clone.root / TOUR, as_version=4)
    place = {"metadata": {"path": str(clone.root / "docs")}}
    # One output for all that a cell prints, however many messages it takes.
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=place, coalesce_streams=True).execute(
        env=clone.environment() | {"IPYTHONDIR": str(tmp_path / "ipython"), "TMPDIR": str(tmp_path)}
    )
    *_, tables, curves, classified = (cell.outputs for cell in notebook.cells)
    for name, output in zip(("replication/fresh_seeds.md", "summary.md"), tables, strict=True):
        assert output.data["text/markdown"] == (clone.root / "metrics" / name).read_text()
    assert ["image/png" in output.data for output in curves] == [True, True]
    picture, printed = classified
    assert "image/png" in picture.data
    assert "trousers.png: " in printed.text and " %" in printed.text
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_the_notebook_has_six_cells_and_no_outputs() -> None:
    text = (ROOT / TOUR).read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    nbformat.validate(notebook)
    assert [(cell.cell_type, cell.outputs, cell.execution_count) for cell in notebook.cells] == [("code", [], None)] * 6
    assert text == nbformat.writes(notebook) + "\n", (
        "formatted otherwise than Jupyter formats it: git would show changes"
    )
