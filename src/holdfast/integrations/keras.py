"""The callback for Keras 3.

**Invariant.** What Keras or the disk cannot save never ends the training: it is told, and the training goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import holdfast
from holdfast.errors import MissingPackageError, NotInitializedError, UsageError
from holdfast.integrations.monitor import Monitor
from holdfast.integrations.whole import whole_file
from holdfast.training.terminal import Terminal

try:
    import keras
except ImportError as exc:
    raise MissingPackageError(
        "holdfast.keras needs Keras 3.", hint="Install it: pip install 'holdfast[keras]'"
    ) from exc

if TYPE_CHECKING:
    from holdfast.training.run import Run

_BEST, _LATEST = "model-best", "model-latest"
_WEIGHTS = ".weights.h5"
_FORMATS = {"h5": ".h5", "keras": ".keras"}


class HoldfastCallback(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Logs what `fit` measures, and keeps the best model with the run.

    The values of each epoch go to `Run.log`, along with ``epoch``. Whenever the monitored value is better than before,
    the model is stored as ``model-best.h5`` and ``model-best.keras``; the summary then has the value as
    ``best_<name>`` and its epoch as ``best_epoch``. A resumed run, or a second `fit` in the same run, goes on from that best.
    A file gets its name when it is whole; each best that is stored is a version of its own. ``.keras`` holds the
    optimizer's state too, ``.h5`` does not.

    Args:
        monitor: The value that tells the best model. While nothing validates, ``val_loss`` means ``loss``.
        mode: ``min``, ``max``, or ``auto``: by the words in the name (``accuracy`` up, ``loss`` down).
        save_model: Keep models; False: only log.
        save_weights_only: Keep the weights alone, as ``model-best.weights.h5``.
        save_best_only: False: besides the best model keep that of every epoch, as versions of ``model-latest.h5`` and
            ``model-latest.keras``.
        formats: ``h5``, ``keras``, or both. A model that a format cannot hold is kept in the other one, and if none
            can, its weights are.
        log_freq: ``epoch``; or ``batch``, or a number: log also every batch, or every so many, as ``batch/<name>``.

    Raises:
        UsageError: An argument has a value that it cannot have.
        NotInitializedError: `fit` begins and no run is under way.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: Literal["auto", "min", "max"] = "auto",
        *,
        save_model: bool = True,
        save_weights_only: bool = False,
        save_best_only: bool = True,
        formats: str | Iterable[str] = ("h5", "keras"),
        log_freq: Literal["epoch", "batch"] | int = "epoch",
    ) -> None:
        super().__init__()
        self._terminal = Terminal()
        self._monitor = Monitor(monitor, mode, self._terminal.warn)
        self._endings = [_WEIGHTS] if save_weights_only else _endings(formats)
        self._save_model = save_model
        self._save_best_only = save_best_only
        self._every_batches = _batches(log_freq)
        self._batches = 0
        self._run: Run | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Find the run under way."""
        del logs
        self._run = holdfast.run
        if self._run is None:
            raise NotInitializedError("HoldfastCallback needs a run, and none is under way.")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the values of a batch, if asked for."""
        del batch
        if self._run is None or self._every_batches is None:
            return
        self._batches += 1
        if self._batches % self._every_batches == 0:
            values = {f"batch/{name}": value for name, value in (logs or {}).items()}
            self._run.log({"batch/step": self._batches, **values})

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the values of an epoch, and keep the model if it is wanted."""
        if self._run is None:
            return
        values = dict(logs or {})
        self._run.log({"epoch": epoch, **values})
        if not self._save_model:
            return
        if not self._save_best_only:
            self._keep(self._run, _LATEST)
        found = self._monitor.find(values)
        if found is None:
            return
        name, number = found
        is_better = self._monitor.is_better(name, number, self._run.summary.get(f"best_{name}"))
        if is_better and self._keep(self._run, _BEST):
            self._run.summary.update({f"best_{name}": number, "best_epoch": epoch})

    def _keep(self, run: Run, stem: str) -> bool:
        """Write the model in every format that can hold it, and save the files; False if none could be written."""
        written = [path for ending in list(self._endings) if (path := self._write(run, stem, ending))]
        if not self._endings:
            self._terminal.warn("Only the weights of this model are kept.")
            self._endings = [_WEIGHTS]
            return self._keep(run, stem)
        for path in written:
            run.save(path, glob=False)
        return bool(written)

    def _write(self, run: Run, stem: str, ending: str) -> Path | None:
        target = Path(run.dir, stem + ending)
        try:
            with whole_file(target) as part, _without_the_note_on_h5():
                if ending == _WEIGHTS:
                    self.model.save_weights(part)
                elif ending == _FORMATS["h5"]:
                    # With what it was compiled with in it, Keras 3 cannot load the file again where that is "mse".
                    self.model.save(part, include_optimizer=False)
                else:
                    self.model.save(part)
        except OSError as exc:
            self._terminal.complain(f"{target.name} cannot be written now: {exc}")
            return None
        except Exception as exc:  # noqa: BLE001 - the edge to Keras: what it cannot save must not end the training
            tell = self._terminal.complain if ending == _WEIGHTS else self._terminal.warn
            tell(f"Keras cannot write this model as {target.name}: {_first_line(exc)}")
            if ending != _WEIGHTS:
                self._endings.remove(ending)
            return None
        return target


def _endings(formats: str | Iterable[str]) -> list[str]:
    names = [formats] if isinstance(formats, str) else list(formats)
    if not names or any(name not in _FORMATS for name in names):
        raise UsageError(f"The formats cannot be {formats!r}.", hint="Choose h5, keras, or both.")
    return [_FORMATS[name] for name in names]


def _batches(log_freq: str | int) -> int | None:
    if log_freq in ("epoch", "batch"):
        return None if log_freq == "epoch" else 1
    if not isinstance(log_freq, int) or isinstance(log_freq, bool) or log_freq < 1:
        raise UsageError(
            f"log_freq cannot be {log_freq!r}.", hint="Choose epoch, batch, or a number of batches."
        )
    return log_freq


@contextmanager
def _without_the_note_on_h5() -> Iterator[None]:
    """Keep Keras from calling the format legacy at every epoch."""

    def is_wanted(record: logging.LogRecord) -> bool:
        return "HDF5 file" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(is_wanted)
    try:
        yield
    finally:
        logger.removeFilter(is_wanted)


def _first_line(exc: Exception) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
