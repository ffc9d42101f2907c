"""Progress of a run: a bar on a terminal, plain lines elsewhere, and a log with times in logs/."""

import sys
import time
from pathlib import Path

from tqdm import tqdm

from lenet5.support.files import cannot_write
from lenet5.training.loop import Progress

LOGS = Path("logs")


class Reporter:
    """A callback for `train` that prints and logs each epoch. Times appear here only, never in a result.

    images: the name of the split whose accuracy is shown as test accuracy.
    """

    def __init__(self, technique: str, epochs: int, images: str = "test") -> None:
        self.technique = technique
        self.images = images
        self.epochs = epochs
        # Without smoothing, the time left is estimated from all epochs of this process, and from no others.
        self.bar = tqdm(
            total=epochs, disable=not sys.stderr.isatty(), desc=technique, unit="epoch", smoothing=0, miniters=1
        )
        self.started = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        row = progress.rows[-1]
        metrics = f"train loss {row.train_loss:.4f}, validation loss {row.validation_loss:.4f}"
        metrics += f", {self.images} accuracy {100 * row.test_accuracy:.2f} %"
        if row.epoch == progress.resumed_from:
            self.bar.initial = row.epoch
            line = f"resumed after epoch {row.epoch}/{self.epochs}: {metrics}"
        else:
            seconds = (time.monotonic() - self.started) / (row.epoch - progress.resumed_from)
            left = seconds * (self.epochs - row.epoch) / 60
            line = f"epoch {row.epoch}/{self.epochs}: {metrics}, {seconds:.1f} s per epoch, {left:.1f} min left"
        self.bar.set_postfix_str(metrics, refresh=False)
        self.bar.update(row.epoch - self.bar.n)
        self._write(line, on_terminal=False)

    def close(self, line: str) -> None:
        """End the bar and print the result of the run."""
        self.bar.close()
        self._write(line)

    def _write(self, line: str, *, on_terminal: bool = True) -> None:
        if on_terminal or self.bar.disable:
            print(f"{self.technique}: {line}", flush=True)
        path = LOGS / f"{self.technique}.log"
        try:
            LOGS.mkdir(exist_ok=True)
            with path.open("a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {line}\n")
        except OSError as error:
            raise cannot_write(path, error) from None
