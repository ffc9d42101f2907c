"""params.yaml: any content is either valid or gets one error message per mistake."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lenet5.support.errors import UserError
from lenet5.support.params import TECHNIQUE_NAME, Params, check_params, load_params
from tests.conftest import ROOT
from tests.project import Project, yaml

TEXT = (ROOT / "params.yaml").read_text()
CONTENT: Any = YAML(typ="safe", pure=True).load(TEXT)
UNUSABLE_NAMES = ["../x", "a b", "a@b", "$(rm)", "${train.seed}", "", "x" * 300, "שלום", "-x"]

scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(min_value=-(10**5000), max_value=10**5000)
    | st.floats() | st.dates() | st.binary(max_size=5) | st.text(max_size=8)
    | st.sampled_from(["baseline", "dropout", "a/b", *UNUSABLE_NAMES])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(scalars | st.tuples(scalars), inner, max_size=3)
        | st.dictionaries(st.sampled_from([*CONTENT["train"], *CONTENT["data"]]), inner, max_size=3)
    ),
    max_leaves=6,
)


def paths(content: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the keys that lead to each value in nested mappings, at any depth."""
    if not isinstance(content, dict):
        return [prefix]
    return [prefix, *(path for key, value in content.items() for path in paths(value, (*prefix, key)))]


PATHS = paths(CONTENT)[1:]


def replaced(path: tuple[str, ...], value: Any) -> Any:
    """Return the content of params.yaml with another value at `path`."""
    content = copy.deepcopy(CONTENT)
    section = content
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return content


def assert_valid_or_one_line_per_mistake(content: Any) -> None:
    try:
        params = check_params(content)
    except UserError as error:
        lines = str(error).splitlines()
        assert lines
        assert all(
            line.startswith("params.yaml") and line.endswith((".", "?")) and len(line) < 700 for line in lines
        ), lines
    else:
        assert all(TECHNIQUE_NAME.fullmatch(name) for name in params.techniques)
        assert all(0 < params.settings(name).learning_rate < float("inf") for name in params.techniques)
        assert params.selected in params.techniques


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(PATHS), value=values)
def test_any_value_anywhere_is_valid_or_gets_an_error_message(path: tuple[str, ...], value: Any) -> None:
    assert_valid_or_one_line_per_mistake(replaced(path, value))


@settings(max_examples=200, deadline=None)
@given(name=scalars, overrides=values)
def test_any_technique_is_valid_or_gets_an_error_message(name: Any, overrides: Any) -> None:
    content = copy.deepcopy(CONTENT)
    content["techniques"][name] = overrides
    assert_valid_or_one_line_per_mistake(content)


PIECES = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "\n",
    "  ",
    "&a ",
    "*a",
    "? ",
    "|\n",
    '"',
    "'",
    "\t",
    "=",
    "\0",
    "<<: ",
    "---\n",
]
PIECES += ["!!int ", "!!float ", "!!bool ", "!!set ", "!!binary ", "%YAML 1.1\n"]
PIECES += ["0x", "1e999", ".nan", "2001-99-99", "baseline"]


@settings(max_examples=200, deadline=None)
@given(text=st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8), place=st.integers(0, len(TEXT)))
def test_any_text_in_the_file_is_valid_or_gets_an_error_message(
    text: list[str], place: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    for content in ("".join(text), TEXT[:place] + "".join(text) + TEXT[place:]):
        path.write_bytes(content.encode(errors="surrogatepass"))
        try:
            assert isinstance(load_params(path), Params)
        except UserError as error:
            assert str(error).startswith((str(path), f"Cannot read {path}"))


@pytest.mark.parametrize("name", [*UNUSABLE_NAMES, "a\nb"])
def test_a_name_that_breaks_paths_stages_or_shells_is_rejected(name: str) -> None:
    with pytest.raises(UserError, match=r"is not a valid name; use at most 64 letters a-z, digits, _ and -") as raised:
        check_params(replaced(("techniques", name), {}))
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "replacement", "message"),
    [
        (
            "epochs: 80",
            "epochs: 0x" + "f" * 5000,
            "train.epochs is a huge int, but must be less than or equal to 100000.",
        ),
        ("learning_rate: 0.01", "learning_rate: .inf", "train.learning_rate is inf, but must be a finite number."),
        ("learning_rate: 0.01", "learning_rate: '0.01'", "train.learning_rate is '0.01', but must be a finite number."),
        ("batch_norm: false", "batch_norm: 0", "train.batch_norm is 0, but must be true or false."),
        (
            "batch_size: 64",
            "batch_size: 1",
            "techniques.batch_norm: batch_norm needs a batch_size of at least 2, since a single image has no variance.",
        ),
        ("  baseline: {}", "  baseline:", "techniques.baseline is null, but must be a mapping, {} if empty."),
        ("\ntrain:", "\n7: {}\ntrain:", "the file has the key 7, but a key must be text."),
        ("  baseline: {}", "  baseline: {}\n  7: {}", "techniques has the key 7, but a key must be text."),
        ("  baseline: {}", "  baseline: {}\n  null: {}", "techniques has the key null, but a key must be text."),
        (
            "  baseline: {}",
            "  base: {}",
            "techniques has no 'baseline', with which every technique is compared; add it.",
        ),
        ("class_names: []", "class_names: text", "data.class_names is 'text', but must be a list."),
        ("class_names: []", "class_names: [0]", "data.class_names.0 is 0, but must be text."),
        ("class_names: []", "class_names: [a, b]", "data.class_names: 2 names for 10 classes; give each class a name"),
        ("class_names: []", f"class_names: {[*'abcdefghi', 'a']}", "data.class_names: 'a' names several classes;"),
        ("class_names: []", f"class_names: {[*'abcdefghi', '$x$']}", "data.class_names: '$x$' is not a name; use at"),
        ("selected: baseline", "selected: nobody", "selected is 'nobody', but must be one of: baseline, batch_norm,"),
        ("selected: baseline", "", "selected is missing; add it."),
        ("  seed: 0", "  sede: 0", "train.sede is an unknown key; the known keys are: seed, epochs,"),
    ],
    ids=lambda text: text[:30],
)
def test_an_error_message_names_key_value_and_what_is_allowed(
    text: str, replacement: str, message: str, tmp_path: Path
) -> None:
    assert TEXT.count(text) == 1
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(text, replacement))
    with pytest.raises(UserError) as raised:
        load_params(path)
    assert f"{path}: {message}" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "replacement", "nearest"),
    [
        ("epochs: 80", "epcohs: 80", "epochs"),
        ("subset: 1.0", "sub_set: 1.0", "subset"),
        ("train-labels-idx1-ubyte:", "train_labels:", "train-labels-idx1-ubyte"),
        ("    dropout: 0.2", "    drop_out: 0.2", "dropout"),
        ("selected: baseline", "selected: dropuot", "dropout"),
        ("epochs: 80", "xyz: 80", None),
    ],
)
def test_an_unknown_name_gets_the_nearest_known_one(
    text: str, replacement: str, nearest: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(TEXT.replace(text, replacement))
    with pytest.raises(UserError) as raised:
        load_params(path)
    suggested = re.findall(r"\. Did you mean (\S+)\?$", str(raised.value), re.MULTILINE)
    assert suggested == ([nearest] if nearest else [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\na: 2\n", 'is not valid YAML in line 2, column 1: found duplicate key "a"'),
        (b"a: [1\n", "is not valid YAML in line 2, column 1: expected ',' or ']'"),
        (b"a: !!python/object/apply:os.system [ls]\n", "is not valid YAML in line 1, column 4: could not determine"),
        (b"a: \xff\n", "is not valid YAML: 'utf-8' codec can't decode"),
        (b"[" * 500, "is not valid YAML: it is nested too deeply"),
        (b"", "must be a mapping with the keys data, train, techniques, selected, exercise."),
    ],
)
def test_invalid_yaml_is_reported_with_line_and_column(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        load_params(path)
    assert f"{path} {message}" in str(raised.value)


def test_names_that_yaml_or_a_shell_could_misread_work(project: Project) -> None:
    names = ["null", "True", "e1", "key", "x" * 64, "A-_9"]
    project.change_params(lambda params: params["techniques"].update({name: {"epochs": 1} for name in names}))
    project.run("python", "-m", "commands.sync")
    assert {"null", "true"} <= set(yaml.load(project.root / "dvc.yaml")["artifacts"])  # not None and True
    assert {f"train@{name}" for name in names} <= set(project.dvc("stage", "list", "--name-only").stdout.split())
    assert {"train@null", "evaluate@null"} <= project.stages_run("evaluate@null")
    assert (project.root / "metrics/evaluation/null.json").exists()
