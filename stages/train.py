"""Train LeNet-5 with one technique: `python -m stages.train dropout`.

data/prepared -> models/<technique>.pt, the weights of the epoch with the lowest validation loss, and
metrics/curves/<technique>.csv, a row an epoch, written as the epochs end. Killed, it goes on from the last whole epoch
when it is started again, and ends with the same bytes.
"""

import argparse
from typing import Any

import torch

from stages import process
from stages.checkpoint import exclusive, identity
from stages.cuda import require_gpu
from stages.dataset import load_split
from stages.errors import UserError
from stages.files import write_atomically
from stages.params import TrainSettings, load_params, technique_settings
from stages.paths import CURVES, MODELS
from stages.progress import Reporter
from stages.tensors import save_tensors, tensors_digest
from stages.training import Data, Progress, curve_csv, train


def model_file(technique: str, settings: TrainSettings, origin: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """What models/<technique>.pt holds: the weights, what rebuilds the model, and where it came from."""
    best = progress.best
    return {
        "architecture": "LeNet5",
        "arguments": {"batch_norm": settings.batch_norm, "dropout": settings.dropout},
        "state_dict": progress.best_weights,
        "weights_sha256": tensors_digest(progress.best_weights),
        "technique": technique,
        "epoch": best.epoch,
        "validation_loss": best.validation_loss,
        "origin": origin,
    }


def main(technique: str) -> None:
    process.set_up()
    settings = technique_settings(load_params(), technique)
    if settings.device == "cuda":
        require_gpu()
    data = Data(*(load_split(name) for name in Data._fields))
    origin = {
        "settings": settings.model_dump(),
        "data_sha256": {name: split.digest() for name, split in data._asdict().items()},
        "torch": torch.__version__.split("+")[0],  # the same for CPU and CUDA builds
    }
    curve = CURVES / f"{technique}.csv"
    reporter = Reporter(technique, settings.epochs)

    def after_epoch(progress: Progress) -> None:
        write_atomically(curve, curve_csv(progress.rows))
        reporter(progress)

    with exclusive(technique, identity(**origin)) as checkpoint:
        try:
            progress = train(settings, data, checkpoint, after_epoch)
        except UserError as error:
            raise UserError(f"{technique}: {error}") from None
        save_tensors(MODELS / f"{technique}.pt", model_file(technique, settings, origin, progress))
        checkpoint.delete()
    reporter.close(
        f"kept epoch {progress.best.epoch} of {settings.epochs}: validation loss {progress.best.validation_loss:.4f}, "
        f"test loss {progress.best.test_loss:.4f}, test accuracy {100 * progress.best.test_accuracy:.2f} %"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.train", description=__doc__.partition(":")[0])
    parser.add_argument("technique", help="a name under `techniques` in params.yaml")
    main(parser.parse_args().technique)
