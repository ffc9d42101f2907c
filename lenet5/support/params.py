"""The schema of params.yaml, and an error message for each mistake in it."""

import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from lenet5.support.errors import UserError
from lenet5.support.paths import PARAMS

BASELINE = "baseline"  # the technique that every other is compared with

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

# The name of a technique becomes part of file names, stage names and experiment names.
TECHNIQUE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxlong = SHORT.maxother = 60
SHORT.maxlevel = 3


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Checksums(Section):
    """sha256 of the four uncompressed IDX files."""

    train_images: Sha256 = Field(alias="train-images-idx3-ubyte")
    train_labels: Sha256 = Field(alias="train-labels-idx1-ubyte")
    test_images: Sha256 = Field(alias="t10k-images-idx3-ubyte")
    test_labels: Sha256 = Field(alias="t10k-labels-idx1-ubyte")


class DataSettings(Section):
    """Everything that the prepared data depend on besides code."""

    validation_fraction: Fraction
    split_seed: Seed
    subset: Annotated[float, Field(gt=0, le=1)]
    sha256: Checksums


class TrainSettings(Section):
    """Everything that a run depends on besides data and code."""

    seed: Seed
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "cosine"]
    momentum: Probability
    weight_decay: Annotated[float, Field(ge=0)]
    batch_norm: bool
    dropout: Probability
    label_smoothing: Probability
    backend: Literal["native", "torch"]
    device: Literal["cpu", "cuda"]

    @model_validator(mode="after")
    def batches_have_a_variance(self) -> Self:
        if self.batch_norm and self.batch_size == 1:
            raise ValueError("batch_norm needs a batch_size of at least 2, since a single image has no variance")
        return self

    @model_validator(mode="after")
    def backend_runs_on_device(self) -> Self:
        if self.device == "cuda" and self.backend == "native":
            raise ValueError("device cuda needs backend torch, since the native backend runs on the CPU only")
        return self


class ReportedAccuracies(Section):
    """Accuracies in percent that the exercise reports for a technique."""

    test: Percent
    train: Percent


class Params(Section):
    """The content of params.yaml."""

    data: DataSettings
    train: TrainSettings
    techniques: dict[str, dict[str, Any]]
    selected: str
    exercise: dict[str, ReportedAccuracies]

    def settings(self, technique: str) -> TrainSettings:
        """Return the training settings of a technique: those of `train`, with its own overrides."""
        return TrainSettings.model_validate(self.train.model_dump() | self.techniques[technique])


def load_params(path: Path = PARAMS) -> Params:
    """Return the validated content of params.yaml. Raises UserError with one line for each mistake found."""
    try:
        # ruamel.yaml reads YAML 1.2, as DVC does. PyYAML reads YAML 1.1, where 1e-3 is text and `off` a boolean.
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. Run this in the project's top folder.") from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(f"{path} is not valid YAML{place}: {error.problem or error.context}.") from None
    except RecursionError:
        raise UserError(f"{path} is not valid YAML: it is nested too deeply.") from None
    except Exception as error:  # ruamel.yaml raises Python's own exceptions for values that it cannot convert
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())[:400]}.") from None
    return check_params(content, str(path))


def check_params(content: Any, source: str = "params.yaml") -> Params:
    """Return the validated `content` of `source`. Raises UserError with one line for each mistake: the full path of
    the key, its value, and what is allowed."""
    if not isinstance(content, dict):
        raise UserError(f"{source} must be a mapping with the keys {', '.join(Params.model_fields)}.")
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise UserError(_lines(source, (), error)) from None

    mistakes = []
    for name in params.techniques:
        if not TECHNIQUE_NAME.fullmatch(name):
            mistakes.append(
                f"{source}: techniques.{_shown(name)} is not a valid name; "
                "use at most 64 letters a-z, digits, _ and -, starting with a letter."
            )
            continue
        try:
            params.settings(name)
        except ValidationError as error:
            # `train` is valid, so the mistake is in the technique's overrides.
            mistakes.append(_lines(source, ("techniques", name), error))
    if BASELINE not in params.techniques:
        mistakes.append(f"{source}: techniques has no {BASELINE!r}, with which every technique is compared; add it.")
    if params.techniques and params.selected not in params.techniques:
        mistakes.append(
            f"{source}: selected is {_shown(params.selected)}, but must be one of: {', '.join(params.techniques)}."
        )
    if mistakes:
        raise UserError("\n".join(mistakes))
    return params


def technique_settings(params: Params, technique: str) -> TrainSettings:
    """Return the settings of a technique named on the command line. Raises UserError for an unknown name."""
    if technique not in params.techniques:
        raise UserError(
            f"{_shown(technique)} is not a technique in params.yaml; choose one of: {', '.join(params.techniques)}."
        )
    return params.settings(technique)


def _lines(source: str, prefix: tuple[str, ...], error: ValidationError) -> str:
    return "\n".join(f"{source}: {_message(prefix, details)}" for details in error.errors())


# In YAML's terms, where pydantic's messages use Python's.
WORDS = {
    "string_type": "text",
    "dict_type": "a mapping, {} if empty",
    "model_type": "a mapping",
    "int_type": "a whole number",
    "float_type": "a finite number",
    "bool_type": "true or false",
    "string_pattern_mismatch": "64 digits 0-9, a-f",
}


def _message(prefix: tuple[str, ...], details: ErrorDetails) -> str:
    location = ".".join(_key(part) for part in (*prefix, *details["loc"]) if part != "[key]") or "a key"
    if details["type"] == "extra_forbidden":
        return f"{location} is an unknown key; {_known_keys(details['loc'][:-1], bool(prefix))}."
    if details["type"] == "missing":
        return f"{location} is missing; add it."
    if details["type"] == "value_error":
        return f"{location}: {details['ctx']['error']}."
    allowed = details["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    return f"{location} is {_shown(details['input'])}, but must be {WORDS.get(details['type'], allowed)}."


def _key(part: object) -> str:
    return part if isinstance(part, str) and re.fullmatch(r"[\w-]{1,60}", part) else _shown(part)


def _known_keys(location: tuple[int | str, ...], in_technique: bool) -> str:
    model: Any = TrainSettings if in_technique else Params
    for part in location:
        fields = getattr(model, "model_fields", {})
        model = fields[part].annotation if part in fields else ReportedAccuracies
    names = [field.alias or name for name, field in model.model_fields.items()]
    return f"the known keys are: {', '.join(names)}"


def _shown(value: Any) -> str:
    """Return the value as YAML writes it, shortened: with aliases, a few lines of YAML can hold an endless value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return SHORT.repr(value)
    except ValueError:  # Python refuses to format a number with thousands of digits
        return f"a huge {type(value).__name__}"
