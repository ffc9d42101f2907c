"""LeNet-5 in Keras, on TensorFlow: as peer_keras.py does it."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # read when Keras is imported
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"  # errors only

from benchmarks.peer_keras import contender

__all__ = ["contender"]
