"""The comparison of fresh seeds with the ten seeds, on small examples and on files made from committed replicates."""

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread
from ruamel.yaml import YAML
from statsmodels.stats.multitest import multipletests

from lenet5.support.errors import UserError
from lenet5.support.schema import read_yaml
from replication.analysis.comparison import Techniques, against_baseline
from replication.analysis.results import CONFIRMATION, LONGER, Replicates, packed, path_of
from replication.confirmation.__main__ import main
from replication.confirmation.analysis import RULES, confirm, longer_training, rules_of_selection
from tests.conftest import ROOT
from tests.documents import cells
from tests.replication.replicates import curves_of

SEEDS = list(range(10, 18))
IMAGES = 1_000


def replicates(correct: list[int]) -> Replicates:
    """Return replicates, given how many of `IMAGES` each classifies correctly."""
    rows = []
    for seed, count in enumerate(correct):
        row = {"seed": seed, "test_images": IMAGES, "test_correct": packed(np.arange(IMAGES) < count)}
        row |= {"test_accuracy": count / IMAGES, "test_loss": 0.3, "test_calibration_error": 0.01}
        rows.append(row | {"train_accuracy": 0.9, "chosen_epoch": 3})
    return Replicates(rows)


def test_one_correction_covers_both_learning_rates() -> None:
    def cell(*gains: int) -> Techniques:
        correct = [880, 884, 878, 885, 881, 883, 879, 886]
        alternate = [1, -1] * 4
        of_gain = {
            f"by {gain}": [count + gain + 3 * sign for count, sign in zip(correct, alternate, strict=True)]
            for gain in gains
        }
        return {"baseline": replicates(correct), **{name: replicates(values) for name, values in of_gain.items()}}

    fresh = {0.001: cell(9, 2), 0.01: cell(-9, 1, 12)}
    ten_seeds = {rate: against_baseline(techniques, 0.2) for rate, techniques in fresh.items()}
    ten_seeds[0.01]["by 12"]["verdict"] = "open"
    rows = {(row["learning_rate"], row["technique"]): row for row in confirm(fresh, ten_seeds, 0.2)}
    assert list(rows) == [(rate, name) for rate, techniques in fresh.items() for name in techniques]
    compared = {cell: row["against_baseline"] for cell, row in rows.items() if row["against_baseline"]}
    assert len(compared) == 5
    p_values = [result["sign_flip_p"] for result in compared.values()]
    corrected = [result["sign_flip_p_holm"] for result in compared.values()]
    assert corrected == pytest.approx(multipletests(p_values, method="holm")[1])
    assert corrected[0] == pytest.approx(5 * 2 / 2**8)
    assert {cell: (compared[cell]["verdict"], rows[cell]["confirmed"]) for cell in compared} == {
        (0.001, "by 9"): ("helps", True),
        (0.001, "by 2"): ("open", True),
        (0.01, "by -9"): ("hurts", True),
        (0.01, "by 1"): ("open", True),
        (0.01, "by 12"): ("helps", False),
    }


def test_each_rule_keeps_its_epoch() -> None:
    def run(seed: int, **curves: list[float]) -> dict[str, Any]:
        return {"seed": seed, "curves": curves}

    runs = [
        run(
            10,
            validation_loss=[0.5, 0.3, 0.4, 0.6],
            validation_accuracy=[0.7, 0.8, 0.9, 0.9],
            test_accuracy=[0.1, 0.2, 0.4, 0.7],
        ),
        run(
            11,
            validation_loss=[0.2, 0.3, 0.2, 0.6],
            validation_accuracy=[0.9, 0.8, 0.7, 0.6],
            test_accuracy=[0.3, 0.5, 0.6, 0.8],
        ),
    ]
    by_epoch = [[value + 0.02 * epoch for epoch, value in enumerate(of["curves"]["test_accuracy"], 1)] for of in runs]
    better = [
        run(of["seed"], **(of["curves"] | {"test_accuracy": values})) for of, values in zip(runs, by_epoch, strict=True)
    ]
    fresh = {0.01: {"baseline": Replicates(runs), "weight_decay": Replicates(better), "dropout": Replicates(runs[:1])}}
    row, of_better = rules_of_selection(fresh)
    gains = [of_better[rule]["against_baseline"]["difference"] for rule in RULES]
    assert gains == pytest.approx([3, 4, 8])
    assert (row["learning_rate"], row["technique"]) == (0.01, "baseline")
    assert row["validation_loss"] == {"mean": pytest.approx(25)}
    means = {rule: (row[rule]["mean"], row[rule]["difference"]) for rule in ("validation_accuracy", "last_epoch")}
    assert means == {"validation_accuracy": pytest.approx((35, 10)), "last_epoch": pytest.approx((75, 50))}
    assert row["last_epoch"]["interval"] == pytest.approx([50, 50])


def test_longer_training_is_compared_over_common_seeds() -> None:
    longer, usual = replicates([900, 910, 905]), replicates([0, 901, 903, 700])
    result = longer_training(Replicates([*longer.by_seed.values(), {"seed": 9, "failure": "diverged"}]), usual)
    assert result is not None and result["failures"] == 1
    assert result["test_accuracy"]["difference"] == pytest.approx((90.0 + 0.9 + 0.2) / 3)
    of_two = Replicates([run | {"seed": run["seed"] + 2} for run in longer.by_seed.values()])  # 2, 3, 4
    result = longer_training(of_two, usual)
    assert result is not None and result["test_accuracy"]["difference"] == pytest.approx((-0.3 + 21.0) / 2)
    assert result["chosen_epoch"]["n"] == result["chosen_epoch_of_usual"]["n"] == 2
    assert longer_training(of_two, replicates([0, 901, 903])) is None


def is_coloured(path: Path) -> bool:
    """Return whether a picture has a pixel that is not grey."""
    pixels = imread(path)[..., :3]
    return bool((pixels.max(axis=-1) != pixels.min(axis=-1)).any())


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with replicates of two techniques, and with three of each as fresh seeds, which is the current one."""
    plan = read_yaml(ROOT / "replication/params.yaml")
    longer = {"technique": "batch_norm", "learning_rate": 0.01, "epochs": 200, "seeds": SEEDS[:3]}
    confirmation = {"planned": len(SEEDS), "seeds": SEEDS, "longer": longer}
    plan |= {"techniques": ["baseline", "batch_norm"], "confirmation": confirmation}
    (tmp_path / "replication").mkdir()
    YAML(typ="safe", pure=True).dump(plan, tmp_path / "replication/params.yaml")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "metrics/replicates", tmp_path / "metrics/replicates")
    monkeypatch.chdir(tmp_path)
    for rate, technique, seed in itertools.product((0.001, 0.01), plan["techniques"], SEEDS):
        content = json.loads(path_of(technique, seed - 10, rate).read_text())
        path = path_of(technique, seed, rate, CONFIRMATION)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content | {"seed": seed, "curves": curves_of(content)}))
    for seed in SEEDS[:3]:  # the same runs, but for a kept epoch that is seven later
        path = path_of("batch_norm", seed, 0.01, LONGER)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.loads(path_of("batch_norm", seed, 0.01, CONFIRMATION).read_text())
        content["chosen_epoch"] += 7
        content["validation_losses"] = [9.0] * 7 + content["validation_losses"]
        path.write_text(json.dumps(content | {"curves": curves_of(content)}))
    return tmp_path


def test_a_complete_confirmation_is_compared(study: Path) -> None:
    main()
    content = json.loads((study / "metrics/confirmation.json").read_text())
    assert (content["seeds"], content["preferred_by_validation"]) == (SEEDS, {"0.001": 16, "0.01": 0})
    rows = {(row["learning_rate"], row["technique"]): row for row in content["results"]}
    for rate in (0.001, 0.01):
        baseline, batch_norm = (
            np.array([json.loads(path_of(name, seed, rate).read_text())["test_accuracy"] for seed in range(8)])
            for name in ("baseline", "batch_norm")
        )
        row = rows[rate, "batch_norm"]
        assert row["against_baseline"]["difference"] == pytest.approx(100 * (batch_norm - baseline).mean())
        verdicts = row["against_baseline"]["verdict"], row["verdict_of_ten_seeds"]
        assert (*verdicts, row["confirmed"]) == ("helps", "helps", True)
        [rules] = [
            each
            for each in content["rules_of_selection"]
            if (each["learning_rate"], each["technique"]) == (rate, "batch_norm")
        ]
        assert rules["validation_loss"]["mean"] == pytest.approx(100 * batch_norm.mean())
        assert rules["last_epoch"]["difference"] == pytest.approx(-100 * batch_norm.mean())
    longer = content["longer_training"]
    assert (longer["technique"], longer["epochs"], longer["seeds"]) == ("batch_norm", 200, SEEDS[:3])
    kept = [longer["result"][name]["mean"] for name in ("chosen_epoch", "chosen_epoch_of_usual")]
    assert kept[0] - kept[1] == pytest.approx(7)
    assert longer["result"]["test_accuracy"] == {"difference": 0, "interval": [0, 0]}
    lines = cells((study / "metrics/confirmation.md").read_text())
    table = {(line[0], line[1]): line for line in lines[2:6]}
    accuracy, compared = rows[0.01, "batch_norm"]["test_accuracy"], rows[0.01, "batch_norm"]["against_baseline"]
    low, high = compared["interval_new_training"]
    assert table["batch_norm", "0.01"] == [
        "batch_norm", "0.01", "8",
        f"{accuracy['mean']:.2f} ({accuracy['interval'][0]:.2f} to {accuracy['interval'][1]:.2f})", "8",
        f"{compared['difference']:+.2f} ({compared['interval'][0]:+.2f} to {compared['interval'][1]:+.2f})",
        f"({low:+.2f} to {high:+.2f})", f"{compared['sign_flip_p_holm']:.3f}", "helps", "helps", "yes",
    ]  # fmt: skip
    assert table["baseline", "0.01"][4:] == [""] * 7
    differences = [rows[rate, "batch_norm"]["against_baseline"]["difference"] for rate in (0.001, 0.01)]
    of_rates = content["across_rates"]["batch_norm"]
    assert (of_rates["n"], of_rates["interaction"]["difference"]) == (8, pytest.approx(-np.diff(differences)[0]))
    assert is_coloured(study / "metrics/confirmation.png")
    short = (study / "metrics/replication/fresh_seeds.md").read_text().splitlines()[-1].split("|")
    assert [cell.split()[0] for cell in short[2:4]] == [f"{difference:+.2f}" for difference in differences]
    assert short[4].strip() == "helps at 0.001 and 0.01"


def test_diverged_runs_are_counted_and_what_is_left_compared(study: Path) -> None:
    def diverge(technique: str, seed: int, rate: float) -> None:
        failure = {
            "technique": technique,
            "seed": seed,
            "learning_rate": rate,
            "failure": "the sum of the losses became nan",
        }
        path_of(technique, seed, rate, CONFIRMATION).write_text(json.dumps(failure))

    diverge("baseline", SEEDS[0], 0.01)
    for seed in SEEDS[1:]:
        diverge("batch_norm", seed, 0.001)
    main()
    content = json.loads((study / "metrics/confirmation.json").read_text())
    rows = {(row["learning_rate"], row["technique"]): row for row in content["results"]}
    assert (rows[0.01, "baseline"]["failures"], rows[0.01, "batch_norm"]["against_baseline"]["n"]) == (1, 7)
    assert rows[0.01, "batch_norm"]["against_baseline"]["sign_flip_p"] == 2 / 2**7
    assert rows[0.01, "batch_norm"]["against_baseline"]["sign_flip_p_holm"] == 2 * 2 / 2**7
    lost = rows[0.001, "batch_norm"]
    assert (lost["against_baseline"], lost["verdict_of_ten_seeds"], lost["confirmed"]) == (None, "helps", False)
    text = (study / "metrics/confirmation.md").read_text()
    assert "7, 1 diverged |" in text
    assert re.search(r"\| batch_norm +\| +0.001 \| +7 diverged \|( +\|){6} +helps \| +no \|", text)


def test_the_committed_comparison_is_that_of_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("params.yaml", "replication/params.yaml", "metrics/replicates", "metrics/confirmation"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    main()
    found, committed = (json.loads((root / "metrics/confirmation.json").read_text()) for root in (tmp_path, ROOT))
    assert found == committed
    for name in ("metrics/confirmation.md", "metrics/replication/fresh_seeds.md"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()


def test_nothing_is_compared_before_the_last_planned_seed(study: Path) -> None:
    plan = read_yaml(study / "replication/params.yaml")
    plan["confirmation"]["planned"] = len(SEEDS) + 1
    YAML(typ="safe", pure=True).dump(plan, study / "replication/params.yaml")
    main()
    assert json.loads((study / "metrics/confirmation.json").read_text()) == {"seeds": SEEDS, "planned": 9}
    expected = "8 of 9 fresh seeds are computed. Nothing is compared before all of them are.\n"
    for name in ("confirmation.md", "replication/fresh_seeds.md"):
        assert (study / "metrics" / name).read_text() == expected
    assert not is_coloured(study / "metrics/confirmation.png")


def test_each_missing_run_of_the_confirmation_is_named(study: Path) -> None:
    for technique, seed in (("baseline", 10), ("batch_norm", 12)):
        path_of(technique, seed, 0.01, CONFIRMATION).unlink()
    path_of("batch_norm", 11, 0.01, LONGER).write_text("")
    with pytest.raises(UserError) as raised:
        main()
    first, second, third, remedy = str(raised.value).splitlines()
    assert first == "metrics/confirmation/0.01/baseline-10.json: No such file or directory (confirm@baseline-0.01-10)."
    assert second.endswith("(confirm@batch_norm-0.01-12).")
    assert third.startswith("metrics/confirmation/longer/0.01/batch_norm-11.json is invalid: it is not JSON")
    assert third.endswith("(longer@batch_norm-11).")
    assert "make replicate" in remedy
    assert not list(study.glob("metrics/confirmation.*"))
