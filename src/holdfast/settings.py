"""Settings: the one place that reads the environment and the settings files.

Precedence, low to high: default, the user's file (``HOLDFAST_HOME/settings``), the local file
(``./holdfast/settings``), the environment (``HOLDFAST_<NAME>``), arguments. The result is frozen and passed down.

A settings file has one ``name = value`` a line; ``#`` starts a comment. A bad line is reported with file and line
and spoils nothing else.
"""

from __future__ import annotations

import dataclasses
import getpass
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.errors import SettingsError
from holdfast.names import to_label

log = logging.getLogger(__name__)

MODES = ("online", "offline", "disabled")
RESUMES = ("allow", "must", "never", "auto")


class Secret(str):
    """A string that does not show itself in a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in text.split(",")) if word)


def _boolean(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    return known[text.strip().lower()]


def _whole_number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError(text)
    return number


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return parse


def _setting(parse: Callable[[str], Any], default: Any, doc: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. Build one with `load_settings`."""

    home: Path = _setting(Path, None, "Folder of the embedded vault, credentials and user settings.")
    dir: Path = _setting(Path, Path(), "Folder in which run directories are made, as `holdfast/run-...`.")
    base_url: str | None = _setting(str, None, "URL of the server. Unset: the embedded vault.")
    api_key: Secret | None = _setting(
        Secret, None, "API key for the server. Unset: as `holdfast login` stored it."
    )
    entity: str | None = _setting(str, None, "Entity that runs go to. Unset: the one of the login.")
    project: str = _setting(str, "uncategorized", "Project that runs go to.")
    name: str | None = _setting(str, None, "Display name of the run. Unset: the vault gives one.")
    notes: str | None = _setting(str, None, "Notes on the run.")
    tags: tuple[str, ...] | None = _setting(_words, None, "Tags of the run, separated by commas.")
    run_group: str | None = _setting(str, None, "Group of the run.")
    job_type: str | None = _setting(str, None, "Job type of the run.")
    run_id: str | None = _setting(str, None, "Id of the run. Unset: a new random one.")
    rank: int | None = _setting(
        _whole_number,
        None,
        "Which of the processes that share the run this is. Unset: as the launcher says if the run id is given, else 0.",
    )
    resume: str | None = _setting(
        _one_of(*RESUMES), None, "allow, must, never or auto: what to do if the run id exists."
    )
    mode: str = _setting(
        _one_of(*MODES), "online", "online, offline (keep everything local) or disabled (do nothing)."
    )
    silent: bool = _setting(_boolean, False, "Print nothing but warnings.")
    strict: bool = _setting(
        _boolean, False, "At the end of the script, exit non-zero unless everything is stored."
    )
    finish_timeout: float | None = _setting(
        float, None, "Seconds that the end of a run waits at most. Unset: as long as bytes are moving."
    )
    stall_timeout: float = _setting(
        float, 30.0, "Seconds without progress after which the end of a run stops waiting."
    )
    quiet: float = _setting(float, 1.0, "Seconds that a file must be unchanged before it is read.")
    live_interval: float = _setting(float, 2.0, "Seconds between two versions of a live file, at least.")
    pin_copy_limit: int = _setting(
        int, 1 << 30, "Bytes that a run directory may hold as copies made where no link is possible."
    )

    @property
    def run_root(self) -> Path:
        """The folder that holds the run directories, absolute."""
        return Path(os.path.abspath(self.dir.expanduser())) / "holdfast"  # noqa: PTH100 - absolute() keeps ".."

    @property
    def vault_dir(self) -> Path:
        """Where the embedded vault lies."""
        return self.home / "vault"

    @property
    def entity_or_user(self) -> str:
        """The entity of the embedded vault: the setting, else the user's name on this machine."""
        return self.entity or to_label(getpass.getuser())


def load_settings(environ: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
    """Read the settings files and the environment, and return the settings in force.

    Args:
        environ: Instead of the process's environment.
        **arguments: Settings by name; None means not given. They win over all else.

    Raises:
        SettingsError: An argument or an environment variable has a value that it cannot have, or an argument
            does not exist. A bad line in a settings file is logged as a warning and left out.
    """
    env = os.environ if environ is None else environ
    fields = {item.name: item for item in dataclasses.fields(Settings)}
    values: dict[str, Any] = {}
    home = Path(arguments.get("home") or env.get("HOLDFAST_HOME") or _default_home()).expanduser().absolute()
    local_dir = Path(arguments.get("dir") or env.get("HOLDFAST_DIR") or ".")
    for file in (home / "settings", local_dir / "holdfast" / "settings"):
        for where, name, text in _lines(file):
            try:
                values[name] = fields[name].metadata["parse"](text)
            except (KeyError, ValueError):
                log.warning("%s: %s = %s is not a setting; it is ignored.", where, name, text)
    for name, item in fields.items():
        variable = f"HOLDFAST_{name.upper()}"
        if env.get(variable):
            values[name] = _parsed(name, env[variable], item.metadata["parse"], variable)
    for name, value in arguments.items():
        if name not in fields:
            raise SettingsError(f"There is no setting {name!r}.")
        if value is not None:
            text_given = isinstance(value, str)
            values[name] = _parsed(name, value, fields[name].metadata["parse"], name) if text_given else value
    values["home"] = home
    return Settings(**values)


def launcher_rank(environ: Mapping[str, str] | None = None) -> int:
    """Return which rank the launcher of this process (torchrun, Slurm, Open MPI, MPICH) says it has; 0 if none does."""
    env = os.environ if environ is None else environ
    for variable in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        if env.get(variable, "").isdecimal():
            return int(env[variable])
    return 0


def environment_for_syncer(settings: Settings) -> dict[str, str]:
    """Return the environment of a syncer process: this one's, with the home folder and a given API key in it."""
    key = {} if settings.api_key is None else {"HOLDFAST_API_KEY": str(settings.api_key)}
    return {**os.environ, **key, "HOLDFAST_HOME": str(settings.home)}


def _parsed(name: str, text: str, parse: Callable[[str], Any], source: str) -> Any:
    try:
        return parse(text)
    except (KeyError, ValueError):
        raise SettingsError(f"{source} has the value {text!r}, which {name!r} cannot have.") from None


def _lines(file: Path) -> Iterator[tuple[str, str, str]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, UnicodeDecodeError) as exc:
        log.warning("%s cannot be read (%s); it is ignored.", file, exc)
        return
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.split("#", 1)[0].strip()
        if not bare or bare == "[default]":
            continue
        name, equals, value = bare.partition("=")
        if not equals:
            log.warning("%s:%d: %r is not `name = value`; it is ignored.", file, number, line)
            continue
        yield f"{file}:{number}", name.strip(), value.strip()


def _default_home() -> str:
    import platformdirs  # only needed when HOLDFAST_HOME is not set

    return platformdirs.user_data_dir("holdfast", appauthor=False)


def write_user_setting(home: Path, name: str, value: str) -> None:
    """Set one line of the user's settings file and leave the others as they are."""
    file = home / "settings"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() != name]
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name("settings.part")
    part.write_text("\n".join([*kept, f"{name} = {value}", ""]), encoding="utf-8")
    part.replace(file)
