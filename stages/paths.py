"""Where the stages find each other's files, as dvc.yaml says it."""

from pathlib import Path

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
MODELS = Path("models")
METRICS = Path("metrics")
CURVES = METRICS / "curves"
EVALUATION = METRICS / "evaluation"
PREDICTIONS = METRICS / "predictions"
CONFUSION = METRICS / "confusion"
