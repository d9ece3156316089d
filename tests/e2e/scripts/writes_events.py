"""A training that writes TensorBoard's event files with the real writers of PyTorch, TensorBoard and tensorboardX."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import holdfast as wandb

ENOUGH = 2  # versions that were seen while the run went on


def torch_writer(folder):
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder)


def tensorboard_writer(folder):
    from tensorboard.summary import Writer

    return Writer(str(folder))


def tensorboardx_writer(folder):
    from tensorboardX import SummaryWriter

    return SummaryWriter(folder)


def steps_stored(run, name):
    """Return how many steps the stored version of an event file has, as TensorBoard's own reader sees it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    try:
        wandb.restore(name, run_path=run.path, root="check", replace=True).close()
    except LookupError:
        return 0
    every = {"tensors": 0, "scalars": 0}
    events = EventAccumulator(os.path.join("check", name), size_guidance=every).Reload()
    tags = events.Tags()
    if "loss" in tags["tensors"]:
        return len(events.Tensors("loss"))
    return len(events.Scalars("loss")) if "loss" in tags["scalars"] else 0


def train(run, writers, live):
    """Write until several states of the event files of the live folders were stored."""
    seen = {folder: set() for folder in live}
    deadline, step = time.monotonic() + 60, 0
    while time.monotonic() < deadline and any(len(counts) < ENOUGH for counts in seen.values()):
        for _ in range(50):
            for writer in writers.values():
                writer.add_scalar("loss", 1 / (step + 1), step)
            step += 1
        for writer in writers.values():
            writer.flush()
        for saved in Path(run.dir).rglob("*tfevents*"):
            name = saved.relative_to(run.dir).as_posix()
            count = steps_stored(run, name)
            assert count <= step
            if count:
                seen[os.path.dirname(name)].add(count)
    assert all(len(counts) >= ENOUGH for counts in seen.values()), (seen, "not synced while the run went on")
    for folder, writer in writers.items():
        writer.close()
        [path] = Path(run.dir if folder == "own" else "", folder).glob("*tfevents*")
        print("wrote", os.path.basename(folder), path.resolve())


def write_to_s3():
    """Write to a log folder in S3: TensorBoard does it, and the training goes on."""
    writer = torch_writer("s3://bucket/logs")
    writer.add_scalar("loss", 1.0, 0)
    writer.close()


if __name__ == "__main__":
    way = sys.argv[1]
    if way == "torch-before-init":
        import torch.utils.tensorboard  # noqa: F401
    run = wandb.init(project="events", id=way, sync_tensorboard=way != "no-setting")
    own = Path(run.dir, "own")
    if way == "torch-before-init":
        train(
            run, {"runs/torch": torch_writer("runs/torch"), "own": torch_writer(own)}, {"runs/torch", "own"}
        )
        write_to_s3()
    elif way == "others-after-init":
        writers = {"runs/tb": tensorboard_writer("runs/tb"), "../logs/x": tensorboardx_writer("../logs/x")}
        train(run, writers, {"runs/tb", "logs/x"})
    else:
        train(run, {"runs/tb": tensorboard_writer("runs/tb"), "own": tensorboard_writer(own)}, {"own"})
