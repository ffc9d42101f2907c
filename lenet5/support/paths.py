"""The paths that the stages share, as in dvc.yaml."""

from pathlib import Path

PARAMS = Path("params.yaml")
VALID = Path("data/params.valid")
RAW = Path("data/raw")
PREPARED = Path("data/prepared")
MODELS = Path("models")
METRICS = Path("metrics")
CURVES = METRICS / "curves"
EVALUATION = METRICS / "evaluation"
PREDICTIONS = METRICS / "predictions"
CONFUSION = METRICS / "confusion"
