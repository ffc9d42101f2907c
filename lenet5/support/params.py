"""The schema of params.yaml, and an error message for each mistake in it."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lenet5.support.errors import UserError
from lenet5.support.paths import PARAMS
from lenet5.support.schema import Section, did_you_mean, read_yaml, shown, validated

BASELINE = "baseline"  # the technique that every other is compared with

Fraction = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Percent = Annotated[float, Field(ge=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Schedule = Literal["constant", "cosine"]
Augmentation = Literal["none", "flip", "shift", "flip_shift", "flip_shift_erase"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

# Of Fashion-MNIST, by label, from 0. Their number is the number of classes everywhere, in the C code too.
CLASS_NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
# The name of a class becomes part of Markdown tables and figures, in which a $ would start a formula.
CLASS_NAME = re.compile(r"[^\s|$]([^\x00-\x1f\x7f|$]{0,38}[^\s|$])?")
COUNT = len(CLASS_NAMES)

# The name of a technique becomes part of file names, stage names and experiment names.
TECHNIQUE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
VALID_NAME = "use at most 64 letters a-z, digits, _ and -, starting with a letter."


def checked_class_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, or Fashion-MNIST's if there are none. Raises ValueError if they do not name the classes."""
    if names and len(names) != COUNT:
        raise ValueError(f"{len(names)} names for {COUNT} classes; give each class a name, or leave the list empty")
    for name in names:
        if not CLASS_NAME.fullmatch(name):
            raise ValueError(f"{shown(name)} is not a name; use at most 40 characters on one line, without | or $")
        if names.count(name) > 1:
            raise ValueError(f"{shown(name)} names several classes; give each its own name")
    return names or CLASS_NAMES


ClassName = Annotated[str, Field(json_schema_extra={"pattern": f"^{CLASS_NAME.pattern}$"})]
ClassNames = Annotated[
    tuple[ClassName, ...],
    AfterValidator(checked_class_names),
    Field(
        strict=False,
        json_schema_extra={"uniqueItems": True, "oneOf": [{"maxItems": 0}, {"minItems": COUNT, "maxItems": COUNT}]},
    ),
]


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
    class_names: ClassNames = CLASS_NAMES


class TrainSettings(Section):
    """Everything that a run depends on besides data and code."""

    seed: Seed
    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)]
    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Schedule
    augmentation: Augmentation
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
    return check_params(read_yaml(path), str(path))


def check_params(content: Any, source: str = "params.yaml") -> Params:
    """Return the validated `content` of `source`. Raises UserError with one line for each mistake found: the full path
    of the key, its value, and what is allowed. Techniques are checked once the other sections are valid."""
    params = validated(Params, content, source)
    mistakes = technique_mistakes(params.train, params.techniques, source)
    if BASELINE not in params.techniques:
        mistakes.append(f"{source}: techniques has no {BASELINE!r}, with which every technique is compared; add it.")
    if params.techniques and params.selected not in params.techniques:
        mistakes.append(
            f"{source}: selected is {shown(params.selected)}, but must be one of: {', '.join(params.techniques)}."
            f"{did_you_mean(params.selected, params.techniques)}"
        )
    if mistakes:
        raise UserError("\n".join(mistakes))
    return params


def technique_mistakes(
    train: TrainSettings, techniques: dict[str, dict[str, Any]], source: str, key: str = "techniques"
) -> list[str]:
    """Return one line for each mistake in the techniques under `key` in `source`, which override some of `train`."""
    mistakes = []
    for name, overrides in techniques.items():
        if not TECHNIQUE_NAME.fullmatch(name):
            mistakes.append(f"{source}: {key}.{shown(name)} is not a valid name; {VALID_NAME}")
            continue
        try:
            # `train` is valid, so a mistake is in the technique's overrides.
            validated(TrainSettings, train.model_dump() | overrides, source, (key, name))
        except UserError as error:
            mistakes.append(str(error))
    return mistakes


def technique_settings(params: Params, technique: str) -> TrainSettings:
    """Return the settings of a technique named on the command line. Raises UserError for an unknown name."""
    if technique not in params.techniques:
        raise UserError(
            f"{shown(technique)} is not a technique in params.yaml; choose one of: {', '.join(params.techniques)}."
            f"{did_you_mean(technique, params.techniques)}"
        )
    return params.settings(technique)
