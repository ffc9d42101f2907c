"""The comparison of techniques with the baseline."""

import numpy as np

from replication.analyse import against_baseline, verdict
from replication.analysis.results import Replicates, packed


def replicates(correct: list[list[bool]], first_seed: int = 0) -> Replicates:
    """Return replicates of consecutive seeds, given which images each of them classifies correctly."""
    return Replicates(
        [
            {
                "seed": seed,
                "test_images": len(row),
                "test_correct": packed(np.array(row)),
                "test_accuracy": np.mean(row),
                "test_loss": 0.3,
                "test_calibration_error": 0.01,
                "train_accuracy": 0.9,
                "chosen_epoch": 3,
            }
            for seed, row in enumerate(correct, start=first_seed)
        ]
    )


def test_a_comparison_uses_the_seeds_that_both_have() -> None:
    baseline = replicates([[True, False, False, True]] * 3)
    ours = replicates([[True, True, False, True]] * 4, first_seed=1)
    result = against_baseline({"baseline": baseline, "other": ours}, margin=0.2)["other"]
    assert result["n"] == 2
    assert result["difference"] == 25
    assert result["interval"] == [25, 25]
    low, high = result["interval_new_images"]
    assert low <= 25 <= high


def test_the_verdict_follows_the_plan() -> None:
    assert verdict(0.01, 0.5, None) == "helps"
    assert verdict(0.01, -0.5, None) == "hurts"
    assert verdict(0.5, 0.01, 0.001) == "no difference"
    assert verdict(0.5, 0.01, 0.5) == "open"
