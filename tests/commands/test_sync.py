"""`python -m commands.sync` on copies of the project in which nothing is computed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from commands.imports import dependencies
from commands.sync import main
from lenet5 import UserError
from tests.conftest import ROOT
from tests.project import Project, add_replication, yaml

Sync = Callable[..., int]


@pytest.fixture
def code(tmp_path: Path) -> Project:
    """The project's code, with its dvc.yaml."""
    return Project.create(ROOT, tmp_path / "project")


@pytest.fixture
def sync(code: Project, monkeypatch: pytest.MonkeyPatch) -> Sync:
    """Run the program on `code`, in this process, and return its exit status."""
    monkeypatch.chdir(code.root)
    return lambda *arguments: main([*arguments])


def edit(project: Project, path: str, old: str, new: str) -> None:
    text = (project.root / path).read_text()
    assert old in text
    (project.root / path).write_text(text.replace(old, new, 1))


def add(project: Project, name: str, **settings: object) -> None:
    project.change_params(lambda params: params["techniques"].update({name: settings}))


def test_the_committed_dvc_yaml_follows_from_params_and_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    status = main(["--check"])
    assert status == 0, f"{capsys.readouterr().out}\nRun `make sync`."


def test_an_added_technique_is_all_that_dvc_needs(code: Project) -> None:
    code.call_environment_ready()
    add_replication(code, ROOT)
    code.commit("code")
    add(code, "Wide_dropout", dropout=0.5, optimizer="sgd")
    checked = code.run("python", "-m", "commands.sync", "--check", check=False)
    assert checked.returncode == 1
    assert checked.stdout.count("\n+        metrics/curves/Wide_dropout.csv: ") == 4
    before = code.read("dvc.yaml")
    code.run("make", "sync")
    assert code.read("dvc.yaml") != before
    pipeline = yaml.load(code.root / "dvc.yaml")
    curves = [list(next(iter(plot.values()))["y"]) for plot in pipeline["plots"]]
    assert curves == [[f"metrics/curves/{name}.csv" for name in code.params()["techniques"]]] * 4
    assert pipeline["artifacts"]["wide-dropout"] == {
        "path": "models/Wide_dropout.pt",
        "type": "model",
        "desc": "LeNet-5 for Fashion-MNIST, dropout 0.5, optimizer sgd",
        "labels": pipeline["artifacts"]["baseline"]["labels"],
    }
    assert "train@Wide_dropout" in code.dvc("stage", "list", "--name-only").stdout.split()


def test_a_technique_added_and_removed_leaves_the_same_bytes(code: Project, sync: Sync) -> None:
    before, params = code.read("dvc.yaml"), code.read("params.yaml")
    add(code, "short", epochs=2)
    assert sync() == 0 and sync("--check") == 0
    (code.root / "params.yaml").write_bytes(params)
    assert sync() == 0
    assert code.read("dvc.yaml") == before


def test_comments_order_and_own_additions_survive(code: Project, sync: Sync) -> None:
    (code.root / "lenet5/extra.txt").write_text("data\n")
    own = "\n      # the package\n      - lenet5/extra.txt # read by it\n      - lenet5/__init__.py"
    edit(code, "dvc.yaml", "\n      - lenet5/__init__.py", own)
    plot = "  - Own:\n      x: a\n      y:\n        notes.csv: b\n  - notes.csv\n\n"
    edit(code, "dvc.yaml", "artifacts:\n", f"{plot}artifacts:\n  # of another study\n  mine:\n    path: notes.pt\n")
    edit(code, "dvc.yaml", "curves/dropout.csv: validation_loss", "curves/dropout.csv: validation_loss # mine")
    edit(code, "dvc.yaml", "      - stages/check.py\n", "      - stages/check.py\n      - data/last\n")
    assert sync("--check") == 0
    edit(code, "stages/check.py", "import load_params", "import load_params\nimport lenet5.report.tables")
    before = code.read("dvc.yaml").decode()
    assert sync() == 0
    support = "      - lenet5/support\n      - stages/check.py"
    assert code.read("dvc.yaml").decode() == before.replace(support, f"      - lenet5/report/tables.py\n{support}")


def test_a_stages_dependencies_are_the_code_that_it_imports(code: Project, sync: Sync) -> None:
    edit(
        code, "stages/select.py", "from lenet5.support.paths", "import lenet5.report.tables\nfrom lenet5.support.paths"
    )
    (code.root / "lenet5/network/unused.py").write_text("# Nothing imports this.\n")
    assert sync() == 0
    stages = yaml.load(code.root / "dvc.yaml")["stages"]
    assert stages["select"]["deps"] == [
        "metrics/evaluation/${selected}.json",
        "lenet5/__init__.py",
        "lenet5/report/tables.py",
        "lenet5/support",
        "stages/select.py",
    ]
    assert "lenet5/network" not in stages["train"]["do"]["deps"]
    assert {"lenet5/network/model.py", "lenet5/network/native"} <= set(stages["train"]["do"]["deps"])
    assert dependencies("stages.select") == stages["select"]["deps"][1:]


@pytest.mark.parametrize("reply", ["n", "y", "--yes"])
def test_results_of_a_removed_technique_go_after_asking(
    reply: str, code: Project, sync: Sync, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = ("metrics/curves", "metrics/evaluation", "metrics/predictions", "metrics/confusion", "models")
    results = [
        code.root / folder / name for folder in folders for name in ("dropout.csv", "dropout.json", "dropout.pt")
    ]
    others = [code.root / path for path in ("models/baseline.pt", "metrics/summary.json")]
    for path in (*results, *others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (code.root / "models/folder.pt").mkdir()
    code.change_params(lambda params: params["techniques"].pop("dropout"))
    monkeypatch.setattr("builtins.input", lambda question: reply)
    assert sync(*[reply] * reply.startswith("--")) == 0
    # One of each kind is a result of the pipeline; the other names are not in dvc.yaml.
    assert len([path for path in results if not path.exists()]) == (0 if reply == "n" else 5)
    assert all(path.exists() for path in others)
    pipeline = code.read("dvc.yaml").decode()
    assert "dropout.csv" not in pipeline and "dropout.pt" not in pipeline


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    deps:\n      - params.yaml\n",
            "    deps: [params.yaml]\n    more:\n",
            "has a list or mapping in brackets",
        ),
        ("stages:\n", "<<<<<<< HEAD\nstages:\n", "is not valid YAML in line"),
        ("stages:\n", "steps:\n", "dvc.yaml has an unexpected form. Change it, or restore it"),
    ],
)
def test_a_dvc_yaml_that_cannot_be_edited_is_left_unchanged(
    old: str, new: str, message: str, code: Project, sync: Sync
) -> None:
    edit(code, "dvc.yaml", old, new)
    before = code.read("dvc.yaml")
    with pytest.raises(UserError, match=message):
        sync()
    assert code.read("dvc.yaml") == before
