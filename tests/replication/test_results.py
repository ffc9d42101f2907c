"""The plan of the replication, and the files of the replicates."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lenet5.support.errors import UserError
from lenet5.support.schema import read_yaml
from replication.analysis.plan import load_plan
from replication.analysis.results import REMEDY, packed, path_of, read_replicate, read_replicates, unpacked
from replication.recipes.plan import load_recipes
from replication.runs import planned, read_result
from tests.conftest import ROOT
from tests.replication.replicates import curves_of


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("seeds: [1]", "seeds is [1], but must be a list of at least 2."),
        ("seeds: 3", "seeds is 3, but must be a list"),
        ("seeds: [-1, 0]", "seeds.0 is -1, but must be greater than or equal to 0"),
        ("seeds: [1, 2, 1]", "seeds has a value twice"),
        ("techniques: [dropout]", "techniques has no baseline, with which every technique is compared"),
        ("techniques: [baseline, nosuch]", "techniques has 'nosuch', which is not a technique in params.yaml"),
        ("techniques: [baseline, dropuot]", "baseline, batch_norm, dropout, weight_decay. Did you mean dropout?"),
        ("techniques: []", "techniques is [], but must be a list of at least 1."),
        ("learning_rate: -1.0", "learning_rate is -1.0, but must be greater than 0"),
        ("learning_rate: 0.0", "learning_rate is 0.0, but must be greater than 0"),
        ("learning_rate: 1", "learning_rate: as part of file names it needs a decimal point; write 1.0 instead of 1"),
        ("learning_rate: '0.01'", "learning_rate is '0.01', but must be a finite number"),
        ("learning_rate: 0.001", "control.learning_rate is 0.001, the same as learning_rate"),
        ("seeds:", "seeds is null, but must be a list"),
        ("equivalence_points: 0.0", "equivalence_points is 0.0, but must be greater than 0"),
        ("equivalence_points: .nan", "equivalence_points is nan, but must be a finite number"),
        ("learning_rat: 0.01", "learning_rat is an unknown key; the known keys are: learning_rate, seeds,"),
        ("control: [", "is not valid YAML in line"),
    ],
)
def test_a_mistake_in_the_plan_is_reported(line: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / "replication/params.yaml").read_text()
    key = line.partition(":")[0][:12]
    lines = [line if old.startswith(key) else old for old in text.splitlines()]
    (tmp_path / "params.yaml").write_text("\n".join(lines))
    with pytest.raises(UserError, match=re.escape(message)):
        load_plan(tmp_path / "params.yaml")


def test_a_plan_may_have_two_seeds_and_a_rate_below_the_controls(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    YAML(typ="safe", pure=True).dump({**PLAN, "learning_rate": 1e-4, "seeds": [3, 7]}, path)
    plan = load_plan(path)
    assert (plan.learning_rate, plan.seeds) == (1e-4, [3, 7])


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([10, 9], "confirmation.seeds has 9, which seeds or control.seeds have; remove it."),
        ([10, 10], "confirmation.seeds has a value twice; remove one."),
        (list(range(10, 41)), "confirmation.seeds has 31 seeds, more than confirmation.planned; remove some."),
        ([-1], "confirmation.seeds.0 is -1, but must be greater than or equal to 0"),
    ],
)
def test_the_confirmation_has_new_seeds_each_once(seeds: list[int], message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    YAML(typ="safe", pure=True).dump(PLAN | {"confirmation": PLAN["confirmation"] | {"seeds": seeds}}, path)
    with pytest.raises(UserError, match=re.escape(message)):
        load_plan(path)


@pytest.mark.parametrize(("content", "message"), [(None, "Cannot read"), ("", "must be a mapping with the keys")])
def test_an_absent_or_empty_plan_is_reported(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        load_plan(path)


PLAN: Any = read_yaml(ROOT / "replication/params.yaml")
rates = st.floats() | st.integers() | st.sampled_from(["0.1", "1; touch x", True, None])
seeds = st.lists(st.integers(-1, 5) | st.sampled_from([True, 1.0, "1", "$(touch x)"]), max_size=3)
names = st.lists(st.sampled_from(["baseline", "dropout", "nosuch", "$(touch x)", "", 7, None]), max_size=3)


@settings(max_examples=300, deadline=None)
@given(rates=st.tuples(rates, rates), seeds=seeds | st.none(), names=names | st.just(PLAN["techniques"]))
def test_a_plan_is_rejected_or_names_files_as_dvc_does(
    rates: tuple[Any, Any], seeds: Any, names: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = {**PLAN, "techniques": names, "seeds": seeds or [0, 1], "learning_rate": rates[0]}
    content["control"] = PLAN["control"] | {"learning_rate": rates[1]}
    path = tmp_path_factory.getbasetemp() / "plan.yaml"
    YAML(typ="safe", pure=True).dump(content, path)
    try:
        plan = load_plan(path)
    except UserError as error:
        assert all(line.startswith(str(path)) and line.endswith(".") for line in str(error).splitlines())
        return
    for ours, of_dvc in ((plan, content), (plan.control, content["control"])):
        matrix = list(itertools.product(names, of_dvc["seeds"]))
        expected = [f"metrics/replicates/{of_dvc['learning_rate']}/{name}-{seed}.json" for name, seed in matrix]
        paths = [str(path_of(name, seed, ours.learning_rate)) for name in plan.techniques for seed in ours.seeds]
        assert paths == expected
        assert len(set(paths)) == len(paths)
        assert all(re.fullmatch(r"[\w/.+-]+", path) for path in paths)  # nothing that a shell would interpret


def test_packed_and_unpacked_are_inverse() -> None:
    for count in (1, 8, 13, 100):
        correct = np.random.default_rng(count).random(count) < 0.8
        assert np.array_equal(unpacked(packed(correct), count), correct)


REPLICATE = ROOT / "metrics/replicates/0.01/dropout-3.json"


def test_every_committed_replicate_is_valid() -> None:
    paths = sorted((ROOT / "metrics/replicates").glob("*/*.json"))
    assert len(paths) == 80
    for path in paths:
        assert read_replicate(path) == json.loads(path.read_text())


def test_the_file_of_a_diverged_replicate_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "0.01/dropout-3.json"
    path.parent.mkdir()
    content = {
        "technique": "dropout",
        "seed": 3,
        "learning_rate": 0.01,
        "failure": "the sum of the losses became nan in epoch 2",
    }
    path.write_text(json.dumps(content))
    assert read_replicate(path) == content


INVALID: dict[str, Callable[[dict[str, Any]], object]] = {
    "its content is that of .*0.01/dropout-4": lambda content: content.update(seed=4),
    "its content is that of .*0.1/dropout-3": lambda content: content.update(learning_rate=0.1),
    "its content is that of .*0.01/baseline-3": lambda content: content.update(technique="baseline"),
    "test_loss: ": lambda content: content.pop("test_loss"),
    "test_losses: ": lambda content: content.update(test_losses=0.3),
    "validation_loss: ": lambda content: content.update(validation_loss=-0.1),
    "parameters: ": lambda content: content.update(parameters=0),
    "validation_accuracy: ": lambda content: content.update(validation_accuracy=-0.1),
    "validation_losses: ": lambda content: content["validation_losses"].clear(),
    "test_accuracy_by_class: ": lambda content: content["test_accuracy_by_class"].clear(),
    "test_images: ": lambda content: content.update(test_images=0, test_correct=""),
    "train_loss: ": lambda content: content.update(train_loss=float("nan")),
    "train_accuracy: ": lambda content: content.update(train_accuracy=90.5),
    "seed: ": lambda content: content.update(seed="3"),
    "test_accuracy_interval: ": lambda content: content["test_accuracy_interval"].pop(),
    "test_correct does not have one bit": lambda content: content.update(test_images=9_992),
    "Only base64 data": lambda content: content.update(test_correct="?" + content["test_correct"][1:]),
    "test_accuracy is not that of test_correct": lambda content: content.update(test_accuracy=0.8838),
    "chosen_epoch does not have the lowest": lambda content: content.update(chosen_epoch=15),
    "chosen_epoch does not have the lowest of": lambda content: content["validation_losses"].insert(0, 0.01),
    "train_accuracy: Input should be less": lambda content: content.update(train_accuracy=1.5),
    "test_accuracy_interval: .*": lambda content: content["test_accuracy_interval"].append(0.9),
    "test_correct does not have one": lambda content: content.update(test_images=10_009),
    "test_accuracy is not that of": lambda content: content.update(test_accuracy=0.1),
    "test_accuracy is not that": lambda content: content.update(test_accuracy=0.99),
    "chosen_epoch does not have the": lambda content: content.update(chosen_epoch=1),
    "chosen_epoch does not have": lambda content: content.update(chosen_epoch=80),
    "validation_loss is not that of": lambda content: content.update(validation_loss=0.3113),
}


@pytest.mark.parametrize("message", INVALID)
def test_a_replicate_that_contradicts_itself_is_invalid(message: str, tmp_path: Path) -> None:
    path = tmp_path / "0.01/dropout-3.json"
    path.parent.mkdir()
    content = json.loads(REPLICATE.read_text())
    INVALID[message](content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{re.escape(str(path))} is invalid: {message}"):
        read_replicate(path)


def test_the_last_digits_of_a_loss_on_a_gpu_may_differ(tmp_path: Path) -> None:
    path = tmp_path / "0.01/dropout-3.json"
    path.parent.mkdir()
    content = json.loads(REPLICATE.read_text())
    content["validation_loss"] *= 1 + 5e-5
    path.write_text(json.dumps(content))
    assert read_replicate(path) == content


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"1", b'"failure"', b"\xff\xfe", b"[" * 100_000, b"9" * 5_000])
def test_a_file_of_any_other_content_is_invalid(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "dropout-3.json"
    path.write_bytes(text)
    with pytest.raises(UserError, match="is invalid"):
        read_replicate(path)


def test_a_replicate_truncated_anywhere_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "0.01/dropout-3.json"
    path.parent.mkdir()
    text = REPLICATE.read_bytes().rstrip()
    for length in range(0, len(text), 97):
        path.write_bytes(text[:length])
        with pytest.raises(UserError, match="is invalid: it is not JSON"):
            read_replicate(path)


def test_replicates_are_read_by_rate_technique_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = load_plan(ROOT / "replication/params.yaml")
    control = plan.control.model_copy(update={"seeds": [0, 1]})
    plan = plan.model_copy(update={"techniques": ["baseline", "dropout"], "seeds": [2, 3], "control": control})
    contents = {}
    for technique, seed, rate in itertools.product(plan.techniques, range(4), (0.001, 0.01)):
        path = path_of(technique, seed, rate)
        contents[path] = json.loads((ROOT / path).read_text())
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    diverged = path_of("dropout", 2, 0.01)
    failure = {
        "technique": "dropout",
        "seed": 2,
        "learning_rate": 0.01,
        "failure": "the sum of the losses became nan in epoch 2",
    }
    (tmp_path / diverged).write_text(json.dumps(failure))
    monkeypatch.chdir(tmp_path)

    found = read_replicates(plan)
    assert list(found) == [0.001, 0.01]
    seeds = {rate: {name: list(ours.by_seed) for name, ours in of_rate.items()} for rate, of_rate in found.items()}
    assert seeds == {
        0.001: {"baseline": [0, 1], "dropout": [0, 1]},
        0.01: {"baseline": [2, 3], "dropout": [3]},
    }
    assert [ours.failures for ours in found[0.01].values()] == [0, 1]
    assert found[0.01]["baseline"].by_seed[3] == contents[path_of("baseline", 3, 0.01)]
    losses = [contents[path_of("dropout", seed, 0.001)]["validation_losses"] for seed in (0, 1)]
    assert found[0.001]["dropout"].curves().tolist() == losses

    path_of("baseline", 1, 0.001).unlink()
    diverged.write_text("")
    with pytest.raises(UserError) as raised:
        read_replicates(plan)
    missing, invalid, remedy = str(raised.value).splitlines()
    assert missing == "metrics/replicates/0.001/baseline-1.json: No such file or directory (control@baseline-1)."
    assert invalid.startswith("metrics/replicates/0.01/dropout-2.json is invalid: it is not JSON (")
    assert invalid.endswith(") (replicate@dropout-2).")
    assert remedy == REMEDY


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "curves: Field required": lambda content: content.pop("curves"),
    "curves do not have one value for each": lambda content: content["curves"]["test_loss"].pop(),
    "curves.validation_loss is not validation_losses": lambda content: content["curves"]["validation_loss"].reverse(),
    "curves.train_accuracy does not have train_accuracy in chosen_epoch": lambda content: content["curves"].update(
        train_accuracy=[0.5] * len(content["validation_losses"])
    ),
    "curves.test_accuracy.0: ": lambda content: content["curves"]["test_accuracy"].insert(0, 90.1),
    "its content is that of .*0.01/dropout-4": lambda content: content.update(seed=4),
}


@pytest.mark.parametrize("message", CONTRADICTIONS)
def test_a_confirmed_replicate_has_curves_that_agree(message: str, tmp_path: Path) -> None:
    path = tmp_path / "confirmation/0.01/dropout-3.json"
    path.parent.mkdir(parents=True)
    content = json.loads(REPLICATE.read_text())
    content["curves"] = curves_of(content)
    path.write_text(json.dumps(content))
    assert read_result(path) == content
    CONTRADICTIONS[message](content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"{re.escape(str(path))} is invalid: {message}"):
        read_result(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("technique", "nosuch", "confirmation.longer.technique is 'nosuch', not in techniques; change it."),
        ("learning_rate", 0.5, "confirmation.longer.learning_rate is 0.5, but must be 0.01 or 0.001."),
        ("seeds", [11, 12], "confirmation.longer.seeds has 12, not one of confirmation.seeds; remove it."),
        ("seeds", [11, 11], "confirmation.longer.seeds has a value twice; remove one."),
        ("epochs", 0, "confirmation.longer.epochs is 0, but must be greater than or equal to 1"),
    ],
)
def test_longer_runs_are_those_of_fresh_seeds(key: str, value: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    confirmation = PLAN["confirmation"] | {
        "seeds": [10, 11],
        "longer": PLAN["confirmation"]["longer"] | {"seeds": [10], key: value},
    }
    YAML(typ="safe", pure=True).dump(PLAN | {"confirmation": confirmation}, path)
    with pytest.raises(UserError, match=re.escape(message)):
        load_plan(path)


def test_the_committed_confirmation_keeps_to_the_plan() -> None:
    plan = load_plan(ROOT / "replication/params.yaml").confirmation
    assert plan.planned == 30
    assert plan.seeds == list(range(10, 10 + len(plan.seeds)))
    assert (plan.longer.technique, plan.longer.epochs, set(plan.longer.seeds) - set(range(10, 20))) == (
        "weight_decay", 200, set()
    )  # fmt: skip


def test_every_run_of_the_confirmation_is_planned() -> None:
    plan, recipes = load_plan(ROOT / "replication/params.yaml"), load_recipes(ROOT / "replication/recipes.yaml")
    longer = plan.confirmation.longer.model_copy(update={"seeds": [11]})
    confirmation = plan.confirmation.model_copy(update={"seeds": [10, 11], "longer": longer})
    plan = plan.model_copy(update={"confirmation": confirmation})
    runs = {str(run.path): run.command for run in planned(plan, recipes)}
    confirmed = [path for path in runs if path.startswith("metrics/confirmation/")]
    assert len(confirmed) == 2 * len(plan.techniques) * 2 + 1
    longest = "metrics/confirmation/longer/0.001/weight_decay-11.json"
    assert runs[longest] == ["replication.replicate", "weight_decay", "11", "0.001", "--epochs", "200"]
    command = ["replication.replicate", "dropout", "11", "0.001", "--confirm"]
    assert runs["metrics/confirmation/0.001/dropout-11.json"] == command
