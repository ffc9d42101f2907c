"""Training steps on a GPU: captured once for a learning rate and replayed, since to launch the kernels of a small step
one by one takes longer than to run them.

How and why: https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from stages.errors import UserError

WARM_UP = 3  # steps before the capture, in which libraries choose kernels and allocate


def require_gpu() -> None:
    """Raises UserError when PyTorch can use none."""
    if not torch.cuda.is_available():
        raise UserError(
            f"train.device is cuda, but PyTorch {torch.__version__} sees no GPU. Set `device: cpu` in params.yaml, "
            "or install the GPU's driver and, into .venv, PyTorch's build for it (https://pytorch.org/get-started)."
        )


@functools.cache
def capture_stream() -> torch.cuda.Stream:
    """One for all captures: cuBLAS keeps a workspace of its own for each stream it has met."""
    return torch.cuda.Stream()


class CapturedStep:
    """`step(batch)` for int64 index vectors on the GPU. Whole batches are replayed from a CUDA graph, after the first
    few, which are steps like any other; a smaller batch, the last of an epoch, runs as it is. Nothing waits for the
    GPU. The graph keeps the numbers that `step` reads on the CPU as they were when it was captured."""

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
