"""Settings: the one place that reads the environment and the settings files.

Precedence, low to high: default, the user's file (``HOLDFAST_HOME/settings``), the local file
(``./holdfast/settings``, or below the folder that ``dir`` names), the environment (``HOLDFAST_<NAME>``), arguments. A
higher source replaces what a lower one says, lists too. The result is frozen and passed down.

The form of a settings file is that of `holdfast.settings_file`. A line that cannot be meant is reported with file and
line and spoils nothing else. An empty value, in a file or in the environment, is the same as none.
"""

from __future__ import annotations

import dataclasses
import getpass
import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.errors import SettingsError
from holdfast.names import to_label
from holdfast.settings_file import lines_of

log = logging.getLogger(__name__)

CAPTURES = ("metadata", "requirements", "code")
CONSOLES = ("wrap", "off")
MODES = ("online", "offline", "disabled")
_HELD = "_HOLDFAST_RUN_UNDER_WAY"
RESUMES = ("allow", "must", "never", "auto")
_TRUTH = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
_PREFIX = "HOLDFAST_"
_ARGUMENT = "init"
_LIKELY, _POSSIBLE = 0.8, 0.5
"""How much alike two names are (1.0: equal) for one to be a slip of the other."""

_OF_ANOTHER_REPOSITORY = frozenset(
    f"GIT_{name}"
    for name in [
        "DIR",
        "WORK_TREE",
        "INDEX_FILE",
        "PREFIX",
        "COMMON_DIR",
        "NAMESPACE",
        "GRAFT_FILE",
        "SHALLOW_FILE",
        "OBJECT_DIRECTORY",
        "ALTERNATE_OBJECT_DIRECTORIES",
        "EXTERNAL_DIFF",
        "DIFF_OPTS",
        "PAGER",
        "TRACE",
        "LITERAL_PATHSPECS",
        "GLOB_PATHSPECS",
        "NOGLOB_PATHSPECS",
        "ICASE_PATHSPECS",
        "ATTR_SOURCE",
    ]
)
"""What a git hook or an alias leaves in the environment of a training that it starts."""


class Secret(str):
    """A string that does not show itself in a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


def _words(value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("it takes texts")
    return tuple(word for word in (part.strip() for part in parts) if word)


def _globs(value: Any) -> tuple[str, ...]:
    globs = _words(value)
    for glob in globs:
        if glob.startswith("!") or not glob.strip("./"):
            raise ValueError(f"the glob {glob!r} ignores nothing; `!` cannot take names back")
    return globs


def _boolean(value: Any) -> bool:
    try:
        return _TRUTH[str(value).strip().lower()]
    except KeyError:
        raise ValueError("it takes true or false") from None


def _seconds(value: Any) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ValueError("it takes a number of seconds")
    return seconds


def _whole_number(value: Any) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        raise ValueError("it takes a whole number")
    return number


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"it takes one of {', '.join(allowed)}")
        return str(value)

    return parse


def _captures(value: Any) -> tuple[str, ...]:
    words = _words(value)
    if words in {("none",), ()}:
        return ()
    if not set(words) <= set(CAPTURES):
        raise ValueError(f"it takes none, or some of {', '.join(CAPTURES)}")
    return words


def _setting(parse: Callable[[Any], Any], default: Any, doc: str, *, shown: str | None = None) -> Any:
    """Return the field of a setting.

    Args:
        parse: Makes the value of a text or of what a caller gave; raises ValueError, which says what it takes.
        default: The value where no source has one.
        doc: What the setting is for, in one sentence.
        shown: What the docs show as the default; None: the default itself.
    """
    return field(default=default, metadata={"parse": parse, "help": doc, "shown": shown})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. `load_settings` builds those in force; `holdfast.init` takes one with what differs from them.

    Attributes:
        sources: Where each setting that is not the default comes from: a file with its line, an environment
            variable, or ``init``.
    """

    home: Path = _setting(
        Path,
        None,
        "Folder of the embedded vault, credentials and user settings. Not for settings files.",
        shown="the user's data folder (`~/.local/share/holdfast`)",
    )
    dir: Path = _setting(
        Path,
        Path(),
        "Folder in which run directories are made, as `holdfast/run-...`.",
        shown="the working directory",
    )
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
    ignore_globs: tuple[str, ...] = _setting(
        _globs, (), "What is never stored, separated by commas: `*.patch, *.tmp, cache/`."
    )
    strict: bool = _setting(
        _boolean, False, "At the end of the script, exit non-zero unless everything is stored."
    )
    init_timeout: float = _setting(
        _seconds, 30.0, "Seconds that `init` waits at most for the vault to answer when `resume` is given."
    )
    finish_timeout: float | None = _setting(
        _seconds, None, "Seconds that the end of a run waits at most. Unset: as long as bytes are moving."
    )
    stall_timeout: float = _setting(
        _seconds, 30.0, "Seconds without progress after which the end of a run stops waiting."
    )
    quiet: float = _setting(_seconds, 1.0, "Seconds that a file must be unchanged before it is read.")
    live_interval: float = _setting(_seconds, 2.0, "Seconds between two versions of a live file, at least.")
    sync_tensorboard: bool = _setting(
        _boolean, False, "Save the event files that TensorBoard's writers make, wherever they lie."
    )
    pin_copy_limit: int = _setting(
        _whole_number,
        1 << 30,
        "Bytes that a run directory may hold as copies made where no link is possible.",
    )
    capture: tuple[str, ...] = _setting(
        _captures,
        CAPTURES,
        "What is captured of how the run was started, separated by commas; or none.",
        shown=f"`{', '.join(CAPTURES)}`",
    )
    console: str = _setting(
        _one_of(*CONSOLES), "wrap", "wrap (what the script prints is kept as `output.log`) or off."
    )
    save_code: bool = _setting(
        _boolean,
        True,
        "Keep the code as it was: uncommitted changes, unpushed commits, small untracked files.",
    )
    disable_git: bool = _setting(
        _boolean, False, "Never call git; of the code only the program file is kept."
    )
    code_limit: int = _setting(
        _whole_number,
        64 << 20,
        "Bytes that each patch, and the bundle of unpushed commits, may have; larger is left out.",
    )
    code_untracked_limit: int = _setting(
        _whole_number, 16 << 20, "Bytes of untracked files that are kept in all; the smallest come first."
    )
    code_file_limit: int = _setting(
        _whole_number, 1 << 20, "Bytes that one untracked file or the program file may have."
    )
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

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


def setting_fields() -> dict[str, dataclasses.Field[Any]]:
    """Return the field of each setting by its name; ``metadata`` has ``parse``, ``help`` and ``shown``."""
    return {item.name: item for item in dataclasses.fields(Settings) if "parse" in item.metadata}


def load_settings(environ: Mapping[str, str] | None = None, **arguments: Any) -> Settings:
    """Read the settings files and the environment, and return the settings in force.

    Args:
        environ: Instead of the process's environment.
        **arguments: Settings by name; None means not given. They win over all else.

    Raises:
        SettingsError: An argument or an environment variable has a value that it cannot have, or an argument
            does not exist. A bad line in a settings file is logged as a warning and left out.
    """
    given, found = _Loading(), _Loading()
    for name, value in arguments.items():
        if value is not None:
            given.take_argument(name, value)
    env = os.environ if environ is None else environ
    home = (
        Path(given.values.get("home") or env.get("HOLDFAST_HOME") or _default_home()).expanduser().absolute()
    )
    found.read(home / "settings")
    folder = given.values.get("dir") or env.get("HOLDFAST_DIR") or found.values.get("dir") or "."
    found.read(Path(folder).expanduser().absolute() / "holdfast" / "settings")
    for variable, text in env.items():
        if variable.startswith(_PREFIX) and text:
            found.take_variable(variable, text)
    values = {**found.values, **given.values, "home": home}
    return Settings(**values, sources={**found.sources, **given.sources})


def given_settings(settings: Mapping[str, Any] | Settings | None) -> dict[str, Any]:
    """Return what a caller's ``settings`` say, by name: a mapping's items, or what of a `Settings` is not the default.

    Raises:
        SettingsError: It is neither.
    """
    if settings is None:
        return {}
    if isinstance(settings, Settings):
        values = {name: (getattr(settings, name), item.default) for name, item in setting_fields().items()}
        return {name: value for name, (value, default) in values.items() if value != default}
    if isinstance(settings, Mapping):
        return dict(settings)
    raise SettingsError(
        f"settings takes a dictionary or a holdfast.Settings, not {settings!r} of type {type(settings).__name__}."
    )


class _Loading:
    """Collects values, each from the highest source so far."""

    def __init__(self) -> None:
        self.fields = setting_fields()
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}

    def take(self, name: str, value: Any, source: str, *, of: str) -> None:
        """Take in a value; ``of`` is what the user calls the setting there."""
        try:
            self.values[name] = self.fields[name].metadata["parse"](value)
        except (ValueError, TypeError) as exc:
            shown = "a value" if name == "api_key" else f"the value {value!r}"
            raise SettingsError(
                f"{of} has {shown}, which it cannot have: {exc}.", hint=self.fields[name].metadata["help"]
            ) from None
        self.sources[name] = source

    def take_argument(self, name: str, value: Any) -> None:
        """Take in an argument of the caller."""
        if name not in self.fields:
            raise SettingsError(f"There is no setting {name!r}.", hint=_suggestion(name, self.fields))
        self.take(name, value, _ARGUMENT, of=name)

    def take_variable(self, variable: str, text: str) -> None:
        """Take in an environment variable. One that is no setting may be anyone's: only a likely slip is told of."""
        name = variable.removeprefix(_PREFIX).lower()
        if name in self.fields and variable == variable.upper():
            self.take(name, text, variable, of=variable)
        elif meant := _nearest(name, self.fields, cutoff=_LIKELY):
            log.warning("%s is not a setting. Did you mean %s%s?", variable, _PREFIX, meant.upper())

    def read(self, file: Path) -> None:
        """Take in a settings file; what cannot be meant is left out and told of."""
        for number, name, value in lines_of(file):
            where = f"{file}:{number}"
            if name not in self.fields or name == "home":
                why = "cannot be set in a settings file." if name == "home" else "is not a setting."
                log.warning(
                    "%s: %r %s The line is ignored. %s", where, name, why, _suggestion(name, self.fields)
                )
                continue
            try:
                self.take(name, value, where, of=name)
            except SettingsError as exc:
                log.warning("%s: %s The line is ignored.", where, exc.message)


def _nearest(name: str, known: Mapping[str, Any], *, cutoff: float) -> str | None:
    import difflib  # only needed for what is wrong

    return next(iter(difflib.get_close_matches(name.lower(), known, n=1, cutoff=cutoff)), None)


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    meant = _nearest(name, known, cutoff=_POSSIBLE)
    return (
        f"Did you mean {meant!r}?"
        if meant and meant != name
        else "docs/reference/settings.md lists them all."
    )


def launcher_rank(environ: Mapping[str, str] | None = None) -> int:
    """Return which rank the launcher of this process (torchrun, Slurm, Open MPI, MPICH) says it has; 0 if none does."""
    env = os.environ if environ is None else environ
    for variable in ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK"):
        if env.get(variable, "").isdecimal():
            return int(env[variable])
    return 0


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run under way, as the process that has it tells the processes which it starts."""

    run_id: str
    rank: int
    pid: int
    pid_started: float


def hold_run(held: HeldRun | None) -> None:
    """Let the processes that are started from now on know which run this one has under way."""
    os.environ.pop(_HELD, None)
    if held is not None:
        os.environ[_HELD] = f"{held.run_id} {held.rank} {held.pid} {held.pid_started!r}"


def held_run() -> HeldRun | None:
    """Return what the nearest process above that has a run under way (or this one) has told."""
    parts = os.environ.get(_HELD, "").split()
    try:
        run_id, rank, pid, started = parts
        return HeldRun(run_id, int(rank), int(pid), float(started))
    except ValueError:
        return None


def environment_for_syncer(settings: Settings) -> dict[str, str]:
    """Return the environment of a syncer process: this one's, with the home folder and a given API key in it."""
    key = {} if settings.api_key is None else {"HOLDFAST_API_KEY": str(settings.api_key)}
    return {**os.environ, **key, "HOLDFAST_HOME": str(settings.home)}


def environment_for_git() -> dict[str, str]:
    """Return the environment of a git process: nothing in it points at another repository or starts a pager."""
    return {
        **{name: text for name, text in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY},
        "LC_ALL": "C",
    }


def _default_home() -> str:
    import platformdirs  # only needed when HOLDFAST_HOME is not set

    return platformdirs.user_data_dir("holdfast", appauthor=False)
