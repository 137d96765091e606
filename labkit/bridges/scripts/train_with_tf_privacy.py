"""Account for and train the MNIST network with TensorFlow Privacy. Runs in its own environment, without labkit.

Its Keras optimisers divide by the size of the batch that came, which Poisson sampling makes a private quantity; the
library's own queries do not: a `NormalizedQuery` over a `GaussianSumQuery` divides by the expected size. So the clipping,
the noise and the division here are TensorFlow Privacy's, the loop around them is written out.
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_privacy.privacy.analysis import compute_dp_sgd_privacy_lib as analysis
from tensorflow_privacy.privacy.dp_query.gaussian_query import GaussianSumQuery
from tensorflow_privacy.privacy.dp_query.normalized_query import NormalizedQuery


def epsilon(setting, accountant):
    """Return the ε that TensorFlow Privacy's statement gives for Poisson sampling."""
    kind = getattr(analysis.AccountantType, accountant)
    text = analysis.compute_dp_sgd_privacy_statement(
        setting["n"],
        setting["batch_size"],
        setting["epochs"],
        setting["noise_multiplier"],
        setting["delta"],
        used_microbatching=False,
        accountant_type=kind,
    )
    return float(re.search(r"Poisson sampling[^:]*:\s*([\d.]+)", text).group(1))


def torch_layout(weights):
    """Return TensorFlow variables for weights as PyTorch stores them."""
    order = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
    return [tf.Variable(np.transpose(w, order[w.ndim])) for w in weights]


def back(variables):
    """Return weights as PyTorch stores them."""
    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    return [np.transpose(v.numpy(), order[len(v.shape)]) for v in variables]


def logits(variables, x):
    """Return the network's answers, (b, 10), for images (b, 28, 28, 1): `labkit.models.small_cnn` with tanh."""
    k1, b1, k2, b2, w3, b3, w4, b4 = variables
    padded = tf.pad(
        2 * x - 1, [[0, 0], [3, 3], [3, 3], [0, 0]]
    )  # conv2d's own padding has no per-record gradient
    h = tf.nn.conv2d(padded, k1, 2, "VALID") + b1
    h = tf.nn.max_pool2d(tf.tanh(h), 2, 1, "VALID")
    h = tf.nn.conv2d(h, k2, 2, "VALID") + b2
    h = tf.nn.max_pool2d(tf.tanh(h), 2, 1, "VALID")
    h = tf.reshape(tf.transpose(h, (0, 3, 1, 2)), (-1, 512))  # channels first, as PyTorch flattens
    return tf.tanh(h @ w3 + b3) @ w4 + b4


class Trainer:
    """DP-SGD with TensorFlow Privacy's queries."""

    def __init__(self, weights, clip, noise_multiplier, expected_batch_size):
        self.variables = torch_layout(weights)
        total = GaussianSumQuery(l2_norm_clip=clip, stddev=noise_multiplier * clip)
        self.query = NormalizedQuery(total, denominator=expected_batch_size)
        self.state = self.query.initial_global_state()
        self.gradient = tf.function(
            self._gradient,
            input_signature=[
                tf.TensorSpec([None, 28, 28, 1], tf.float32),
                tf.TensorSpec([None], tf.int64),
            ],
        )

    def _gradient(self, x, y):
        """Return the noised, normalised sum of clipped gradients of a batch."""
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits(self.variables, x))
        each = tape.jacobian(losses, self.variables)
        params = self.query.derive_sample_params(self.state)
        clipped = tf.vectorized_map(lambda record: self.query.preprocess_record(params, record), each)
        total = [tf.reduce_sum(part, 0) for part in clipped]
        result, _, _ = self.query.get_noised_result(total, self.state)
        return result

    def step(self, x, y, learning_rate):
        for variable, change in zip(self.variables, self.gradient(x, y), strict=True):
            variable.assign_sub(learning_rate * change)


def main(asked, found):
    request = json.loads(Path(asked).read_text(encoding="utf-8"))
    data = np.load(request["arrays"])
    weights = [data[f"w{i}"] for i in range(8)]
    x, y = data["train_x"].transpose(0, 2, 3, 1), data["train_y"]
    test_x, test_y = data["test_x"].transpose(0, 2, 3, 1), data["test_y"]
    answer = {"epsilons": [{k: epsilon(s, k) for k in ("RDP", "PLD")} for s in request["settings"]]}

    check = request["check"]
    trainer = Trainer(weights, check["max_grad_norm"], 0.0, check["expected_batch_size"])
    for batch in check["batches"]:
        trainer.step(x[batch], y[batch], check["learning_rate"])
    np.savez(request["checked"], *back(trainer.variables))

    training, right = request["training"], []
    for seed in training["seeds"]:
        tf.random.set_seed(seed)
        rng = np.random.default_rng(seed)
        trainer = Trainer(
            [data[f"w{i}"] for i in range(8)],
            training["max_grad_norm"],
            training["noise_multiplier"],
            training["expected_batch_size"],
        )
        for _ in range(training["steps"]):
            joins = rng.random(len(x)) < training["expected_batch_size"] / len(x)
            trainer.step(x[joins], y[joins], training["learning_rate"])
        shown = np.concatenate([logits(trainer.variables, part) for part in np.array_split(test_x, 10)])
        right.append(float((shown.argmax(1) == test_y).mean()))
    answer["accuracies"] = right
    Path(found).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
