"""Bring dvc.yaml in line with params.yaml and the code: `make sync`.

What follows from them is rewritten, and nothing else: the files that each stage depends on because it imports them, the
techniques that the plots list, and one artifact per technique. Comments, order and whatever you add stay.

`--check` prints the difference instead, with exit status 1 if there is one. Files of techniques that params.yaml no
longer has are deleted from metrics/ and models/ after a question, or at once with `--yes`.
"""

from lenet5.support.process import set_up

set_up()

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from commands.blocks import replaced
from commands.imports import dependencies, file_of
from lenet5.support.errors import UserError
from lenet5.support.files import write_atomically
from lenet5.support.params import BASELINE, Params, load_params
from lenet5.support.paths import CURVES, MODELS, PARAMS
from lenet5.support.schema import read_yaml

PIPELINE = Path("dvc.yaml")
CODE = ("lenet5", "stages", "commands", "replication")
PROGRAM = re.compile(r"python -m (\S+)")
EXAMPLES = """examples:
  python -m commands.sync            after a technique was added to params.yaml, or an import changed
  python -m commands.sync --check    print what it would change
"""

Wanted = list[tuple[str, list[str]]]  # entries: key or item, and the lines to write if it is new
Edit = tuple[int, Wanted]  # the line in which a block starts, and the entries that it must have


def first_line(node: Any) -> int:
    """Return the number of the line with the first entry of a mapping or list."""
    if node.fa.flow_style():
        raise ValueError(f"line {node.lc.line + 1} has a list or mapping in brackets; write one entry per line")
    return int(node.lc.line)


def is_code(path: str) -> bool:
    """Return whether a dependency is a part of the code."""
    return Path(path).parts[0] in CODE


def merged(declared: list[str], imported: list[str]) -> list[str]:
    """Return the declared dependencies in their order, without code that is not imported, and with all that is.

    Files of code that are not Python stay: a program may open them.
    """
    result = [
        path
        for path in declared
        if not is_code(path) or path in imported or (Path(path).is_file() and Path(path).suffix != ".py")
    ]
    for path in imported:
        if path not in result:
            following = (place for place, other in enumerate(result) if is_code(other) and other > path)
            result.insert(next(following, len(result)), path)
    return result


def stage_edits(pipeline: Any) -> list[Edit]:
    """Return the dependencies of each stage that runs a module of the project."""
    edits: list[Edit] = []
    for stage in pipeline["stages"].values():
        body = stage.get("do", stage)
        program = PROGRAM.search(str(body["cmd"]))
        if program and file_of(program[1]) and "deps" in body:
            wanted = merged(body["deps"], dependencies(program[1]))
            edits.append((first_line(body["deps"]), [(path, [f"- {path}"]) for path in wanted]))
    return edits


def plot_edits(pipeline: Any, techniques: Iterable[str]) -> list[Edit]:
    """Return the curves of each plot that compares one column of the baseline's curves with those of others."""
    edits: list[Edit] = []
    definitions = [each for plot in pipeline.get("plots", []) if isinstance(plot, dict) for each in plot.values()]
    for curves in [(definition or {}).get("y") for definition in definitions]:
        if isinstance(curves, dict) and str(CURVES / f"{BASELINE}.csv") in curves and len(set(curves.values())) == 1:
            [column] = set(curves.values())
            wanted = [str(CURVES / f"{name}.csv") for name in techniques]
            edits.append((first_line(curves), [(path, [f"{path}: {column}"]) for path in wanted]))
    return edits


def artifact_lines(name: str, technique: str, overrides: dict[str, Any], like: dict[str, Any]) -> list[str]:
    """Return the artifact of a technique, with type and labels of the artifact `like`."""
    settings = ", ".join(f"{key} {str(value).lower()}" for key, value in overrides.items()) or "settings of train"
    fields = like | {"path": MODELS / f"{technique}.pt", "desc": f"LeNet-5 for Fashion-MNIST, {settings}"}
    lines = [f"{scalar(name)}:"]
    for key, value in fields.items():
        if isinstance(value, list):
            lines += [f"  {key}:", *(f"    - {scalar(item)}" for item in value)]
        else:
            lines.append(f"  {key}: {scalar(value)}")
    return lines


def scalar(value: object) -> str:
    """Return a text as YAML, in quotation marks if it would be read as something else, such as null."""
    text = str(value)
    try:
        return text if YAML(typ="safe", pure=True).load(text) == text else json.dumps(text)
    except YAMLError:
        return json.dumps(text)


def artifact_edits(pipeline: Any, params: Params) -> list[Edit]:
    """Return the artifacts without those of removed techniques, and then those of new ones.

    Return nothing if the baseline has no artifact, after which new ones are modelled.
    """
    artifacts = pipeline.get("artifacts", {})
    if BASELINE not in artifacts:
        return []
    needed: dict[str, list[str]] = {}
    for technique, overrides in params.techniques.items():
        name = technique.lower().replace("_", "-").strip("-")  # DVC allows no other characters
        if name in needed:
            raise UserError(
                f"{PARAMS}: {technique} and another technique need the same artifact name, {name}; rename one."
            )
        needed[name] = artifact_lines(name, technique, overrides, artifacts[BASELINE])
    models = {MODELS / f"{technique}.pt" for technique in params.techniques}
    paths = {name: Path(artifact["path"]) for name, artifact in artifacts.items()}
    kept = [name for name, path in paths.items() if name in needed or path.parent != MODELS or path in models]
    return [(first_line(artifacts), [(name, needed.get(name, [])) for name in dict.fromkeys([*kept, *needed])])]


def synchronised(text: str, pipeline: Any, params: Params) -> str:
    """Return the text of dvc.yaml, brought in line."""
    edits = [*stage_edits(pipeline), *plot_edits(pipeline, params.techniques), *artifact_edits(pipeline, params)]
    lines = text.split("\n")
    for start, wanted in sorted(edits, reverse=True):  # from below, so that the lines above keep their numbers
        lines = replaced(lines, start, wanted)
    return "\n".join(lines)


def leftover_files(pipeline: Any, techniques: Iterable[str]) -> list[Path]:
    """Return the files in the place of results, for which params.yaml has no technique."""
    patterns = {
        item if isinstance(item, str) else next(iter(item))
        for stage in pipeline["stages"].values()
        for kind in ("outs", "metrics", "plots")
        for item in stage.get("do", {}).get(kind, ())
    }
    kept = {Path(pattern.replace("${key}", name)) for pattern in patterns for name in techniques}
    found = {path for pattern in patterns for path in Path().glob(pattern.replace("${key}", "*"))}
    return sorted(path for path in found - kept if path.is_file())


def delete(files: list[Path], *, without_asking: bool) -> None:
    """Delete files after listing them and, unless `without_asking`, asking for consent."""
    print("These files belong to no technique in params.yaml:", *files, sep="\n  ")
    if not without_asking:
        try:
            answer = input("Delete them? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("Kept. `python -m commands.sync --yes` deletes them.")
            return
    for file in files:
        file.unlink()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m commands.sync",
        description="Bring dvc.yaml in line with params.yaml and the code.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="only print the difference; exit status 1 if there is one")
    parser.add_argument("--yes", action="store_true", help="delete files of removed techniques without asking")
    options = parser.parse_args(arguments)

    params = load_params()
    read_yaml(PIPELINE)  # raises UserError if it is not YAML
    text = PIPELINE.read_text(encoding="utf-8")
    try:
        pipeline = YAML().load(text)  # with the number of each line
        new = synchronised(text, pipeline, params)
        leftover = leftover_files(pipeline, params.techniques)
    except (AttributeError, KeyError, TypeError, ValueError, StopIteration) as error:
        reason = f": {error}" if isinstance(error, ValueError) else ""
        raise UserError(
            f"{PIPELINE} has an unexpected form{reason}. Change it, or restore it with `git checkout -- {PIPELINE}`."
        ) from None
    names = (str(PIPELINE), f"{PIPELINE} after `make sync`")
    difference = "\n".join(difflib.unified_diff(text.splitlines(), new.splitlines(), *names, lineterm=""))
    if difference:
        print(difference)
    if options.check:
        return int(bool(difference))
    if difference:
        write_atomically(PIPELINE, new.encode())
    if leftover:
        delete(leftover, without_asking=options.yes)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
