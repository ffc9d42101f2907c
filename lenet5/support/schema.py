"""What params.yaml and the plan of the replication share: reading YAML, and an error message for each mistake."""

import difflib
import re
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from lenet5.support.errors import UserError

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxlong = SHORT.maxother = 60
SHORT.maxlevel = 3


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Checked = TypeVar("Checked", bound=Section)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file. Raises UserError, with line and column where possible, if it is not YAML."""
    try:
        # ruamel.yaml reads YAML 1.2, as DVC does. PyYAML reads YAML 1.1, where 1e-3 is text and `off` a boolean.
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
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


def validated(model: type[Checked], content: Any, source: str, prefix: tuple[str, ...] = ()) -> Checked:
    """Return the `content` at `prefix` in `source` as a `model`. Raises UserError with one line for each mistake: the
    full path of the key, its value, and what is allowed."""
    if not prefix and not isinstance(content, dict):
        raise UserError(f"{source} must be a mapping with the keys {', '.join(model.model_fields)}.")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        lines = (f"{source}: {_message(model, prefix, details)}" for details in error.errors())
        raise UserError("\n".join(lines)) from None


def first_problem(error: ValidationError) -> str:
    """Return place and reason of the first problem that pydantic found, in content that only programs write."""
    first = error.errors()[0]
    place = ".".join(str(part)[:60] for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    return f"{place}: {reason}" if place else reason


# In YAML's terms, where pydantic's messages use Python's.
WORDS = {
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping, {} if empty",
    "model_type": "a mapping",
    "int_type": "a whole number",
    "float_type": "a finite number",
    "bool_type": "true or false",
    "string_pattern_mismatch": "64 digits 0-9, a-f",
}


def _message(model: type[Section], prefix: tuple[str, ...], details: ErrorDetails) -> str:
    place = (*prefix, *details["loc"])
    if details["type"] == "invalid_key" or (place[-1:] == ("[key]",) and details["type"] == "string_type"):
        parent = ".".join(map(_key, place[: -2 if place[-1] == "[key]" else -1])) or "the file"
        return f"{parent} has the key {shown(details['input'])}, but a key must be text."
    location = ".".join(map(_key, place))
    if details["type"] == "extra_forbidden":
        known = _known_keys(model, details["loc"][:-1])
        nearest = did_you_mean(details["loc"][-1], known)
        return f"{location} is an unknown key; the known keys are: {', '.join(known)}.{nearest}"
    if details["type"] == "missing":
        return f"{location} is missing; add it."
    if details["type"] == "value_error":
        return f"{location}: {details['ctx']['error']}.".removeprefix(": ")
    allowed = details["msg"].removeprefix("Input should be ").removeprefix("Input should ")
    if details["type"] == "too_short":
        allowed = f"a list of at least {details['ctx']['min_length']}"
    return f"{location} is {shown(details['input'])}, but must be {WORDS.get(details['type'], allowed)}."


def _key(part: object) -> str:
    return part if isinstance(part, str) and re.fullmatch(r"[\w-]{1,60}", part) else shown(part)


def _known_keys(model: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        fields = getattr(model, "model_fields", {})
        model = fields[part].annotation if part in fields else get_args(model)[-1]  # of a dict[str, Section]
    return [field.alias or name for name, field in model.model_fields.items()]


def shown(value: Any) -> str:
    """Return a scalar as YAML writes it, and a list or mapping as Python does, shortened: with aliases, a few lines of
    YAML can hold an endless value."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return SHORT.repr(value)
    except ValueError:  # Python refuses to format a number with thousands of digits
        return f"a huge {type(value).__name__}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return a sentence with the known name that is closest to `name`, or an empty text if none is close."""
    nearest = difflib.get_close_matches(name, known, n=1) if isinstance(name, str) else []
    return f" Did you mean {nearest[0]}?" if nearest else ""
