"""The public calls: they work on the run under way, and know which vault the settings mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, overload

from holdfast.errors import NotInitializedError, UsageError
from holdfast.names import RunPath, check_file_name
from holdfast.settings import Settings, given_settings, load_settings
from holdfast.training.absent import MEDIA, WITHOUT_EFFECT, Absences
from holdfast.training.ending import FinishReport
from holdfast.training.records import Config, Summary
from holdfast.training.run import Run
from holdfast.training.saved import SavedFiles
from holdfast.training.start import start_run
from holdfast.training.surroundings import in_notebook
from holdfast.training.terminal import Terminal

if TYPE_CHECKING:
    from holdfast.times import Which

StrPath = str | bytes | os.PathLike[str]


class _Current:
    """The run under way: the one piece of state that calls without a run need."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self.absences = Absences()

    def get(self) -> Run | None:
        return self._run if self._run is not None and not self._run.is_finished else None

    def set(self, run: Run) -> None:
        self._run = run

    def need(self, call: str) -> Run:
        run = self.get()
        if run is None:
            raise NotInitializedError(f"{call} needs a run, and none is under way.")
        return run


_current = _Current()


def init(  # noqa: PLR0917 - the order of W&B's init is what scripts were written for
    project: str | None = None,
    entity: str | None = None,
    name: str | None = None,
    id: str | None = None,  # noqa: A002 - the word that W&B scripts use
    resume: Literal["allow", "must", "never", "auto"] | bool | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 - as above
    config: Mapping[str, Any] | Any = None,
    mode: Literal["online", "offline", "disabled"] | None = None,
    notes: str | None = None,
    tags: Sequence[str] | None = None,
    group: str | None = None,
    job_type: str | None = None,
    base_url: str | None = None,
    settings: Mapping[str, Any] | Settings | None = None,
    reinit: bool | Literal["default", "return_previous", "finish_previous"] | None = None,
    sync_tensorboard: bool | None = None,
    save_code: bool | None = None,
) -> Run:
    """Begin a run.

    Makes the run directory, starts the syncer and returns, without waiting for the network. With ``resume`` it waits
    until the vault has answered, and takes up the run's config, summary and step.

    Args:
        project: Project of the run.
        entity: Entity of the run; None: the one of the login.
        name: Display name; None: the vault gives a readable one.
        id: Run id; None: a new random one.
        resume: If the run id exists: ``allow`` continues it, ``must`` demands it, ``never`` refuses. ``auto`` (or
            True) continues the last run of this folder and project if that did not end well. None: a run with this
            id is continued without taking up its values.
        dir: Folder in which the run directory is made, as ``holdfast/run-...``.
        config: What `Run.config` is to hold: a mapping, an object with attributes such as ``argparse.Namespace``, or
            the path of a YAML file. It wins over what a resumed run had.
        mode: ``offline`` keeps everything local until `holdfast sync`; ``disabled`` does nothing at all.
        notes: Notes on the run.
        tags: Tags of the run.
        group: Group of the run.
        job_type: Job type of the run.
        base_url: URL of the server; None: as configured, else the embedded vault.
        settings: Further settings: by name, or a `Settings`, of which counts what is not the default. The arguments
            above win over them.
        reinit: What to do if a run is under way: True or ``finish_previous``: finish it and begin another. False or
            ``return_previous``: return it. None or ``default``: return it with a notice; in a notebook, finish it, since
            there a cell that runs again means a run anew.
        sync_tensorboard: Save the event files that TensorBoard's writers make from now on, wherever they lie; see
            `holdfast.tensorboard.patch`.
        save_code: Keep uncommitted changes, unpushed commits and small untracked files of the git repository.

    Returns:
        The run.

    Raises:
        SettingsError: A setting does not exist, or has a value that it cannot have.
        UsageError: The id, project or entity is not a valid name, or the config file cannot be read.
        LocalFileError: The run directory cannot be made.
        RunNotFoundError: ``resume="must"`` and there is no such run.
        RunExistsError: ``resume="never"`` and the run exists.
        VaultUnavailableError: ``resume`` is must or never, and the vault did not answer within the setting ``init_timeout``.
    """
    under_way = _current.get()
    if under_way is not None and not _finishes_previous(reinit):
        if reinit not in (False, "return_previous"):
            Terminal().warn(
                f"Run {under_way.id} is under way; init() returns it. Call finish() to begin another."
            )
        return under_way
    given = {
        "project": project,
        "entity": entity,
        "name": name,
        "run_id": id,
        "resume": {True: "auto", False: None}[resume] if isinstance(resume, bool) else resume,
        "dir": None if dir is None else Path(dir),
        "mode": mode,
        "notes": notes,
        "tags": None if tags is None else (tags,) if isinstance(tags, str) else tuple(tags),
        "run_group": group,
        "job_type": job_type,
        "base_url": base_url,
        "sync_tensorboard": sync_tensorboard,
        "save_code": save_code,
    }
    arguments = {key: value for key, value in given.items() if value is not None}
    found = load_settings(**{**given_settings(settings), **arguments})
    if under_way is not None:
        under_way.finish()
    run = start_run(found, config=config, restorer=_restore)
    _current.set(run)
    if found.sync_tensorboard and run.mode != "disabled":
        from holdfast.integrations.tensorboard import patch

        patch()
    return run


@overload
def save() -> bool: ...
@overload
def save(
    glob_str: StrPath | None = None,
    base_path: StrPath | None = None,
    policy: Literal["live", "now", "end"] = "live",
    *,
    path: StrPath | None = None,
    glob: bool = True,
    keep_local: Literal["always", "until_stored"] = "always",
) -> SavedFiles: ...
def save(
    glob_str: StrPath | None = None,
    base_path: StrPath | None = None,
    policy: Literal["live", "now", "end"] = "live",
    *,
    path: StrPath | None = None,
    glob: bool = True,
    keep_local: Literal["always", "until_stored"] = "always",
) -> SavedFiles | bool:
    """Keep files with the run under way; see `Run.save`. Raises `NotInitializedError` if there is none."""
    return _current.need("save()").save(
        glob_str, base_path, policy, path=path, glob=glob, keep_local=keep_local
    )


def log(data: Mapping[str, Any], step: int | None = None, commit: bool | None = None) -> None:
    """Log values to the run under way; see `Run.log`. Raises `NotInitializedError` if there is none."""
    _current.need("log()").log(data, step, commit)


def finish(
    exit_code: int | None = None, timeout: float | None = None, strict: bool | None = None
) -> FinishReport | None:
    """Finish the run under way; see `Run.finish`. Does nothing and returns None if there is none."""
    run = _current.get()
    return None if run is None else run.finish(exit_code, timeout, strict)


def restore(
    name: str,
    run_path: str | None = None,
    replace: bool = False,
    root: str | os.PathLike[str] | None = None,
    *,
    version: Which | None = None,
    mode: str = "rb",
) -> IO[Any]:
    """Get a file of a run back from the vault, every byte verified, and open it for reading.

    Works without a run under way if ``run_path`` is given; ``root`` is then the working directory by default. It
    writes nothing on the vault. See `Run.restore`.

    Raises:
        UsageError: Neither ``run_path`` nor a resumed run.
        RunNotFoundError: There is no such run.
        StoredFileNotFoundError: The run has no such file.
        TargetExistsError: There is a local file with other content and ``replace`` is False.
    """
    run = _current.get()
    if run is not None and not (run.mode == "disabled" and run_path is not None):
        return run.restore(name, run_path, replace, root, version=version, mode=mode)
    if run_path is None:
        raise UsageError(
            "restore() does not know from which run.",
            hint='Pass run_path="entity/project/run_id", or resume a run first: init(id=..., resume="must").',
        )
    return _restore(
        load_settings(),
        check_file_name(name),
        run_path,
        root=Path.cwd() if root is None else Path(root).absolute(),
        replace=replace,
        version=version,
        mode=mode,
        announce=None,
    )


def _finishes_previous(reinit: bool | str | None) -> bool:
    known = {True: True, "finish_previous": True, False: False, "return_previous": False}
    if reinit in (None, "default"):
        return in_notebook()
    if reinit not in known:
        raise UsageError(
            f"init() does not know reinit={reinit!r}.", hint='Use "finish_previous" or "return_previous".'
        )
    return known[reinit]


def login(key: str | None = None, host: str | None = None, **ignored: Any) -> bool:
    """Log in to a server from within a script, as `holdfast login` does on the shell. Waits for the network.

    Args:
        key: The API key. None: keep to the one that is there, else `HOLDFAST_API_KEY`.
        host: URL of the server. None: the configured one.
        **ignored: Accepted for the sake of W&B scripts.

    Returns:
        Whether there is a server to which runs go; False if runs go to the embedded vault, which needs no login.

    Raises:
        UnauthorizedError: There is no API key, or the server does not take it.
        VaultUnavailableError: A key was given, and the server does not answer.
    """
    del ignored
    from holdfast.connect import log_in, open_vault

    settings = load_settings(base_url=host)
    if settings.base_url is None:
        if key is not None:
            raise UsageError(
                "login() was given a key and no server.", hint="Pass host=, or set HOLDFAST_BASE_URL."
            )
        return False
    given = key or (settings.api_key if host is not None else None)
    if given is None:
        open_vault(settings).close()
    else:
        log_in(settings, settings.base_url, given)
    return True


def logout(host: str | None = None) -> None:
    """Forget the API key of a server, the configured one by default, as `holdfast logout` does."""
    from holdfast.connect import log_out

    settings = load_settings(base_url=host)
    if settings.base_url is not None:
        log_out(settings, settings.base_url)


def absent(name: str) -> Any:
    """Return what stands for a call of W&B that Holdfast has no counterpart of. Raises `AttributeError` for others."""
    if name in WITHOUT_EFFECT:
        return _current.absences.call(name)
    if name in MEDIA:
        return _current.absences.media(name)
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}; the guide tells what it has.")


def current_run() -> Run | None:
    """Return the run under way, or None."""
    return _current.get()


def current_config() -> Config:
    """Return the config of the run under way."""
    return _current.need("holdfast.config").config


def current_summary() -> Summary:
    """Return the summary of the run under way."""
    return _current.need("holdfast.summary").summary


def _restore(
    settings: Settings,
    name: str,
    run_path: str,
    *,
    root: Path,
    replace: bool,
    version: Which | None,
    mode: str,
    announce: Callable[[str, int], None] | None,
) -> IO[Any]:
    from holdfast.connect import open_vault
    from holdfast.restoring.files import restore_file
    from holdfast.restoring.versions import refer

    vault = open_vault(settings)
    try:
        is_complete = "://" in run_path or run_path.strip("/").count("/") >= 2
        entity = None if is_complete else settings.entity or vault.whoami().entity
        run = RunPath.parse(run_path, entity=entity, project=settings.project)
        if announce is not None:
            [info] = vault.get_files(run, [refer(name, version)])
            announce(info.digest.hex(), info.size)
            version = info.version
        return restore_file(vault, run, name, root=root, replace=replace, version=version, mode=mode)
    finally:
        vault.close()
