"""Which value tells the best model, and when it is better."""

from __future__ import annotations

import pytest

from holdfast.errors import UsageError
from holdfast.integrations.monitor import Monitor


@pytest.fixture
def said():
    return []


def test_without_validation_the_loss_of_the_training_stands_in_and_that_is_said_once(said):
    monitor = Monitor("val_loss", "auto", said.append)

    assert [monitor.find({"loss": value}) for value in (3.0, 2.0)] == [("loss", 3.0), ("loss", 2.0)]
    assert said == ["There is no val_loss; the best model is told by loss."]


def test_once_something_validates_an_epoch_without_it_has_no_value(said):
    monitor = Monitor("val_loss", "auto", said.append)
    monitor.find({"loss": 1.0, "val_loss": 2.0})

    assert monitor.find({"loss": 0.1}) is None
    assert said == []


def test_a_value_that_nothing_reports_is_told_along_with_what_is_reported(said):
    monitor = Monitor("val_speed", "max", said.append)

    assert monitor.find({"mae": 1.0, "loss": 2.0}) is None
    assert said == ["There is no val_speed to tell the best model by; what is reported: loss, mae."]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None, "low", [1.0, 2.0]])
def test_what_is_no_finite_number_is_never_the_best(value, said):
    assert Monitor("loss", "min", said.append).find({"loss": value}) is None
    assert len(said) == 1


@pytest.mark.parametrize(
    ("name", "mode", "more_is_better"),
    [
        ("val_loss", "auto", False),
        ("dice_loss", "auto", False),
        ("val_sparse_categorical_accuracy", "auto", True),
        ("auc", "auto", True),
        ("mean_absolute_error", "auto", False),
        ("val_accuracy", "min", False),
        ("loss", "max", True),
    ],
)
def test_the_direction_follows_the_mode_or_else_the_name(name, mode, more_is_better, said):
    monitor = Monitor(name, mode, said.append)

    assert monitor.is_better(name, 2.0, 1.0) is more_is_better
    assert monitor.is_better(name, 1.0, 2.0) is not more_is_better
    assert not monitor.is_better(name, 1.0, 1.0)
    assert said == []


def test_a_name_that_tells_no_direction_means_less_and_is_told(said):
    monitor = Monitor("wobble", "auto", said.append)

    assert monitor.is_better("wobble", 1.0, 2.0)
    assert said == ["It is taken that less wobble is better; pass mode='max' if more is."]


@pytest.mark.parametrize("best", [None, "NaN", float("nan"), True])
def test_anything_is_better_than_no_number(best, said):
    assert Monitor("loss", "auto", said.append).is_better("loss", 5.0, best)


def test_an_unknown_mode_is_refused(said):
    with pytest.raises(UsageError, match="no mode 'up'"):
        Monitor("loss", "up", said.append)
