"""`import lenet5`, as a program or a notebook of one's own uses it."""

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lenet5
from lenet5 import UserError, load_params
from tests.conftest import ROOT

SET_BY_PROGRAMS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "CUBLAS_WORKSPACE_CONFIG")

# Prints the state of the process before and after each kind of import.
PROGRAM = """
import json, os, pkgutil, signal, sys
from importlib import import_module


def state():
    handlers = {number: repr(signal.getsignal(number)) for number in signal.valid_signals()}
    return {"environment": dict(os.environ), "excepthook": repr(sys.excepthook), "handlers": handlers}


def torch_state():
    settings = [torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_deterministic_debug_mode()]
    return state() | {"torch": settings}


states = {"start": state()}
import lenet5
states["package"] = state()
states["torch is loaded"] = "torch" in sys.modules
import torch
states["start with torch"] = torch_state()
names = [getattr(lenet5, name) for name in lenet5.__all__]
states["names"] = torch_state()
modules = [module.name for module in pkgutil.walk_packages(lenet5.__path__, "lenet5.")]
for module in modules:
    import_module(module)
states["modules"] = torch_state()
print(json.dumps(states | {"imported": modules}))
"""


@pytest.fixture(scope="module")
def states() -> Any:
    """The state of a fresh process after each kind of import."""
    environment = {name: value for name, value in os.environ.items() if name not in SET_BY_PROGRAMS}
    command = [sys.executable, "-c", PROGRAM]
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(result.stdout)


def test_importing_the_package_has_no_effect(states: Any) -> None:
    assert states["package"] == states["start"]
    assert not states["torch is loaded"]


def test_importing_names_and_modules_has_no_effect(states: Any) -> None:
    assert states["start with torch"] == states["start"] | {"torch": states["start with torch"]["torch"]}
    assert states["names"] == states["start with torch"]
    assert states["modules"] == states["start with torch"]
    assert {"lenet5.support.process", "lenet5.network.native.build", "lenet5.training.loop"} <= set(states["imported"])


def test_every_exported_name_has_a_docstring() -> None:
    undocumented = []
    for name in lenet5.__all__:
        value = getattr(lenet5, name)
        # A NamedTuple without a docstring gets its signature as one.
        documented = vars(value)["__doc__"] if inspect.isclass(value) else value.__doc__
        if callable(value) and (not documented or documented.startswith(f"{name}(")):
            undocumented.append(name)
    assert undocumented == []


def test_the_lists_of_exported_names_agree() -> None:
    tree = ast.parse(Path(lenet5.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    for_type_checkers = {
        node.module: tuple(name.name for name in node.names) for node in block.body if isinstance(node, ast.ImportFrom)
    }
    assert for_type_checkers == lenet5.MODULES
    assert sorted(name for names in lenet5.MODULES.values() for name in names) == lenet5.__all__ == dir(lenet5)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'lenet5' has no attribute 'nothing'"):
        lenet5.nothing  # noqa: B018


def test_except_exception_catches_a_user_error() -> None:
    caught = None
    try:
        load_params(Path("nowhere.yaml"))
    except Exception as error:
        caught = error
    assert isinstance(caught, UserError)
    assert str(caught).startswith("Cannot read nowhere.yaml: No such file or directory.")


def test_a_program_prints_a_user_error_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stages.evaluate", "nosuch"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stdout == ""
    assert (
        result.stderr
        == "models/nosuch.pt is missing. If it is a result of this project, run `dvc repro` to compute it.\n"
    )
