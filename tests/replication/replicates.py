"""Helpers of the tests that compute replicates."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lenet5.support.errors import UserError
from tests.conftest import ROOT
from tests.project import Project

TECHNIQUES = ("baseline", "dropout")
NAMES = [f"{rate}/{technique}-{seed}" for rate in (0.001, 0.01) for technique in TECHNIQUES for seed in (0, 1)]


def replicate(project: Project) -> str:
    """Bring the replication up to date, and return what that printed."""
    return project.run("python", "-m", "replication.run").stdout


def assert_mistake(
    load: Callable[[Path], object], plan: str, edit: tuple[str, str], message: str, folder: Path
) -> None:
    """Assert that the committed file of a plan, in which the first text of the edit is replaced by the second, is
    rejected with the message."""
    old, new = edit
    text = (ROOT / plan).read_text()
    assert old in text
    path = folder / Path(plan).name
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=re.escape(f"{path}: ")) as error:
        load(path)
    assert message in str(error.value)


def computed(project: Project) -> list[str]:
    """Return the names of the replicates that have been computed."""
    root = project.root / "metrics/replicates"
    return sorted(str(path.relative_to(root).with_suffix("")) for path in root.glob("*/*.json"))


def read(project: Project, name: str) -> dict[str, Any]:
    """Return the content of a replicate."""
    replicate: dict[str, Any] = json.loads(project.read(f"metrics/replicates/{name}.json"))
    return replicate


def curves_of(content: dict[str, Any]) -> dict[str, list[float]]:
    """Return curves that agree with the other values of a replicate: all constant but the validation loss and the test
    accuracy, which is zero in the last epoch."""
    losses = content["validation_losses"]
    names = [f"{split}_{value}" for value in ("loss", "accuracy") for split in ("train", "validation", "test")]
    curves = {name: [content[name]] * len(losses) for name in names} | {"validation_loss": list(losses)}
    curves["test_accuracy"] = [*curves["test_accuracy"][:-1], 0.0]
    return curves


def outdated(project: Project) -> set[str]:
    """Return the names of the replicates that are not up to date."""
    return set(
        json.loads(project.dvc("--cd", "replication", "status", "--json", "replicate", "control", "confirm").stdout)
    )
