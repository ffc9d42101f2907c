"""What a run shows while it trains."""

import sys
from pathlib import Path

import pytest

from lenet5.training.loop import Progress, Row
from lenet5.training.progress import Reporter


def test_the_time_left_is_that_of_epochs_since_a_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    rows = [Row(epoch, 0.5, 0.5, 0.5, 0.8, 0.8, 0.8) for epoch in range(1, 56)]
    reporter = Reporter("dropout", 100)
    reporter(Progress(rows[:50], resumed_from=50))
    reporter.bar.start_t -= 10  # seconds, for the next five epochs; 45 are left
    for count in range(51, 56):
        reporter(Progress(rows[:count], resumed_from=50))
    assert "55/100 [00:10<01:30" in str(reporter.bar)
    reporter.close("done")
    assert "resumed after epoch 50/100" in (tmp_path / "logs/dropout.log").read_text()
