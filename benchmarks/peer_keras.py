"""LeNet-5 in Keras: `compile`, `fit` and `evaluate` as in its guides, on arrays in memory. On JAX, unless imported by
peer_tensorflow.py."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported

import keras
from keras import layers

from benchmarks.contenders import Contender, Scores
from lenet5.data.dataset import load_split
from lenet5.preparation.prepare import take


def contender(batch_size: int) -> Contender:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((32, 32, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 5, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Conv2D(16, 5, activation="relu"),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dense(120, activation="relu"),
            layers.Dense(84, activation="relu"),
            layers.Dense(10),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    data = {name: load_split(name) for name in ("train", "validation", "test")}

    def train(share: float) -> None:
        images, labels = (part.numpy() for part in take(data["train"], share))
        model.fit(images.transpose(0, 2, 3, 1), labels, batch_size=batch_size, verbose=0)

    def evaluate(share: float) -> Scores:
        scores = {}
        for name, split in data.items():
            images, labels = (part.numpy() for part in take(split, share))
            scores[name] = model.evaluate(images.transpose(0, 2, 3, 1), labels, batch_size=200, verbose=0)
        return Scores(scores["train"][0], scores["test"][1])

    return Contender(model.count_params(), len(data["train"].labels), train, evaluate)
