"""LeNet-5 in JAX. The images stay on the device as bytes, and a training step, from selecting the batch to Adam, is one
compiled function. On a CPU, XLA runs a convolution inside `lax.scan` without its threads, so the loop over steps is in
Python; it never waits between steps.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks.contenders import Contender, Scores
from lenet5.data.dataset import Split, load_split

EVALUATED = 200  # images; shares of 0.1, 0.2 and 1.0 are multiples, so that no smaller batch is compiled

Parameters = list[tuple[Any, Any]]


def initial(key: Any) -> Parameters:
    """Return weights and biases, distributed as PyTorch's."""
    shapes = [(5, 5, 1, 6), (5, 5, 6, 16), (400, 120), (120, 84), (84, 10)]
    draw = partial(jax.random.uniform, minval=-1, maxval=1)
    parameters = []
    for shape, layer in zip(shapes, jax.random.split(key, len(shapes)), strict=True):
        bound = np.prod(shape[:-1]) ** -0.5
        weight, bias = jax.random.split(layer)
        parameters.append((bound * draw(weight, shape), bound * draw(bias, shape[-1:])))
    return parameters


def block(maps: Any, weight: Any, bias: Any) -> Any:
    """Return convolution, ReLU, 2x2 average pooling: N x H x H x C to N x P x P x K, where P = (H - 4) / 2."""
    maps = lax.conv_general_dilated(maps, weight, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    n, height, width, channels = maps.shape
    return jax.nn.relu(maps + bias).reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def logits_of(parameters: Parameters, images: Any) -> Any:
    c1, c3, c5, f6, output = parameters
    values = block(block(images.astype(jnp.float32) / 255, *c1), *c3).reshape(len(images), -1)
    for weight, bias in (c5, f6):
        values = jax.nn.relu(values @ weight + bias)
    return values @ output[0] + output[1]


def loss_of(parameters: Parameters, images: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits_of(parameters, images), labels).mean()


def contender(batch_size: int) -> Contender:
    adam = optax.adam(0.01)
    parameters = initial(jax.random.key(0))
    state = adam.init(parameters)
    data = {name: on_device(load_split(name)) for name in ("train", "validation", "test")}
    random = np.random.default_rng(0)

    def update(parameters: Parameters, state: Any, images: Any, labels: Any, batch: Any) -> tuple[Parameters, Any]:
        gradient = jax.grad(loss_of)(parameters, images[batch], labels[batch])
        change, state = adam.update(gradient, state)
        return optax.apply_updates(parameters, change), state

    def judge(parameters: Parameters, images: Any, labels: Any, batch: Any) -> tuple[Any, Any]:
        """Return the summed loss and the number of correct predictions."""
        logits, labels = logits_of(parameters, images[batch]), labels[batch]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.sum(), (logits.argmax(1) == labels).sum()

    compiled_update = jax.jit(update, donate_argnums=(0, 1))
    compiled_judge = jax.jit(judge)

    def train(share: float) -> None:
        nonlocal parameters, state
        order = random.permutation(round(share * len(data["train"][1])))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            parameters, state = compiled_update(parameters, state, *data["train"], batch)
        jax.block_until_ready(parameters)

    def evaluate(share: float) -> Scores:
        means = {}
        for name, split in data.items():
            indices = np.arange(round(share * len(split[1])))
            batches = [indices[start : start + EVALUATED] for start in range(0, len(indices), EVALUATED)]
            sums = np.array([compiled_judge(parameters, *split, batch) for batch in batches]).sum(0)
            means[name] = sums / len(indices)
        return Scores(float(means["train"][0]), float(means["test"][1]))

    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    return Contender(count, len(data["train"][1]), train, evaluate)


def on_device(split: Split) -> tuple[Any, Any]:
    """Return images, uint8 N x 32 x 32 x 1, and labels."""
    return jnp.asarray(split.images.permute(0, 2, 3, 1).numpy()), jnp.asarray(split.labels.int().numpy())
