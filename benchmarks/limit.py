"""The limit of one core: the multiply-adds of an epoch, in registers. No program that does them is faster."""

import ctypes
import tempfile
from pathlib import Path

from benchmarks.contenders import EVALUATION, TRAINING, Contender, Scores
from lenet5.network.native.build import FLAGS, MAIN, compile_library, compilers, processor_level, target_flags

SOURCE = Path(__file__).with_name("limit.c")


def contender(batch_size: int) -> Contender:
    """Return a contender without parameters and scores, for which the size of a batch does not matter."""
    command = compilers()[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "limit.so"
        flags = [*FLAGS, f"-I{MAIN.parent}", *target_flags(command, processor_level())]
        compile_library(command, flags, SOURCE, path)
        library = ctypes.CDLL(str(path))
    library.multiply_adds.argtypes = [ctypes.c_int64, ctypes.c_float, ctypes.c_float]

    def train(share: float) -> None:
        library.multiply_adds(round(share * TRAINING), 0.5, 1.0)

    def evaluate(share: float) -> Scores:
        library.multiply_adds(round(share * EVALUATION), 0.5, 1.0)
        return Scores(0.0, 0.0)

    return Contender(0, 48_000, train, evaluate)
