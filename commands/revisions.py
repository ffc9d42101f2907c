"""The results in any revision: a commit, branch, tag, experiment, or `workspace`, the files in this folder."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
from dvc.exceptions import DvcException
from dvc.scm import SCM, resolve_rev
from numpy.typing import NDArray
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from commands.scratch import run
from lenet5.support.errors import UserError
from lenet5.support.files import number
from lenet5.support.paths import EVALUATION, METRICS, PARAMS, PREDICTIONS
from lenet5.support.schema import did_you_mean

WORKSPACE = "workspace"
REPLICATES = METRICS / "replicates"  # of `make replicate`: <learning rate>/<technique>-<seed>.json
Content = TypeVar("Content")


@dataclass(frozen=True)
class Outcome:
    accuracy: float  # on the test images, in percent
    loss: float  # cross-entropy, in nats


@dataclass(frozen=True)
class Result:
    """What a revision holds of one technique."""

    technique: str
    outcome: Outcome
    labels: NDArray[np.int64]
    correct: NDArray[np.bool_]  # whether each test image is classified correctly
    losses: NDArray[np.float64] | None  # of each test image; earlier commits do not have them
    replicates: dict[int, Outcome]  # by seed


class Revision:
    def __init__(self, name: str) -> None:
        """Raises UserError if neither git nor DVC knows the name, or if it has no valid params.yaml."""
        self.name = name
        self.commit = None if name == WORKSPACE else commit_of(name)
        self.paths = {PARAMS, *METRICS.rglob("*")}
        if self.commit:
            listed = run("git", "ls-tree", "-r", "--name-only", self.commit, "--", str(PARAMS), str(METRICS))
            self.paths = {Path(line) for line in listed.splitlines()}
        self.techniques, self.selected = self._read(PARAMS, techniques_and_selected)

    def result(self, technique: str) -> Result:
        """Return the results of a technique. Raises UserError if it is unknown, or if they are missing or damaged."""
        if technique not in self.techniques:
            raise UserError(
                f"{technique!r} is not a technique in the params.yaml of {self.name}; choose one of: "
                f"{', '.join(self.techniques)}.{did_you_mean(technique, self.techniques)}"
            )
        outcome = self._read(EVALUATION / f"{technique}.json", outcome_of)
        path = PREDICTIONS / f"{technique}.csv"
        labels, correct, losses = self._read(path, predictions)
        if not math.isclose(100 * correct.mean(), outcome.accuracy, abs_tol=1e-9):
            raise self._damaged(path, "its accuracy is not that of metrics/evaluation")
        if losses is not None and not math.isclose(losses.mean(), outcome.loss, abs_tol=1e-6):
            raise self._damaged(path, "its loss is not that of metrics/evaluation")
        return Result(technique, outcome, labels, correct, losses, self._replicates(technique, outcome))

    def _replicates(self, technique: str, study: Outcome) -> dict[int, Outcome]:
        """Return the replicates with the technique's settings, without those that diverged.

        The replicate of the study's own seed must have the study's outcome. If it differs, the replicates were computed
        with other settings, and none is returned.
        """
        learning_rate, study_seed = self.techniques[technique]
        found = {}
        for path in sorted(self.paths):
            name, _, seed = path.stem.rpartition("-")
            if (path.parent, name) == (REPLICATES / str(learning_rate), technique) and seed.isdigit():
                found[int(seed)] = self._read(path, outcome_of_replicate)
        kept = {seed: outcome for seed, outcome in found.items() if outcome}
        return kept if kept.get(study_seed) == study else {}

    def _read(self, path: Path, parse: Callable[[str], Content]) -> Content:
        if path not in self.paths:
            raise UserError(f"{self.name} has no {path}. Run `dvc repro` there and commit metrics/, then compare.")
        try:
            return parse(run("git", "show", f"{self.commit}:./{path}") if self.commit else path.read_text("utf-8"))
        except KeyError as error:
            raise self._damaged(path, f"it has no {error}") from None
        except (ValueError, TypeError, AttributeError, OSError, RecursionError, YAMLError) as error:
            raise self._damaged(path, error) from None

    def _damaged(self, path: Path, reason: object) -> UserError:
        return UserError(f"{path} of {self.name} is damaged: {' '.join(str(reason).split())[:200]}.")


def commit_of(name: str) -> str:
    """Return the commit that git or DVC knows by this name. Raises UserError if there is none, or several."""
    try:
        scm = SCM(".")
        try:
            return str(resolve_rev(scm, name or "(empty)"))
        finally:
            scm.close()  # its destructor would print errors when Python ends
    except DvcException as error:
        raise UserError(
            f"{error}. Name a commit, a branch, a tag, an experiment (`make experiments` creates one per technique), "
            f"or `{WORKSPACE}`."
        ) from None


def techniques_and_selected(text: str) -> tuple[dict[str, tuple[float, int]], str]:
    """Return the learning rate and the seed of each technique, and the selected technique, from a params.yaml.

    It is not validated: that of an older revision may lack settings that are required now.
    """
    content = YAML(typ="safe", pure=True).load(text)
    settings = {str(name): content["train"] | own for name, own in content["techniques"].items()}
    techniques = {name: (float(own["learning_rate"]), int(own["seed"])) for name, own in settings.items()}
    return techniques, str(content["selected"])


def outcome_of(text: str) -> Outcome:
    """Return the outcome in the JSON of an evaluation."""
    metrics = json.loads(text)
    return Outcome(100 * number(metrics["test_accuracy"]), number(metrics["test_loss"]))


def outcome_of_replicate(text: str) -> Outcome | None:
    """Return the outcome in the JSON of a replicate, or None if it diverged."""
    return None if "failure" in json.loads(text) else outcome_of(text)


def predictions(text: str) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.float64] | None]:
    """Return the label of each test image, whether it was predicted, and the loss, from the CSV of the predictions."""
    table = pd.read_csv(io.StringIO(text), dtype={"label": np.int64, "predicted": np.int64, "loss": np.float64})
    if table.empty:
        raise ValueError("it has no rows")
    losses = table["loss"].to_numpy() if "loss" in table else None
    return table["label"].to_numpy(), (table["label"] == table["predicted"]).to_numpy(), losses
