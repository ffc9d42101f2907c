"""LeNet-5 in Keras, on TensorFlow: as peer_keras.py does it."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # read when Keras is imported

from benchmarks.peer_keras import contender

__all__ = ["contender"]
