"""`python -m commands.compare` on results written by hand: which images are right, and replicates of few seeds."""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands.compare import compare as compare_sides
from commands.compare import main
from commands.revisions import Outcome, Result
from lenet5 import UserError
from tests.conftest import ROOT
from tests.documents import cells
from tests.project import Project

IMAGES = 20
FIRST, SECOND = range(10), range(6, 11)  # the images that are right in the first and in the second revision
SEEDS = {"first": (0.80, 0.82, 0.84), "second": (0.83, 0.86, 0.89)}  # test accuracies


@pytest.fixture
def results(tmp_path: Path) -> Project:
    """The code with hand-made results of two techniques, in the commit and tag `first`."""
    project = Project.create(ROOT, tmp_path / "project")
    project.change_params(lambda params: params.update(techniques={"baseline": {}, "dropout": {"dropout": 0.2}}))
    write(project, "baseline", FIRST)
    write(project, "dropout", FIRST)
    save(project, "first")
    return project


def write(project: Project, technique: str, right: Iterable[int], *, loss: float = 0.3, spread: float = 0.0) -> None:
    """Write the results of a technique that classifies the images `right` correctly. The losses of the images are
    `loss` plus and minus `spread`."""
    right = set(right)
    rows = [
        f"{image},{image % 5},{image % 5 if image in right else 9},0.5,{loss + spread * (-1) ** image}\n"
        for image in range(IMAGES)
    ]
    (project.root / "metrics/predictions").mkdir(parents=True, exist_ok=True)
    (project.root / f"metrics/predictions/{technique}.csv").write_text(
        "image,label,predicted,probability,loss\n" + "".join(rows)
    )
    write_json(project, f"evaluation/{technique}.json", len(right) / IMAGES, loss)


def write_json(project: Project, path: str, accuracy: float, loss: float) -> None:
    file = project.root / "metrics" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"test_accuracy": accuracy, "test_loss": loss}))


def write_replicates(project: Project, technique: str, accuracies: tuple[float, ...], right: Iterable[int]) -> None:
    """Write one replicate for each accuracy, besides that of seed 0, which has the technique's own results."""
    write_json(project, f"replicates/0.01/{technique}-0.json", len(set(right)) / IMAGES, 0.3)
    for seed, accuracy in enumerate(accuracies, start=1):
        write_json(project, f"replicates/0.01/{technique}-{seed}.json", accuracy, 1 - accuracy)


def save(project: Project, tag: str) -> None:
    project.commit(tag)
    project.run("git", "tag", tag)


Compare = Callable[..., str]


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Run the program in this process, which saves the time to load its packages, and return what it prints."""

    def run(project: Project, *arguments: str) -> str:
        monkeypatch.chdir(project.root)
        main([*arguments])
        return capsys.readouterr().out

    return run


def rows(printed: str) -> list[dict[str, Any]]:
    comparisons: list[dict[str, Any]] = json.loads(printed)["comparisons"]
    return comparisons


def test_two_commits_give_the_numbers_computed_by_hand(results: Project) -> None:
    write(results, "dropout", SECOND, loss=0.25, spread=0.1)
    save(results, "second")
    unchanged, row = rows(results.run("python", "-m", "commands.compare", "first", "second", "--json").stdout)
    assert (unchanged["techniques"], unchanged["verdict"]) == (
        ["baseline"] * 2,
        "the same images are classified correctly",
    )
    assert row["techniques"] == ["dropout", "dropout"]
    assert (row["over"], row["n"]) == ("images", 20)
    accuracy = row["test_accuracy"]
    assert accuracy["values"] == pytest.approx([50, 25])
    assert accuracy["difference"] == pytest.approx(-25)
    assert (accuracy["only_first_right"], accuracy["only_second_right"]) == (6, 1)
    # -5/22 -+ 1.96 sqrt((8/22 - (5/22)^2) / 22)
    assert accuracy["interval"] == pytest.approx([-46.067, 0.613], abs=0.001)
    # 1 of 7 disagreements: p = 2 (C(7,0) + C(7,1)) / 2^7. No correction: the other technique has not changed.
    assert (row["p"], row["p_holm"]) == (pytest.approx(0.125), pytest.approx(0.125))
    assert row["test_loss"]["values"] == [0.3, 0.25]
    assert row["test_loss"]["difference"] == pytest.approx(-0.05)
    # The differences are -0.05 +- 0.1, with standard deviation 0.1 sqrt(20/19): -0.05 -+ 1.96 * 0.1 / sqrt(19).
    assert row["test_loss"]["interval"] == pytest.approx([-0.094965, -0.005035], abs=1e-6)
    assert row["verdict"] == "cannot be told apart"


def test_predictions_without_losses_give_no_interval_of_losses(results: Project, compare: Compare) -> None:
    path = results.root / "metrics/predictions/dropout.csv"
    path.write_text("".join(f"{line.rpartition(',')[0]}\n" for line in path.read_text().splitlines()))
    [row] = rows(compare(results, "first", "workspace", "--technique", "dropout", "--json"))
    assert row["test_loss"] == {"values": [0.3, 0.3], "difference": 0}


def test_replicates_of_both_sides_are_compared_seed_by_seed(results: Project, compare: Compare) -> None:
    write_replicates(results, "dropout", SEEDS["first"], FIRST)
    save(results, "seeds")
    write_replicates(results, "dropout", SEEDS["second"], FIRST)
    (results.root / "metrics/replicates/0.01/dropout-4.json").write_text('{"failure": "diverged"}')
    images, seeds = rows(compare(results, "seeds", "workspace", "--technique", "dropout", "--json"))
    assert (images["over"], images["verdict"]) == ("images", "the same images are classified correctly")
    assert (seeds["over"], seeds["n"]) == ("seeds", 4)
    # Differences of 0, 3, 4 and 5 points: mean 3, standard deviation sqrt(14/3), t(0.975; 3) = 3.18245.
    assert seeds["test_accuracy"]["values"] == pytest.approx([74, 77])
    assert seeds["test_accuracy"]["difference"] == pytest.approx(3)
    half = 3.18245 * (14 / 3 / 4) ** 0.5
    assert seeds["test_accuracy"]["interval"] == pytest.approx([3 - half, 3 + half], abs=1e-4)
    assert seeds["test_loss"]["difference"] == pytest.approx(-0.03)
    assert seeds["verdict"] == "cannot be told apart" and 0.05 < seeds["p"] < 0.1


def test_replicates_of_other_settings_are_not_used(results: Project, compare: Compare) -> None:
    write_replicates(results, "dropout", SEEDS["first"], FIRST)
    save(results, "seeds")
    write_replicates(results, "dropout", SEEDS["second"], FIRST)
    write(results, "dropout", SECOND)  # computed with settings of which there are no replicates
    printed = compare(results, "seeds", "workspace", "--technique", "dropout", "--json")
    assert [row["over"] for row in rows(printed)] == ["images"]


def test_experiments_compare_their_selected_techniques(results: Project, compare: Compare) -> None:
    write(results, "dropout", range(20))
    results.change_params(lambda params: params.update(selected="dropout"))
    results.commit("experiment")
    head, commit = results.run("git", "rev-parse", "first", "HEAD").stdout.split()
    results.run("git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/better", commit)
    results.run("git", "reset", "--quiet", "--hard", "first")
    [row] = rows(compare(results, "first", "better", "--json"))
    assert row["techniques"] == ["baseline", "dropout"]
    assert row["test_accuracy"]["values"] == [50, 100]
    assert row["verdict"] == "dropout of better is better"
    [itself] = rows(compare(results, "first", "better", "--technique", "baseline", "--json"))
    assert itself["techniques"] == ["baseline", "baseline"]


def test_several_changed_techniques_get_holms_correction(results: Project, compare: Compare) -> None:
    write(results, "baseline", range(16))  # 6 more are right: p = 2 / 2^6
    write(results, "dropout", range(5))  # 5 fewer: p = 2 / 2^5
    printed = compare(results, "first", "workspace", "--md")
    table = cells(printed)[2:]
    assert [line[:2] for line in table] == [["baseline", "20 test images"], ["dropout", "20 test images"]]
    assert [line[-2:] for line in table] == [["0.062", "cannot be told apart"]] * 2
    first, second = (line for line in compare(results, "first", "workspace").splitlines() if "difference" in line)
    assert first.startswith("  difference: +30.00 (") and first.endswith("; McNemar's exact test: p = 0.062 (Holm)")
    assert second.startswith("  difference: -25.00 (")


WITHOUT_LOSSES = (("b", "new"), ("c", "old"))


class Side:
    """A revision whose results are given: for each technique, which images are right, and the accuracies by seed."""

    selected = "baseline"

    def __init__(self, name: str, loss: float, techniques: dict[str, tuple[range, dict[int, float]]]) -> None:
        self.name, self.loss, self.techniques = name, loss, techniques

    def result(self, technique: str) -> Result:
        right, seeds = self.techniques[technique]
        outcome = Outcome(100 * len(right) / IMAGES, self.loss)
        losses = None if (technique, self.name) in WITHOUT_LOSSES else np.full(IMAGES, self.loss)
        loss = 0.5 if technique == "c" else self.loss
        replicates = {seed: Outcome(accuracy, loss + seed / 64) for seed, accuracy in seeds.items()}
        return Result(technique, outcome, np.arange(IMAGES) % 5, np.isin(np.arange(IMAGES), right), losses, replicates)


def test_only_differing_techniques_share_in_holms_correction() -> None:
    same, one, two = {0: 88.0, 1: 88.0}, {0: 88.0, 5: 88.0}, {0: 88.0, 6: 89.0}
    up, down = {0: 88.25, 1: 89.375, 2: 90.5, 5: 1.0}, {1: 8.0, 0: 8.0}
    start = {0: 88.0, 1: 89.0, 2: 90.0, 7: 50.0}
    old = {
        "baseline": (range(10), one),
        "a": (range(10), start),
        "b": (range(10), start),
        "c": (range(10), same),
        "x": (range(1), {}),
    }
    new = {"baseline": (range(10), two), "a": (range(20), up), "b": (range(2), down), "c": (range(13), same)}
    found = compare_sides(Side("old", 0.5, old), Side("new", 0.25, {**new, "y": (range(1), {})}), None)  # type: ignore[arg-type]
    # 10 of 10, 8 of 8 and 3 of 3 disagreements: p = 2 / 2^10, 2 / 2^8 and 2 / 2^3. The baseline has none.
    # Differences 2/8, 3/8, 4/8: t = 3 sqrt(3), and with two degrees of freedom p = 1 - t / sqrt(t^2 + 2).
    # Differences -80, -81: t = -161, and with one degree p = 2 / pi atan(1 / 161).
    p_up, p_down = 1 - (27 / 29) ** 0.5, 2 / math.pi * math.atan(1 / 161)
    expected = {
        ("baseline", "images"): (20, [50, 50], 0, 1, 1, "the same images are classified correctly"),
        ("a", "images"): (20, [50, 100], 50, 2 / 2**10, 6 / 2**10, "new is better"),
        ("a", "seeds"): (3, [89, 89.375], 0.375, p_up, p_up, "new is better"),
        ("b", "images"): (20, [50, 10], -40, 2 / 2**8, 4 / 2**8, "old is better"),
        ("b", "seeds"): (2, [88.5, 8], -80.5, p_down, 2 * p_down, "old is better"),
        ("c", "images"): (20, [50, 65], 15, 2 / 2**3, 2 / 2**3, "cannot be told apart"),
    }
    assert [(row["techniques"], row["over"]) for row in found] == [([name] * 2, over) for name, over in expected]
    for row, (n, values, difference, p_value, corrected, verdict) in zip(found, expected.values(), strict=True):
        accuracy, loss = row["test_accuracy"], row["test_loss"]
        assert (row["n"], accuracy["values"], row["verdict"]) == (n, pytest.approx(values), verdict)
        assert accuracy["difference"] == pytest.approx(difference)
        assert (row["p"], row["p_holm"]) == pytest.approx((p_value, corrected))
        mean = (row["n"] - 1) / 128 if row["over"] == "seeds" else 0
        assert (loss["values"], loss["difference"]) == ([0.5 + mean, 0.25 + mean], -0.25)
        assert ("interval" in loss) == (row["over"] == "seeds" or row["techniques"][0] in ("baseline", "a"))
        assert "p" not in accuracy
    with pytest.raises(UserError, match="x and y have no technique in common"):
        compare_sides(Side("x", 0.5, {"x": old["x"]}), Side("y", 0.5, {"y": old["x"]}), None)  # type: ignore[arg-type]


MISTAKES = {
    "an unknown revision": ("nobody", "unknown Git revision 'nobody'. Name a commit, a branch, a tag, an experiment"),
    "an unknown technique": ("--technique=dropuot", "Did you mean dropout?"),
    "no predictions": ("empty", "empty has no metrics/predictions/baseline.csv. Run `dvc repro` there and commit"),
    "other images": ("other", "first and other were evaluated on different test images: the labels in"),
    "damaged predictions": ("damaged", "metrics/predictions/baseline.csv of damaged is damaged: "),
    "other accuracy": ("edited", "metrics/predictions/baseline.csv of edited is damaged: its accuracy is not that of"),
    "not a study": ("foreign", "params.yaml of foreign is damaged: it has no 'selected'."),
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one tag for each mistake."""
    project = Project.create(ROOT, tmp_path_factory.mktemp("mistaken") / "project")
    project.change_params(lambda params: params.update(techniques={"baseline": {}, "dropout": {}}))
    for technique in ("baseline", "dropout"):
        write(project, technique, FIRST)
    save(project, "first")
    predictions = project.root / "metrics/predictions/baseline.csv"
    text = predictions.read_text()
    for tag, content in {
        "other": text.replace("\n0,0,0,", "\n0,1,1,"),
        "damaged": text[:-8],
        "edited": text.replace("\n0,0,0,", "\n0,0,1,"),
    }.items():
        predictions.write_text(content)
        save(project, tag)
    predictions.unlink()
    save(project, "empty")
    (project.root / "params.yaml").write_text("techniques: {}\n")
    save(project, "foreign")
    project.run("git", "checkout", "--quiet", "first")
    return project


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_comparison_that_cannot_be_made_gets_one_line(mistake: str, mistaken: Project, compare: Compare) -> None:
    argument, message = MISTAKES[mistake]
    revisions = ["HEAD", argument] if argument.startswith("-") else [argument]
    with pytest.raises(UserError) as raised:
        compare(mistaken, "first", *revisions)
    assert message in str(raised.value) and len(str(raised.value).splitlines()) == 1


def test_an_error_of_the_comparison_ends_with_status_one(mistaken: Project) -> None:
    failed = mistaken.run("make", "--old-file=.venv/ready", "compare", "A=first", check=False)
    assert failed.returncode != 0 and failed.stdout == ""
    error, _make = failed.stderr.splitlines()
    assert error.startswith("unknown Git revision '(empty)'. Name a commit")
