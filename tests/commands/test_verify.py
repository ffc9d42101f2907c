"""`make verify`: recompute the committed results in a copy. test_pipeline.py verifies the whole small study."""

import shutil
import time
from pathlib import Path

import pytest

from commands.deviations import first_difference
from commands.machine import processor
from commands.publish import object_path
from lenet5.data.tensors import load_tensors, save_tensors, tensors_digest
from tests.project import Command, Project, yaml


def other_weights(model: Path) -> None:
    """Replace the model by another one, as if its run had ended differently."""
    content = load_tensors(model)
    content["state_dict"]["output.bias"] += 0.001
    content["weights_sha256"] = tensors_digest(content["state_dict"])
    content["epoch"] = 2
    save_tensors(model, content)


@pytest.fixture
def altered(project: Project, tmp_path: Path) -> Project:
    """A shallow clone of a project whose last commit has another model and another curve of dropout."""
    root = project.root
    other_weights(root / "models/dropout.pt")
    project.dvc("commit", "--force", "train@dropout")
    for stage in yaml.load(root / "dvc.lock")["stages"].values():
        for out in stage["outs"]:
            if out["path"] == "models/dropout.pt":
                (root / object_path(out["md5"])).parent.mkdir(parents=True)
                shutil.copy(root / "models/dropout.pt", root / object_path(out["md5"]))
    curve = (root / "metrics/curves/dropout.csv").read_text().splitlines(keepends=True)
    curve[3] = curve[3].replace("3,", "3,9.", 1)
    (root / "metrics/curves/dropout.csv").write_text("".join(curve))
    project.commit("altered results")
    project.run("git", "clone", "--quiet", "--depth", "1", f"file://{root}", str(tmp_path / "clone"))
    shutil.copytree(root / "data/raw", tmp_path / "clone/data/raw")
    return Project(tmp_path / "clone")


def test_verify_recomputes_and_names_the_first_difference(altered: Project, project: Project, tmp_path: Path) -> None:
    for name in ("config", "temporary"):
        (tmp_path / name).mkdir()
    # A cache of all projects of the user, which holds the results
    (tmp_path / "config/config").write_text(f"[cache]\n    dir = {project.root / '.dvc/cache'}\n")
    variables = (
        f"DVC_GLOBAL_CONFIG_DIR={tmp_path}/config",
        f"TMPDIR={tmp_path}/temporary",
        "PYTHONDONTWRITEBYTECODE=1",
    )
    altered.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.5))  # not committed
    before = altered.files("**/*")
    verified = altered.run("env", *variables, "python", "-m", "commands.verify", "dropout", check=False)
    printed = verified.stdout + verified.stderr
    assert verified.returncode == 1, printed
    assert "Not verified, since not committed: changes of params.yaml\n" in printed
    assert "dropout: epoch 1/5" in printed and "dropout: epoch 5/5" in printed
    assert "\nprepare: equal: " in printed and "\ntrain@dropout: different\n" in printed
    assert "\n  metrics/curves/dropout.csv: epoch 3: train_loss is 9." in printed
    assert "\n  models/dropout.pt: weights_sha256 is " in printed
    assert "(of epoch 2 in the commit, of epoch 5 here)" in printed
    assert "2 of 8 results differ from those of commit " in verified.stderr and "in train@dropout." in verified.stderr
    assert "Traceback" not in printed
    assert altered.files("**/*") == before
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_interrupted_verification_leaves_nothing(project: Project, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    project.commit("results")
    before = project.run("git", "status", "--porcelain", "--ignored").stdout
    variables = (f"TMPDIR={tmp_path}/temporary", "PYTHONDONTWRITEBYTECODE=1")
    started = Command(project, "env", *variables, "python", "-m", "commands.verify", "dropout")
    while "Running stage 'check'" not in started.printed():
        assert started.running(), started.printed()
        time.sleep(0.02)
    started.interrupt()
    started.output.unlink()
    assert list((tmp_path / "temporary").iterdir()) == []
    assert project.run("git", "status", "--porcelain", "--ignored").stdout == before


def test_what_cannot_be_verified_gets_one_line(project: Project) -> None:
    def error(*arguments: str) -> str:
        failed = project.run("python", "-m", "commands.verify", *arguments, check=False)
        assert failed.returncode == 1
        assert not project.stages_in(failed.stdout)
        return failed.stderr

    assert error() == (
        "dvc.lock of the last commit has no results of baseline. Run `make reproduce` and commit what it writes, "
        "then verify.\n"
    )
    unknown = "'dropuot' is not a technique in params.yaml; choose one of: baseline, batch_norm, dropout, weight_decay."
    assert error("dropuot") == f"{unknown} Did you mean dropout?\n"


@pytest.mark.parametrize(
    ("name", "committed", "here", "expected"),
    [
        ("c.csv", "epoch,a,b\n1,5,6\n", "epoch,a,b\n1,5,7\n", "epoch 1: b is 6 in the commit, 7 here"),
        ("c.csv", "epoch,a\n1,5\n", "epoch,a\n1,5\n2,6\n", "epoch 2: epoch is nothing in the commit, 2 here"),
        ("p.csv", "a,b\n1,5\n", "a,b\n2,5\n", "row 1: a is 1 in the commit, 2 here"),
        ("m.json", '{"a": [{"b": 1}]}', '{"a": [{"b": 2}]}', "a.0.b is 1 in the commit, 2 here"),
        ("m.json", "damaged", "{}", "other bytes"),
        ("c.csv", 'a,b\n"1,2\n', "a,b\n1,2\n", "other bytes"),
        ("t.md", "same\nold\n", "same\nnew\n", "line 2 is old in the commit, new here"),
        ("f.png", "old", "new", "other bytes"),
    ],
)
def test_a_difference_is_located(name: str, committed: str, here: str, expected: str, tmp_path: Path) -> None:
    paths = [tmp_path / side / name for side in ("committed", "here")]
    for path, text in zip(paths, (committed, here), strict=True):
        path.parent.mkdir()
        path.write_text(text)
    assert first_difference(*paths) == expected


def test_the_processor_has_a_name_on_every_machine() -> None:
    zen = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\nflags\t\t: fpu\n\n"
    assert processor(zen) == {"processor": "AMD EPYC", "model": "family 25, model 17"}
    assert processor("")["processor"]
