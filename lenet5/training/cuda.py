"""Training steps on a GPU, captured once per learning rate and replayed: launching the kernels of a small step one by
one takes longer than running them.

See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from lenet5.support.errors import UserError

WARM_UP = 3  # steps before the capture, in which libraries choose kernels and allocate memory


def require_gpu() -> None:
    """Raise UserError if PyTorch cannot use a GPU."""
    if not torch.cuda.is_available():
        raise UserError(
            f"train.device is cuda, but PyTorch {torch.__version__} finds no GPU. Set `device: cpu` in params.yaml, "
            "or install the GPU's driver, delete .venv and run `make environment TORCH=cuda`."
        )


@functools.cache
def capture_stream() -> torch.cuda.Stream:
    """Return the stream of all captures: cuBLAS keeps a separate workspace for each stream that it has used."""
    return torch.cuda.Stream()


class CapturedStep:
    """A function `step(batch)` of index vectors (int64 B on the GPU) that replays full batches from a CUDA graph.

    The first few batches, and a smaller last batch of an epoch, run without the graph. Calls do not synchronise with
    the GPU. Values that `step` reads on the CPU, such as the learning rate, stay as they were at the capture.
    """

    def __init__(self, step: Callable[[Tensor], None], batch_size: int) -> None:
        self.step = step
        self.batch = torch.empty(batch_size, dtype=torch.int64, device="cuda")
        self.stream = capture_stream()
        self.graph: torch.cuda.CUDAGraph | None = None
        self.steps = 0

    def __call__(self, batch: Tensor) -> None:
        if len(batch) < len(self.batch):
            self.step(batch)
        elif self.steps < WARM_UP:
            self.steps += 1
            current = torch.cuda.current_stream()
            self.stream.wait_stream(current)
            with torch.cuda.stream(self.stream):
                self.step(batch)
            current.wait_stream(self.stream)
        else:
            if self.graph is None:
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph, stream=self.stream):  # records, runs nothing
                    self.step(self.batch)
            self.batch.copy_(batch)
            self.graph.replay()
