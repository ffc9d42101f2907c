"""The JSON schemas with which editors check params.yaml and the plans of the replication."""

import copy
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from lenet5 import UserError
from lenet5.support.params import check_params, technique_mistakes
from lenet5.support.schema import read_yaml, validated
from replication.analysis.plan import Plan
from replication.recipes.plan import Recipes
from replication.tuning.plan import Tuning
from tests.conftest import ROOT
from tests.lenet5.support.test_params import CONTENT, PATHS, replaced, scalars, values
from tests.project import Project

FILES = ("params.yaml", "replication/params.yaml", "replication/recipes.yaml", "replication/tuning/params.yaml")
SCHEMAS = {file: file.replace(".yaml", ".schema.json") for file in FILES}
PLAN, RECIPES, TUNING = (read_yaml(ROOT / file) for file in FILES[1:])
EDGES: list[Any] = [
    True,
    -1,
    0,
    1,
    2,
    0.5,
    1.0,
    80.0,
    2**63,
    float("inf"),
    float("nan"),
    "cuda",
    "sgd",
    "1e-3",
    None,
    [],
]
# The errors for which a JSON schema has no words, as in the docstring of commands/schema.py.
ONLY_CHECKED = re.compile(
    r"selected is .*, but must be one of: |batch_norm needs a batch_size |device cuda needs backend torch"
    r"|is -?\d+\.0, but must be a whole number|is nan, but must be a finite number"
    r"|learning_rate(s\.\d+)?: as part of file names it needs a decimal point"
)


def validator(file: str) -> Draft7Validator:
    """Return the validator for a file. In a JSON schema, $ is the end of the text, which Python's \\Z is."""
    text = (ROOT / SCHEMAS[file]).read_text().replace('$"', '\\\\Z"')
    return Draft7Validator(json.loads(text))


OF_PARAMS, OF_PLAN, OF_RECIPES, OF_TUNING = map(validator, SCHEMAS)


def accepts(schema: Draft7Validator, content: Any) -> bool:
    try:
        return bool(schema.is_valid(content))
    except ValueError:  # Python refuses to print a number of thousands of digits in the message of an error
        return False


def assert_agreement(schema: Draft7Validator, check: Callable[[Any], object], content: Any) -> None:
    accepted = accepts(schema, content)
    try:
        check(content)
    except UserError as error:
        assert not accepted or all(map(ONLY_CHECKED.search, str(error).splitlines())), error
    else:
        assert accepted


def assert_schema_and_checker_agree(content: Any) -> None:
    assert_agreement(OF_PARAMS, check_params, content)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(PATHS), value=values)
def test_schema_and_checker_agree_on_any_value_anywhere(path: tuple[str, ...], value: Any) -> None:
    assert_schema_and_checker_agree(replaced(path, value))


@settings(max_examples=200, deadline=None)
@given(name=scalars, overrides=values)
def test_schema_and_checker_agree_on_any_technique(name: Any, overrides: Any) -> None:
    content = copy.deepcopy(CONTENT)
    content["techniques"][name] = overrides
    assert_schema_and_checker_agree(content)


@pytest.mark.parametrize("key", CONTENT["train"])
def test_schema_and_checker_agree_on_each_setting(key: str) -> None:
    for value in EDGES:
        assert_schema_and_checker_agree(replaced(("train", key), value))
        assert_schema_and_checker_agree(replaced(("techniques", "dropout"), {key: value}))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from([*PLAN, "unknown"]), value=values | st.lists(st.integers(-2, 2**64)))
@example(key="learning_rate", value=1)
@example(key="confirmation", value={"planned": 2, "seeds": [8], "longer": {}})
def test_schema_and_checker_agree_on_the_plan(key: str, value: Any) -> None:
    assert_agreement(OF_PLAN, lambda content: validated(Plan, content, "plan"), PLAN | {key: value})


@settings(max_examples=200, deadline=None)
@given(name=scalars, overrides=values)
def test_schema_and_checker_agree_on_any_recipe(name: Any, overrides: Any) -> None:
    content = copy.deepcopy(RECIPES)
    content["recipes"][name] = overrides

    def check(content: Any) -> None:
        recipes = validated(Recipes, content, "plan").recipes
        if mistakes := technique_mistakes(check_params(CONTENT).train, recipes, "plan", "recipes"):
            raise UserError("\n".join(mistakes))

    assert_agreement(OF_RECIPES, check, content)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(key=st.sampled_from([*TUNING, "unknown"]), value=values | st.lists(st.integers(-2, 2**64) | st.floats()))
@example(key="learning_rates", value=[0.1, 1])
def test_schema_and_checker_agree_on_the_tuning_plan(key: str, value: Any) -> None:
    def check(content: Any) -> None:
        tuning = validated(Tuning, content, "plan")
        if mistakes := technique_mistakes(check_params(CONTENT).train, tuning.settings, "plan", "settings"):
            raise UserError("\n".join(mistakes))

    assert_agreement(OF_TUNING, check, TUNING | {key: value})


@pytest.mark.parametrize("file", SCHEMAS)
def test_the_committed_file_names_its_schema_and_is_valid(file: str) -> None:
    first, _ = (ROOT / file).read_text().split("\n", 1)
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (ROOT / file).with_name(named) == ROOT / SCHEMAS[file]
    Draft7Validator.check_schema(json.loads((ROOT / SCHEMAS[file]).read_text()))
    assert list(validator(file).iter_errors(read_yaml(ROOT / file))) == []


def test_the_committed_schemas_are_those_of_the_models(tmp_path: Path) -> None:
    (tmp_path / "replication/tuning").mkdir(parents=True)
    for program in ("commands.schema", "replication.schema"):
        Project(tmp_path).run(sys.executable, "-m", program, PYTHONPATH=str(ROOT))
    for schema in SCHEMAS.values():
        message = f"{schema} is not that of the models; run `make sync`"
        assert (tmp_path / schema).read_bytes() == (ROOT / schema).read_bytes(), message
