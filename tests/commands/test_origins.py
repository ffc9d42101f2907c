"""The models against params.yaml and the prepared images."""

from commands.origins import differences
from tests.project import Project


def test_a_model_of_other_settings_fails_make_reproduce(project: Project) -> None:
    project.call_environment_ready()
    project.change_params(lambda params: params["techniques"]["dropout"].update(dropout=0.6))
    project.dvc("commit", "--force", "train@dropout")  # records the model of 0.2 as one of 0.6
    failed = project.run("make", "reproduce", check=False)
    assert failed.returncode != 0
    assert "models/dropout.pt was trained with dropout 0.2, but params.yaml has 0.6." in failed.stderr
    assert "Traceback" not in failed.stderr
    remedy = "dvc repro --force --single-item train@dropout"
    assert f"Run `{remedy}`, then `make reproduce`." in failed.stderr
    project.run(*remedy.split())
    assert project.run("python", "-m", "commands.origins").stdout == ""


def test_a_model_of_other_images_is_reported() -> None:
    origin = {"settings": {"dropout": 0.2}, "data_sha256": {"train": "0", "test": "0"}}
    assert differences(origin, origin) == []
    assert differences(origin, origin | {"data_sha256": {"train": "0", "test": "1"}}) == [
        "other images than those in data/prepared"
    ]
