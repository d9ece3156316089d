"""A training with Keras: the callback in all the ways that it is used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import keras
import numpy as np

import holdfast as wandb

x = np.random.default_rng(7).normal(size=(64, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)


@keras.saving.register_keras_serializable()
def closeness_score(true, predicted):
    return -keras.ops.abs(true - predicted)


def network(loss="mse", metrics=("mae", closeness_score)):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    model.compile("adam", loss, metrics=list(metrics))
    return model


class Unsavable(keras.Model):
    """Made of a function, so that Keras cannot write it down."""

    def __init__(self, function):
        super().__init__()
        self.dense, self.function = keras.layers.Dense(1), function

    def call(self, inputs):
        return self.function(self.dense(inputs))


class Spoiled(keras.callbacks.Callback):
    """Makes the second epoch's validation NaN, and the third one's the worst; comes before the callback of ours."""

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = {0: 0.5, 1: float("nan"), 2: 9.0, 3: 0.25}[epoch]


def fit(model, *callbacks, epochs=1, **options):
    return model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks), **options)


def train():
    try:
        fit(network(), wandb.keras.HoldfastCallback())
    except wandb.HoldfastError as exc:
        print("without init:", exc)
    run = wandb.init(project="keras", id="best")
    model = network()
    history = fit(model, Spoiled(), wandb.keras.HoldfastCallback(), epochs=4, validation_split=0.25)
    assert run.summary["best_val_loss"] == 0.25, dict(run.summary)
    assert run.summary["best_epoch"] == 3
    assert run.summary["mae"] == history.history["mae"][-1]
    np.save("expected.npy", model.predict(x, verbose=0))
    np.save(os.path.join(run.dir, "untouched.npy"), x)
    model.save(os.path.join(run.dir, "model.h5"))
    before = Path(run.dir, "model-best.h5").read_bytes()
    fit(model, Spoiled(), wandb.keras.HoldfastCallback(), epochs=3, validation_split=0.25)
    assert Path(run.dir, "model-best.h5").read_bytes() == before  # the run's best is not beaten by 0.5
    run.finish()

    run = wandb.init(project="keras", id="others")
    callback = wandb.keras.HoldfastCallback(
        "closeness_score", save_weights_only=True, save_best_only=False, log_freq=2
    )
    fit(network(), callback, epochs=2)
    fit(network(), wandb.keras.HoldfastCallback("val_closeness_score", "max", save_model=False), epochs=1)
    odd = Unsavable(lambda value: value * 2)
    odd.compile("adam", "mse")
    fit(odd, wandb.keras.HoldfastCallback(formats="keras"))
    run.finish()


def resume():
    run = wandb.init(project="keras", id="best", resume="must")
    best = wandb.restore("model-best.h5")
    expected = np.load(sys.argv[2])
    for name in ("model-best.keras", "model-best.h5"):
        model = keras.models.load_model(wandb.restore(name).name)
        assert np.allclose(model.predict(x, verbose=0), expected, atol=1e-5), name
    again = network()
    again.load_weights(best.name)
    assert np.allclose(again.predict(x, verbose=0), expected, atol=1e-5)
    fit(again, Spoiled(), wandb.keras.HoldfastCallback(), epochs=3, validation_split=0.25)
    assert run.summary["best_val_loss"] == 0.25, dict(run.summary)  # the best of the earlier process stands


if __name__ == "__main__":
    {"train": train, "resume": resume}[sys.argv[1]]()
