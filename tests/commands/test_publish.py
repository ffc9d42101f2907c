"""The models in git, from which a clone pulls them: `make publish`."""

import re
import shutil
from pathlib import Path

import pytest

from commands.publish import FOLDER, named_models, published
from tests.conftest import ROOT
from tests.project import OFFLINE, Project


@pytest.fixture(scope="module")
def site(computed_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has published and committed its models. All tests of this file share it."""
    project = computed_project.copy(tmp_path_factory.mktemp("site") / "project")
    project.call_environment_ready()
    first = project.run("make", "publish").stdout
    assert "the 4 models of dvc.lock" in first and "then run this again to tag the models." in first
    assert project.run("git", "tag").stdout == ""
    project.commit("results and models")
    second = project.run("make", "publish").stdout
    assert "Created the tags baseline@v1.0.0, batch-norm@v1.0.0, dropout@v1.0.0, weight-decay@v1.0.0." in second
    return project


def clone(site: Project, folder: Path) -> Project:
    """Return a clone, as on another machine: without cache and data."""
    site.run("git", "clone", "--quiet", ".", str(folder))
    return Project(folder)


def test_the_published_models_are_those_that_dvc_lock_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert set(published()) == set(named_models().values()), "run `make publish`"


def test_a_clone_gets_models_by_path_by_stage_and_by_name(site: Project, tmp_path: Path) -> None:
    project = clone(site, tmp_path / "clone")
    project.dvc("pull", "models/dropout.pt")
    assert project.files("models/*.pt") == site.files("models/dropout.pt")
    picture = ("python", "-m", "lenet5.classify", "--model", "models/dropout.pt", "metrics/gallery.png")
    assert "%" in project.run(*picture).stdout
    project.dvc("pull", "train")
    assert project.files("models/*.pt") == site.files("models/*.pt")
    for path in site.files("models/*.pt"):
        artifact = Path(path).stem.replace("_", "-")
        project.run(*OFFLINE, "dvc", "artifacts", "get", ".", artifact, "--out", "copy.pt")
        assert project.read("copy.pt") == site.read(path)
        (project.root / "copy.pt").unlink()
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_tags_of_models_never_move(site: Project, tmp_path: Path) -> None:
    project = site.copy(tmp_path / "project")

    def tags() -> list[str]:
        return project.run("git", "for-each-ref", "--format=%(refname:strip=2) %(object)", "refs/tags").stdout.split()

    lock = project.root / "dvc.lock"
    md5 = re.findall(r"path: models/dropout.pt\n +hash: md5\n +md5: (\w+)", lock.read_text())[0]
    lock.write_text(lock.read_text().replace(md5, md5[::-1]))
    project.commit("another model")
    project.run("git", "tag", "--annotate", "--force", "dropout@v1.0.0", "--message", "another model")
    project.run("git", "reset", "--quiet", "--hard", "HEAD~1")
    project.run("git", "tag", "--force", "baseline@v1.0.0")  # not annotated
    pipeline = project.root / "dvc.yaml"
    pipeline.write_text(
        pipeline.read_text().replace("artifacts:\n", "artifacts:\n  images:\n    path: data/prepared\n")
    )
    project.commit("an artifact that is not a model")
    project.run("git", "tag", "--annotate", "images@v1.0.0", "--message", "images")
    before = tags()
    failed = project.run("make", "publish", check=False)
    assert failed.returncode
    assert "dropout@v1.0.0 is a tag of another models/dropout.pt, and tags do not move. Raise" in failed.stderr
    assert "The tag baseline@v1.0.0 is not annotated." in failed.stderr and "batch-norm" not in failed.stderr
    assert "images@" not in failed.stderr
    assert tags() == before

    declaration = project.root / "pyproject.toml"
    declaration.write_text(declaration.read_text().replace('version = "1.0.0"', 'version = "1.1.0"'))
    project.commit("version 1.1.0")
    assert (
        "Created the tags baseline@v1.1.0, batch-norm@v1.1.0, dropout@v1.1.0" in project.run("make", "publish").stdout
    )
    assert set(before) < set(tags())


def test_nothing_is_trained_after_pulling_the_models(site: Project, tmp_path: Path) -> None:
    project = clone(site, tmp_path / "clone")
    shutil.copytree(site.root / "data/raw", project.root / "data/raw")
    incomplete = project.dvc("pull", check=False)
    assert incomplete.returncode and "data/prepared" in incomplete.stderr
    assert project.stages_run() == {"check", "prepare"}
    assert project.run("git", "status", "--porcelain").stdout == ""


def test_make_publish_replaces_old_and_damaged_objects(
    site: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = site.copy(tmp_path / "project")
    monkeypatch.chdir(project.root)
    objects = sorted((FOLDER / "files").rglob("*/*/*"))
    assert len(objects) == 4
    objects[0].chmod(0o644)
    objects[0].write_bytes(objects[0].read_bytes()[:-1])
    shutil.copy(objects[1], FOLDER / "old")
    assert set(published()) != set(named_models().values())
    project.run("make", "publish")
    assert set(published()) == set(named_models().values())
    assert project.run("git", "status", "--porcelain").stdout == ""
    shutil.rmtree(project.root / ".dvc/cache")
    objects[2].unlink()
    failed = project.run("make", "publish", check=False)
    assert failed.returncode and "DVC's cache does not have models/" in failed.stderr
    assert "Run `make reproduce`, then publish." in failed.stderr


def test_a_default_remote_of_the_user_gets_the_models(site: Project, tmp_path: Path) -> None:
    project = site.copy(tmp_path / "project")
    project.dvc("remote", "add", "--default", "shared", str(tmp_path / "shared"))
    before = project.files(f"{FOLDER}/**/*")
    project.dvc("push")
    assert Project(tmp_path / "shared").files("files/md5/*/*") == Project(project.root / FOLDER).files("files/md5/*/*")
    assert project.files(f"{FOLDER}/**/*") == before
