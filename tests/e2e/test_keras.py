"""S14: Keras 3 as it is, with torch behind it."""

from __future__ import annotations

import json

from holdfast.names import RunPath
from tests.e2e.harness import ENTITY, all_files, read_file


def test_s14_the_best_model_is_saved_by_itself_and_predicts_the_same_on_another_machine(machine):
    machine.use(machine.server().url)
    machine.env["KERAS_BACKEND"] = "torch"

    assert machine.run("trains_keras.py", "train", timeout=110) == 0, machine.output

    directories = machine.directories()
    for directory in directories:
        assert machine.wait_until_ended(directory).missing == {}
        assert list(directory.path.glob("part-*")) == []
    vault = machine.vault()
    best, others = RunPath(ENTITY, "keras", "best"), RunPath(ENTITY, "keras", "others")
    models = {"model-best.h5", "model-best.keras", "model.h5", "untouched.npy"}
    assert {name for name in all_files(vault, best) if not name.endswith((".json", ".jsonl"))} >= models
    rows = [json.loads(line) for line in read_file(vault, best, "history.jsonl").splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 0, 1, 2]
    assert rows[1]["val_loss"] == "NaN"
    assert {"loss", "mae", "closeness_score", "val_mae"} <= set(rows[0])
    kept = set(all_files(vault, others))
    assert {"model-best.weights.h5", "model-latest.weights.h5"} <= kept
    assert not {"model-best.h5", "model-best.keras"} & kept
    rows = [json.loads(line) for line in read_file(vault, others, "history.jsonl").splitlines()]
    assert [row["batch/step"] for row in rows if "batch/step" in row] == [2, 4, 6, 8]
    vault.close()
    said = machine.output
    assert "without init: HoldfastCallback needs a run" in said
    assert "val_loss is nan; a model with that is never the best" in said
    assert "There is no val_loss; the best model is told by loss" in said
    assert "Keras cannot write this model as model-best.keras: Object Unsavable" in said
    assert "Only the weights of this model are kept" in said

    fresh = machine.base / "fresh"
    fresh.mkdir()
    expected = machine.cwd / "expected.npy"
    assert machine.run("trains_keras.py", "resume", str(expected), cwd=fresh, timeout=110) == 0, (
        machine.output
    )
