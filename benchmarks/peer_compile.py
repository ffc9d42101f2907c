"""LeNet-5 with `torch.compile`: the loop of peer_eager.py, in which loss, gradient and evaluation are compiled by
inductor to C++ for each size of a batch."""

import os
from functools import partial

import torch

from benchmarks.contenders import Contender
from benchmarks.peer_eager import loop
from lenet5.network.native.build import LIBRARIES


def contender(batch_size: int) -> Contender:
    # The number of threads is part of the compiled code, but not of the name under which it is kept.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(LIBRARIES / f"inductor-{torch.get_num_threads()}")
    return loop(batch_size, partial(torch.compile, dynamic=False))
