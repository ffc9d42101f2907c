"""No file or parameter can make the project run code or a shell, and no stage opens connections without need."""

import ast
import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests import stage_process
from tests.conftest import ROOT
from tests.project import Project
from tests.test_house import PACKAGES, sources

STAGES = ["check", "prepare", "train dropout", "evaluate dropout", "summary", "plot", "select", "theory"]
RUNS_CODE = {"eval", "exec", "pickle.load", "pickle.loads", "os.system", "os.popen", "numpy.load", "np.load"}
FAULTS = ROOT / "docs/faults.md"


def texts_to_run(path: Path) -> list[ast.expr]:
    """Return what follows each "-c" in the lists, tuples and arguments of calls of a file."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    commands = [node.elts for node in nodes if isinstance(node, ast.List | ast.Tuple)]
    return [
        text
        for command in commands + [node.args for node in nodes if isinstance(node, ast.Call)]
        for option, text in pairwise(command)
        if isinstance(option, ast.Constant) and option.value == "-c"
    ]


def calls() -> list[tuple[str, str, ast.Call]]:
    """Return the place, the function's name and the syntax tree of every call in the project's code."""
    trees = [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in sources(*PACKAGES)]
    nodes = [(path, node) for path, tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(f"{path}:{node.lineno}", ast.unparse(node.func), node) for path, node in nodes]


def test_no_loaded_file_runs_code_and_no_text_reaches_a_shell() -> None:
    found = calls()
    loads = [(place, {word.arg: ast.unparse(word.value) for word in call.keywords}) for place, name, call in found
             if name == "torch.load"]  # fmt: skip
    assert loads
    assert [place for place, words in loads if words.get("weights_only") != "True"] == []
    assert [place for place, name, _ in found if name in RUNS_CODE] == []
    assert [place for place, _, call in found if any(word.arg == "shell" for word in call.keywords)] == []
    # What a shell or Python runs as its text is written in the code.
    texts = [text for path in sources(*PACKAGES) for text in texts_to_run(path)]
    assert texts and [ast.unparse(text) for text in texts if not isinstance(text, ast.Constant)] == []


def forbid_network() -> None:
    """End this process as soon as it tries to connect to anything."""

    def watch(event: str, _: object) -> None:
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg"):
            raise SystemExit(f"network: {event}")

    sys.addaudithook(watch)


def test_only_prepare_uses_the_network_and_only_if_needed(project: Project) -> None:
    for stage in STAGES:
        ended = stage_process.run(project.root, *stage.split(), before=forbid_network)
        assert ended.status == 0, f"{stage}\n{ended.output}"
    shutil.rmtree(project.root / "data/raw")
    ended = stage_process.run(project.root, "prepare", before=forbid_network)
    assert (ended.status, ended.output) == (1, "network: socket.getaddrinfo\n")


def proofs() -> list[tuple[str, str]]:
    """Return file and name of each test that docs/faults.md names."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", FAULTS.read_text())


def test_every_row_of_the_faults_page_names_a_test() -> None:
    lines = FAULTS.read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| fault |")]
    assert len(rows) > 20
    assert [row for row in rows if not re.search(r"\| `tests/[\w/]+\.py::test_\w+` \|$", row)] == []


@pytest.mark.parametrize(("file", "test"), sorted(set(proofs())))
def test_every_test_on_the_faults_page_exists(file: str, test: str) -> None:
    tree = ast.parse(Path(ROOT / file).read_text())
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
