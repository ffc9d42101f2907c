"""The trained models, as `dvc artifacts` names them."""

from dvc.repo import Repo

from tests.conftest import ROOT
from tests.project import Project


def test_every_model_is_a_named_artifact(computed_project: Project) -> None:
    artifacts = Repo(str(ROOT)).artifacts.read()["dvc.yaml"]
    assert {name.replace("-", "_"): artifact.path for name, artifact in artifacts.items()} == {
        name: f"models/{name}.pt" for name in computed_project.params()["techniques"]
    }, "dvc.yaml: name each technique's model under artifacts, with dashes for underscores"
    for artifact in artifacts.values():
        assert artifact.type == "model" and artifact.desc and artifact.labels
        assert (computed_project.root / artifact.path).exists()
