"""The plan of the tuned techniques, and what is chosen by it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lenet5.support.errors import UserError
from replication.tuning.analysis import figures, tables
from replication.tuning.analysis.comparison import at_edge, compared, searched
from replication.tuning.choose import ranked
from replication.tuning.files import cell_of
from replication.tuning.plan import Cell, load_tuning
from tests.conftest import ROOT
from tests.documents import cells, metrics
from tests.replication.replicates import assert_mistake

PLAN = "replication/tuning/params.yaml"
RATES = {0.0003, 0.001, 0.003, 0.01}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dropout: 0.3", "dropuot: 0.3", "settings.dropout_30.dropuot is an unknown key"),
        ("  baseline: [baseline]\n", "", "choices has no baseline, with which every technique is compared; add it."),
        ("[dropout_10", "[dropout_1", "choices has 'dropout_1', which is not in settings; add it there."),
        ("[dropout_10", "[dropout_20, dropout_10", "choices has dropout_20 more than once; keep one."),
        ("{dropout: 0.1}", "{dropout: 0.1, schedule: cosine}", "settings.dropout_10 sets schedule, which the grid"),
        ("  dropout: [", "  drop out/..: [", "choices.'drop out/..' is not a valid name"),
        ("[dropout_10", "[dropout_20", "no list of choices has dropout_10; add it to one, or remove it"),
        ("schedules: [constant", "schedules: [cosine", "schedules has a value twice; remove one."),
        ("learning_rates: [", "learning_rates: [] # [", "learning_rates is [], but must be a list of at least 1."),
        ("learning_rates: [", "learning_rates: [1, ", "it needs a decimal point; write 1.0 instead of 1"),
        ("cells: 3\n  seeds: [", "cells: 3\n  seeds: [43, ", "refine.seeds has 43, which an earlier part uses"),
        ("\nfinal:", "\nfinals:", "finals is an unknown key"),
    ],
)
def test_a_mistake_in_the_tuning_plan_is_reported(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert_mistake(load_tuning, PLAN, (old, new), message, tmp_path)


def test_final_seeds_that_do_not_fit_are_reported(tmp_path: Path) -> None:
    text = (ROOT / PLAN).read_text()
    for pattern, replacement in (
        (r"(refine:\n  cells: 3\n  seeds: )\[.*\]", r"\g<1>[]"),
        (r"planned: 20(.*\n  seeds: )\[.*\]", r"planned: 2\g<1>[60, 61, 62]"),
    ):
        text, count = re.subn(pattern, replacement, text)
        assert count == 1
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"final\.seeds has seeds, but refine\.seeds has none") as error:
        load_tuning(path)
    assert "final.seeds has 3 seeds, more than final.planned; remove some." in str(error.value)


def run_of(cell: Cell, seed: int, loss: float | None) -> dict[str, Any]:
    content = cell._asdict() | {"seed": seed}
    return content | ({"failure": "diverged"} if loss is None else {"validation_loss": loss})


def test_a_cell_with_a_diverged_run_is_not_chosen() -> None:
    first, second, third, missing = (Cell("flip", rate, "cosine") for rate in (0.1, 0.2, 0.3, 0.4))
    runs = [run_of(first, 1, 0.1), run_of(first, 2, None), run_of(second, 1, 0.9), run_of(second, 2, 0.3)]
    runs += [run_of(third, 1, 0.5), run_of(third, 2, 0.5)]
    assert ranked([first, second, third, missing], runs) == [third, second]


def test_a_candidate_that_diverges_later_is_shown_as_such() -> None:
    plan = load_tuning(ROOT / PLAN).model_copy(update={"learning_rates": [0.01]})
    tried = [Cell("flip", 0.01, schedule) for schedule in plan.schedules]
    runs = [run_of(tried[0], 43, 0.1), run_of(tried[0], 44, None), run_of(tried[1], 43, 0.2), run_of(tried[1], 44, 0.3)]
    candidates = {name: tried if name == "augmentation" else [] for name in plan.choices}
    chosen = {name: ranked(of, runs)[:1] for name, of in candidates.items()}
    rows = searched(plan, runs, candidates, chosen)
    first, second = cells(tables.search(rows))[2:]
    assert first[4:8] == ["0.1000", "2", "diverged", ""]
    assert second[4:8] == ["0.2000", "2", "0.2500", "yes"]
    texts = {text.get_text() for axis in figures.search(rows, plan).axes for text in axis.texts}
    assert texts == {"0.100", "0.200", "diverged"}  # the losses of the search; the other settings have no run here


def test_a_best_cell_at_an_end_of_the_grid_is_reported() -> None:
    plan = load_tuning(ROOT / PLAN).model_copy(update={"learning_rates": [0.01, 0.1, 0.03]})
    candidates = {
        "baseline": [Cell("baseline", 0.1, "cosine"), Cell("baseline", 0.03, "cosine")],
        "dropout": [Cell(plan.choices["dropout"][-1], 0.03, "cosine")],
        "label_smoothing": [Cell("smoothing_10", 0.03, "cosine")],
        "weight_decay": [Cell("coupled_1e-5", 0.01, "constant")],
        "augmentation": [Cell("flip_shift_erase", 0.03, "cosine")],
        "batch_norm": [],
    }
    edges = {name: ends for name, ends in at_edge(plan, candidates, {}).items() if ends}
    assert edges == {
        "baseline": ["highest learning_rate"],
        "dropout": ["strongest setting"],
        "weight_decay": ["lowest learning_rate"],
    }
    settings = plan.settings | {"decoupled_10": {"optimizer": "adamw", "weight_decay": 10}}  # a whole number
    choices = plan.choices | {"decoupled_decay": [*plan.choices["decoupled_decay"], "decoupled_10"]}
    plan = plan.model_copy(update={"settings": settings, "choices": choices})
    for setting, ends in (("decoupled_10", ["strongest setting"]), ("decoupled_1", [])):
        assert at_edge(plan, {"decoupled_decay": [Cell(setting, 0.03, "cosine")]}, {})["decoupled_decay"] == ends
    inside, outside = Cell("dropout_20", 0.03, "cosine"), Cell("dropout_50", 0.03, "cosine")
    assert at_edge(plan, {"dropout": [inside, outside]}, {"dropout": [outside]})["dropout"] == ["strongest setting"]
    assert at_edge(plan, {"dropout": [inside, outside]}, {"dropout": [inside]})["dropout"] == []


def test_a_technique_that_diverged_counts_in_the_correction() -> None:
    content = json.loads((ROOT / "metrics/recipes/final/plain-50.json").read_text())
    runs = {name: [content | {"seed": seed} for seed in range(4)] for name in ("baseline", "dropout")}
    runs["flip"] = [{"seed": seed, "failure": "diverged"} for seed in range(4)]
    runs["few"] = [content | {"seed": 0}, {"seed": 1, "failure": "diverged"}]
    for place, run in enumerate(runs["dropout"]):
        run["test_accuracy"] += 0.01 + 0.001 * place
    chosen = {name: [Cell(name, 0.003, "cosine"), Cell(name, 0.01, "constant")] for name in runs} | {"flip": []}
    rows = {row["technique"]: row for row in compared(runs, chosen, 0.2)}
    difference = rows["dropout"]["against_baseline"]
    assert difference["sign_flip_p_holm"] == pytest.approx(3 * difference["sign_flip_p"]) == pytest.approx(3 / 8)
    assert (rows["flip"]["failures"], rows["flip"]["against_baseline"], rows["flip"]["cell"]) == (4, None, None)
    assert rows["few"]["cell"] == {"setting": "few", "learning_rate": 0.003, "schedule": "cosine"}
    lines = cells(tables.full([*rows.values()]))
    accuracy: float = 100 * content["test_accuracy"]
    (low, high), (lowest, highest) = (difference[name] for name in ("interval", "interval_new_training"))
    assert lowest < low < high < highest
    of_baseline = f"{accuracy:.2f} ({accuracy:.2f} to {accuracy:.2f})"
    of_dropout = f"{accuracy + 1.15:.2f} ({accuracy + low:.2f} to {accuracy + high:.2f})"
    gain, widened = f"+1.15 ({low:+.2f} to {high:+.2f})", f"({lowest:+.2f} to {highest:+.2f})"
    ends = [f"{content['test_loss']:.4f}", f"{content['chosen_epoch']}"]
    assert lines[0] == tables.HEADER
    assert lines[2:] == [
        ["baseline", "baseline", "0.003", "cosine", "4", of_baseline, "", "", "", "", *ends],
        ["dropout", "dropout", "0.003", "cosine", "4", of_dropout, gain, widened, "0.375", "open", *ends],
        ["flip", "", "", "", "4 diverged", *[""] * 7],
        ["few", "few", "0.003", "cosine", "1 diverged", *[""] * 7],
    ]  # fmt: skip


def test_the_committed_tuning_keeps_to_the_plan() -> None:
    plan = load_tuning(ROOT / PLAN)
    strengths: dict[str, tuple[str, set[Any], set[Any]]] = {
        "dropout": ("dropout", {0.1, 0.2, 0.3, 0.4, 0.5}, {0.6}),
        "weight_decay": ("weight_decay", {1e-5, 1e-4, 1e-3, 1e-2}, {0.1}),
        "decoupled_decay": ("weight_decay", {1e-3, 1e-2, 0.1, 1.0}, {10.0}),
        "label_smoothing": ("label_smoothing", {0.05, 0.1, 0.2}, {0.4}),
        "augmentation": ("augmentation", {"flip", "shift", "flip_shift", "flip_shift_erase"}, set()),
        "batch_norm": ("batch_norm", {True}, set()),
    }
    extended = set()
    for technique, (key, values, more) in strengths.items():
        found = [plan.settings[name][key] for name in plan.choices[technique]]
        assert values <= set(found) <= values | more and len(set(found)) == len(found)
        if more <= set(found):
            extended.add((technique, "strongest setting"))
    assert plan.choices["baseline"] == ["baseline"] and plan.settings["baseline"] == {}
    assert all(plan.settings[name]["optimizer"] == "adamw" for name in plan.choices["decoupled_decay"])
    assert plan.schedules == ["constant", "cosine"]
    assert set(plan.learning_rates) <= RATES | {0.0001, 0.03}
    extended |= {(technique, "lowest learning_rate") for technique in plan.choices if 0.0001 in plan.learning_rates}
    extended |= {(technique, "highest learning_rate") for technique in plan.choices if 0.03 in plan.learning_rates}
    assert (plan.search.seeds, plan.refine.cells) == ([43], 3)
    assert plan.refine.seeds in ([], [44, 45])
    assert plan.final.planned == 20
    assert plan.final.seeds == list(range(60, 80))[: len(plan.final.seeds)]
    # Nothing is refined in a part of the grid, or before each end that may hold something better is extended, and
    # nothing is tested before the same holds for what refinement has chosen.
    candidates = {name: [cell_of(cell) for cell in of] for name, of in metrics("tuning/candidates").items()}
    of_search = {(technique, end) for technique, ends in at_edge(plan, candidates, {}).items() for end in ends}
    of_all = {(technique, end) for technique, ends in metrics("tuning")["at_edge"].items() for end in ends}
    assert of_search <= of_all
    assert not plan.refine.seeds or (set(plan.learning_rates) >= RATES and of_search <= extended)
    assert not plan.final.seeds or (plan.refine.seeds and of_all <= extended)
