"""Adding a file to a run from outside its training."""

from __future__ import annotations

import os
import time
from pathlib import Path

from holdfast.api.files import RunAt
from holdfast.errors import LocalFileError, UsageError
from holdfast.names import check_file_name
from holdfast.sync.jobs import Done, Failed, Job, NotReady, Outcome, Progress, ReadRule
from holdfast.sync.upload import Uploader

PATIENCE_S = 10.0
"""How long a file that is being written is waited for until it is stored as it is."""
_LOOK_S = 0.1


def name_below(path: Path, root: Path) -> str:
    """Return the name that a local file gets in a run.

    Raises:
        UsageError: It does not lie below ``root``.
        InvalidNameError: No file of a run can have this name.
    """
    relative = os.path.relpath(path.absolute(), root.absolute())
    if Path(relative).parts[:1] in ((), (os.pardir,)):
        raise UsageError(
            f"{path} is not a file below {root.absolute()}.", hint="Pass the folder that it lies in as root."
        )
    return check_file_name(Path(relative).as_posix())


def upload(at: RunAt, path: Path, name: str) -> Done:
    """Store a file as the newest version of a name; it is durable when this returns.

    Raises:
        StoredFileNotFoundError: There is no such local file.
        LocalFileError: It cannot be read.
        VaultFullError: The vault's disk is (nearly) full.
        VaultUnavailableError: The vault cannot be reached.
    """
    uploader = Uploader(at.vault, at.path, None, progress=Progress())
    give_up = time.monotonic() + PATIENCE_S
    rule = ReadRule.SETTLED
    while True:
        match _store(uploader, Job(name, path, rule, policy="now", quiet_s=0.0)):
            case Done() as done:
                return done
            case Failed(_, error):
                raise error
            case NotReady(_, reason):
                if rule is ReadRule.ANYWAY:
                    raise LocalFileError(f"{path} cannot be stored: {reason}.")
                if time.monotonic() > give_up or _age_s(path) > PATIENCE_S:
                    rule = ReadRule.ANYWAY
                else:
                    time.sleep(_LOOK_S)


def _store(uploader: Uploader, job: Job) -> Outcome:
    [outcome] = uploader.store([job])
    return outcome


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0  # the next try says what is wrong
