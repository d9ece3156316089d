"""The messages of the `Vault` Protocol: one pydantic model each, the same on both sides of the wire.

On the wire they are JSON; ``bytes`` fields are URL-safe base64 there. Times are seconds since the epoch, UTC.
Unknown fields are ignored, so that an older reader understands a newer writer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from holdfast.names import RunPath, check_file_name, check_label

FileName = Annotated[str, AfterValidator(check_file_name)]
Label = Annotated[str, AfterValidator(lambda text: check_label(text, "name"))]
Digest = Annotated[bytes, Field(min_length=32, max_length=32)]
"""A BLAKE3-256 hash."""


class Message(BaseModel):
    """Base of all messages: immutable."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")


# ---------------------------------------------------------------- who


class Identity(Message):
    """Who the caller is to this vault."""

    user: str
    entity: str
    """The entity that the caller's runs go to when none is named."""


# ---------------------------------------------------------------- runs


class RunState(StrEnum):
    """What is known of a run's life."""

    RUNNING = "running"
    FINISHED = "finished"
    """It ended by itself with exit code 0."""
    FAILED = "failed"
    """It ended by itself with another exit code."""
    CRASHED = "crashed"
    """It was killed, or no sign of life came for five minutes."""


class Resume(StrEnum):
    """What to do when the run id exists."""

    ALLOW = "allow"
    MUST = "must"
    NEVER = "never"


class RunSpec(Message):
    """Opens a run: creates it, or joins it as a further attempt.

    An *attempt* is one run directory. Opening again with the same attempt has no further effect, whatever
    ``resume`` says. Processes that share a run have ranks; the attempts of one start, one for each rank, are a *round*.
    """

    entity: Label
    project: Label
    run_id: Label
    attempt: str = Field(min_length=8, max_length=64)
    rank: int = Field(default=0, ge=0)
    resume: Resume | None = None
    """None joins the run if it exists; its files keep their versions. For ``NEVER`` a run exists that has an attempt of
    this rank."""
    name: str | None = None
    """The display name; None lets the vault give one."""
    notes: str | None = None
    tags: list[str] | None = None
    group: str | None = None
    job_type: str | None = None
    config: dict[str, Any] = {}
    started_at: float
    host: str | None = None
    program: str | None = None

    @property
    def path(self) -> RunPath:
        return RunPath(self.entity, self.project, self.run_id)


class RunUpdate(Message):
    """Changes a run. What is None stays."""

    attempt: str | None = None
    """The attempt (`RunSpec.attempt`) that says so, which counts as its sign of life. Of one that a newer attempt of its
    rank has taken the place of, only its own state and exit code are noted; config, summary and step are taken from the
    lowest rank alone. None: an edit by somebody else, which changes all that it names; a state is then that of the newest
    attempt."""
    name: str | None = None
    notes: str | None = None
    tags: list[str] | None = None
    group: str | None = None
    config: dict[str, Any] | None = None
    """Replaces the whole config."""
    summary: dict[str, Any] | None = None
    """Replaces the whole summary."""
    step: int | None = None
    """The last step that was logged."""
    state: RunState | None = None
    """How the attempt is; how the run is follows from all its ranks, see `RunInfo.state`."""
    exit_code: int | None = None


class RunInfo(Message):
    """A run as the vault has it."""

    entity: str
    project: str
    run_id: str
    name: str
    state: RunState
    """Of several ranks: running while one of them runs; then crashed, else failed, if that is how one of them ended."""
    attempts: int
    """How often it was begun; the ranks of one start count once."""
    notes: str = ""
    tags: list[str] = []
    group: str | None = None
    job_type: str | None = None
    user: str = ""
    """Who made it."""
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    step: int | None = None
    created_at: float
    heartbeat_at: float
    ended_at: float | None = None
    exit_code: int | None = None
    ranks: dict[int, RunState] = {}
    """The state of each rank, by its newest attempt; empty unless there are several."""
    file_count: int = 0
    size_bytes: int = 0
    """The sum of the sizes of the newest versions of its files."""

    @property
    def path(self) -> RunPath:
        return RunPath(self.entity, self.project, self.run_id)


class RunPage(Message):
    """Some runs, in the order asked for."""

    runs: list[RunInfo]
    next: str | None = None
    """Pass it as ``after`` to get what follows; None at the end."""
    total: int | None = None
    """How many runs match in all, if that was asked."""


class RunQuery(Message):
    """Asks for runs of a project by filters."""

    filters: dict[str, Any] = {}
    """In the form of MongoDB and W&B, such as ``{"config.lr": {"$gt": 0.1}}``; see `holdfast.vault.filters`."""
    order: str = "-created_at"
    """A field that filters have, or ``name``, behind ``+`` (the lowest first; also without a sign) or ``-``. Runs
    without a value of it come last."""
    after: str | None = None
    """``next`` of the page before."""
    limit: int = 100
    """At most so many runs (up to 1,000)."""
    count: bool = False
    """Also count all runs that match."""


class ProjectInfo(Message):
    entity: str
    project: str
    run_count: int
    created_at: float


class ProjectPage(Message):
    projects: list[ProjectInfo]
    next: str | None = None


# ---------------------------------------------------------------- writing


class Upload(Message):
    """An upload under way. It pins every chunk that it was told the vault has, and every pack that it put."""

    upload_id: str
    domain_key: Digest
    """Keys the BLAKE3 of chunk and segment ids (the dedup domain is the project)."""
    pack_bytes: int
    """The size at which a pack is full."""
    have_max: int
    """The most ids in one `have`."""
    expires_at: float
    """Pins are dropped after this; each request of the upload moves it on."""


class ContentKey(Message):
    """Names whole content: plain BLAKE3-256 of its bytes, and their number."""

    digest: Digest
    size: int = Field(ge=0)


class ContentQuery(Message):
    """Asks which whole contents the vault has in this project."""

    keys: list[ContentKey]


class ContentAnswer(Message):
    """For each key the manifest to commit (see `content.manifests`), or None where the content is not there."""

    manifests: list[bytes | None]


class PackReceipt(Message):
    """The pack is durable: its bytes and its rows survive any crash from now on."""

    pack_id: str
    chunks: int
    size_bytes: int


class Fidelity(StrEnum):
    """How a version relates to the file it was read from."""

    EXACT = "exact"
    """A state that the file really had; for policy ``now``, the one as of the call."""
    LATER = "later"
    """Saved with ``now`` and rewritten in place before it could be read: a later state of the file."""
    UNSETTLED = "unsettled"
    """The file never came to rest before the run ended: the last bytes that could be read."""


class CommitEntry(Message):
    """One file version to publish."""

    name: FileName
    size: int = Field(ge=0)
    digest: Digest
    """Plain BLAKE3-256 of the whole content."""
    manifest: bytes
    """Encoded by `content.manifests`."""
    splitter: str = Field(max_length=16)
    mode: int = Field(default=0o644, ge=0, le=0o7777)
    mtime_ns: int = 0
    fidelity: Fidelity = Fidelity.EXACT
    policy: str = Field(default="live", max_length=8)
    base: int | None = None
    """Refuse with `StaleBaseError` unless this is the newest version number (0: no version yet). None: do not ask."""


class Commit(Message):
    """Publishes versions atomically: all of them or none."""

    key: str = Field(min_length=16, max_length=128)
    """Idempotency key: the same key and entries again give the same answer and no second effect."""
    entries: list[CommitEntry] = Field(max_length=20_000)


class CommittedVersion(Message):
    name: str
    version: int
    created: bool
    """False: the content equals that of the newest version, so that one stands."""


class CommitResult(Message):
    versions: list[CommittedVersion]
    """In the order of the entries."""


# ---------------------------------------------------------------- reading


class FileRef(Message):
    """A file of a run, at a version (None: the newest)."""

    name: FileName
    version: int | None = None
    at: float | None = None
    """Without a version: the one that was the newest at this time."""


class FileInfo(Message):
    """One version of a file."""

    name: str
    version: int
    size: int
    digest: Digest
    mode: int
    mtime_ns: int
    created_at: float
    """When the vault published it."""
    fidelity: Fidelity
    policy: str
    splitter: str
    attempt: int = 1
    """Which start of the run it comes from (`RunInfo.attempts` counts them)."""
    pinned: bool = False
    """Kept until it is unpinned: neither thinning nor a retention rule takes it."""


class FilePage(Message):
    """Some files at their newest versions, ordered by name."""

    files: list[FileInfo]
    next: str | None = None
    """Pass it as ``after`` to get what follows; None at the end."""


class Manifest(Message):
    """The chunks of one version, in order."""

    info: FileInfo
    domain_key: Digest
    """Keys the ids of the chunks; whoever reads needs it to verify them."""
    refs: bytes
    """`content.manifests.ChunkRef` records with every segment expanded."""


class LocateQuery(Message):
    """Asks where the chunks of some versions lie."""

    refs: list[FileRef]
    start: int = 0
    """Skip so many chunks of the concatenated lists (to go on after an answer with ``next``)."""


class ChunkMap(Message):
    """Where chunks lie, in the order of the versions asked for."""

    files: list[FileInfo]
    """The versions asked for (all of them, on every page)."""
    domain_key: Digest
    """Keys the ids of the chunks; whoever reads needs it to verify them."""
    packs: list[str]
    chunks: bytes
    """`content.manifests.ChunkPlace` records; their ``pack`` is an index into ``packs``."""
    next: int | None = None


class PackRange(Message):
    """A run of whole frames within a pack."""

    pack: str
    offset: int = Field(ge=0)
    length: int = Field(gt=0)


class ReadQuery(Message):
    """Asks for the bytes of some ranges, one after the other."""

    ranges: list[PackRange] = Field(max_length=16_384)
    is_checked: bool = True
    """The vault checks each frame before its first byte. False: it leaves that to the caller, who asks again with True
    for a frame that does not match, so that the vault learns of the damage and says what is hit."""


class Verified(Message):
    """The frames that were asked for lie whole on the vault's disk, as of now."""

    size_bytes: int
    """Of the frames."""


class PinUpdate(Message):
    """Pins versions (None in a ref: the newest), or unpins them."""

    refs: list[FileRef] = Field(max_length=10_000)
    pinned: bool = True


class DeleteResult(Message):
    deleted: list[str]
    """The names that had been there."""
