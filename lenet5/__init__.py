"""LeNet-5 on Fashion-MNIST: the library that the pipeline's stages are made of.

    from lenet5 import load_model, load_split

Importing this package has no side effect, and each name is loaded when it is first used: a program must be able to set
up its process before PyTorch is loaded (see lenet5.support.process).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lenet5.data.dataset import Data, Split, load_data, load_split
    from lenet5.network.model import LeNet5, to_pixels
    from lenet5.network.model_file import load_model
    from lenet5.support.errors import UserError
    from lenet5.support.params import CLASS_NAMES, Params, TrainSettings, load_params
    from lenet5.training.loop import train

__all__ = [
    "CLASS_NAMES",
    "Data",
    "LeNet5",
    "Params",
    "Split",
    "TrainSettings",
    "UserError",
    "load_data",
    "load_model",
    "load_params",
    "load_split",
    "to_pixels",
    "train",
]

MODULES = {
    "lenet5.data.dataset": ("Data", "Split", "load_data", "load_split"),
    "lenet5.network.model": ("LeNet5", "to_pixels"),
    "lenet5.network.model_file": ("load_model",),
    "lenet5.support.errors": ("UserError",),
    "lenet5.support.params": ("CLASS_NAMES", "Params", "TrainSettings", "load_params"),
    "lenet5.training.loop": ("train",),
}


def __getattr__(name: str) -> Any:
    """Load an exported name from its module (PEP 562)."""
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'lenet5' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
