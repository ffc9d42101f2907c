"""The trained models, as `dvc artifacts` names them."""

from dvc.repo import Repo

from lenet5.support.params import load_params
from tests.conftest import ROOT


def test_dvc_yaml_names_every_model_as_an_artifact() -> None:
    artifacts = Repo(str(ROOT)).artifacts.read()["dvc.yaml"]
    assert {name.replace("-", "_"): artifact.path for name, artifact in artifacts.items()} == {
        name: f"models/{name}.pt" for name in load_params(ROOT / "params.yaml").techniques
    }, "dvc.yaml: name each technique's model under artifacts, with dashes for underscores"
    for artifact in artifacts.values():
        assert artifact.type == "model" and artifact.desc and artifact.labels
