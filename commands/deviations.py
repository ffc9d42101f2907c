"""Where the recomputed version of a results file first differs from the committed one."""

import csv
import json
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from lenet5.network.model_file import load_model
from lenet5.support.errors import UserError

MISSING = "nothing"


def first_difference(committed: Path, here: Path) -> str:
    """Return where `here`, a file that a stage writes, first differs from `committed`, and both values there."""
    if here.suffix == ".pt":
        return _of_models(committed, here)
    try:
        places = {".csv": _cells, ".json": _values, ".md": _lines}[here.suffix]
        pairs = zip_longest(*(places(path.read_text("utf-8")) for path in (committed, here)), fillvalue=("", MISSING))
        place, old, new = next((b[0] or a[0], a[1], b[1]) for a, b in pairs if a != b)
    except (KeyError, ValueError, csv.Error, StopIteration):  # a picture, a damaged file, or other white space
        return "other bytes"
    return f"{place} is {old} in the commit, {new} here"


def _of_models(committed: Path, here: Path) -> str:
    _, new = load_model(here)
    try:
        _, old = load_model(committed)
    except UserError:
        return "the published file is damaged"
    if old["weights_sha256"] == new["weights_sha256"]:
        return "other bytes around the same weights"
    kept = f"of epoch {old['epoch']} in the commit, of epoch {new['epoch']} here"
    return f"weights_sha256 is {old['weights_sha256'][:16]} in the commit, {new['weights_sha256'][:16]} here ({kept})"


def _cells(text: str) -> Iterator[tuple[str, Any]]:
    """Yield place and value of each cell. A row of a curve is that of an epoch."""
    header, *rows = csv.reader(text.splitlines(), strict=True)
    yield "the header", ",".join(header)
    for number, row in enumerate(rows, start=1):
        place = f"epoch {row[0]}" if header[0] == "epoch" and row else f"row {number}"
        yield from ((f"{place}: {name}", value) for name, value in zip_longest(header, row, fillvalue=MISSING))


def _values(text: str) -> Iterator[tuple[str, Any]]:
    """Yield path and value of each number and text in a JSON file."""

    def leaves(content: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(content, dict | list):
            pairs = content.items() if isinstance(content, dict) else enumerate(content)
            for key, value in pairs:
                yield from leaves(value, f"{path}.{key}" if path else str(key))
        else:
            yield path, content

    return leaves(json.loads(text), "")


def _lines(text: str) -> Iterator[tuple[str, Any]]:
    return ((f"line {number}", line) for number, line in enumerate(text.splitlines(), start=1))
