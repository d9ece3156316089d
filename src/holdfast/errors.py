"""Every error that Holdfast raises, on one page.

    HoldfastError
    ├── UsageError                  a call that cannot be meant (also ValueError)
    │   ├── InvalidNameError        a name of a file, run, project or entity
    │   ├── CloudUrlError           save("gs://...")
    │   ├── TooLargeError           a request beyond what the vault takes at once
    │   └── SettingsError           a setting with a value that it cannot have
    ├── NotInitializedError         save() or log() without a run
    ├── MissingPackageError         an integration without its library (also ImportError)
    ├── NotFoundError               (also LookupError)
    │   ├── RunNotFoundError
    │   ├── StoredFileNotFoundError (also FileNotFoundError)
    │   ├── UploadNotFoundError     an upload that has ended or never began
    │   └── CommitNotFoundError     a git commit that no place holds any more
    ├── ConflictError
    │   ├── RunExistsError          resume="never" and the run is there
    │   ├── StaleBaseError          the file has a newer version than the caller knew
    │   ├── ChunkMissingError       a commit names chunks that the vault lacks
    │   ├── PackConflictError       the same pack id with other bytes
    │   ├── IdempotencyError        the same key with another request
    │   ├── TargetExistsError       restore() would overwrite other content (also FileExistsError)
    │   ├── DirtyTreeError          a git work tree with changes that would be in the way
    │   └── DirectoryBusyError      another syncer holds the run directory
    ├── LocalFileError              the local disk refused: full, no permission, read-only (also OSError)
    ├── GitError                    git is missing, or it refused
    ├── IntegrityError              bytes that are not what they should be
    │   ├── CorruptContentError     a stored chunk, pack or manifest is damaged
    │   └── MalformedContentError   a decoder was fed bytes that are not its format
    ├── UnauthorizedError           no key, or one that is not valid (also PermissionError)
    ├── ForbiddenError              a valid key without the right (also PermissionError)
    ├── VaultUnavailableError       cannot be reached or answered with a fault (also ConnectionError)
    ├── VaultFullError              the vault refuses uploads: disk full
    ├── VaultLocationError          a place where no vault can safely live
    ├── IncompleteError             finish(strict=True): not everything is stored
    └── WaitTimeoutError            wait() ran out of time (also TimeoutError)

Each class carries what a program needs to decide: ``code`` (stable, crosses the wire), ``exit_code``
(of the command line), ``http_status`` (of the server), ``retryable`` (may the same request succeed later?)
and ``hint`` (the user's next step). ``details`` holds the facts as plain JSON values.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HoldfastError(Exception):
    """Base of all errors that Holdfast raises.

    Args:
        message: What happened, as one sentence that names the thing.
        hint: The user's next step; overrides the hint of the class.
        details: Facts about the error, as plain JSON values.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    hint: str = ""

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details or {}
        if hint is not None:
            self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip() if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.details))


def _rebuild(cls: type[HoldfastError], message: str, hint: str, details: dict[str, Any]) -> HoldfastError:
    return cls(message, hint=hint, details=details)


class UsageError(HoldfastError, ValueError):
    """A call that cannot be meant."""

    code = "usage"
    exit_code = 2
    http_status = 400


class InvalidNameError(UsageError):
    """A name of a file, run, project or entity that cannot be stored."""

    code = "invalid_name"


class CloudUrlError(UsageError):
    """A cloud storage URL was given where a local path is needed."""

    code = "cloud_url"
    hint = "Copy the object to a local file and save that file."


class TooLargeError(UsageError):
    """A request is larger than what the vault takes at once."""

    code = "too_large"
    http_status = 413


class SettingsError(UsageError):
    """A setting has a value that it cannot have."""

    code = "settings"


class NotInitializedError(HoldfastError, RuntimeError):
    """A call needs a run and there is none."""

    code = "not_initialized"
    exit_code = 2
    http_status = 400
    hint = "Call holdfast.init() first."


class MissingPackageError(HoldfastError, ImportError):
    """A library that an integration is for is not installed."""

    code = "missing_package"
    exit_code = 2


class NotFoundError(HoldfastError, LookupError):
    """The thing named does not exist, or the caller may not know that it does."""

    code = "not_found"
    exit_code = 4
    http_status = 404


class RunNotFoundError(NotFoundError):
    """No such run."""

    code = "run_not_found"


class StoredFileNotFoundError(NotFoundError, FileNotFoundError):
    """The run has no such file, or the file no such version."""

    code = "file_not_found"


class UploadNotFoundError(NotFoundError):
    """The upload has ended, expired or never began; begin a new one."""

    code = "upload_not_found"


class CommitNotFoundError(NotFoundError):
    """A git commit is neither here, nor on the remote, nor among the files of the run."""

    code = "commit_not_found"


class ConflictError(HoldfastError):
    """The request contradicts what is stored."""

    code = "conflict"
    exit_code = 5
    http_status = 409


class RunExistsError(ConflictError):
    """A run with this id exists and resume="never" was asked."""

    code = "run_exists"
    hint = 'Pass resume="allow" to continue it, or choose another id.'


class StaleBaseError(ConflictError):
    """The file has a newer version than the one the commit was based on."""

    code = "stale_base"


class ChunkMissingError(ConflictError):
    """A commit names chunks that the vault does not hold.

    ``details["missing"]`` lists the chunk ids in hexadecimal.
    """

    code = "chunk_missing"


class PackConflictError(ConflictError):
    """A pack id was used again for other bytes."""

    code = "pack_conflict"


class IdempotencyError(ConflictError):
    """An idempotency key was used again for another request."""

    code = "idempotency_mismatch"
    http_status = 422


class TargetExistsError(ConflictError, FileExistsError):
    """The target of a restore exists with other content."""

    code = "target_exists"
    hint = "Pass replace=True to overwrite it, or root= to restore elsewhere."


class DirtyTreeError(ConflictError):
    """A git work tree has changes that are not committed."""

    code = "dirty_tree"
    hint = "Commit them, pass --stash to put them aside, or --into DIR to restore elsewhere."


class DirectoryBusyError(ConflictError):
    """Another living syncer holds the run directory."""

    code = "directory_busy"


class LocalFileError(HoldfastError, OSError):
    """The local disk refused: it is full, read-only, or the user may not."""

    code = "local_file"
    exit_code = 10


class GitError(HoldfastError):
    """Git is missing, or it refused; the message has its own words."""

    code = "git"
    exit_code = 11


class IntegrityError(HoldfastError):
    """Bytes are not what they should be."""

    code = "integrity"
    exit_code = 6


class CorruptContentError(IntegrityError):
    """A stored chunk, pack or manifest is damaged. It is reported and never served."""

    code = "corrupt_content"


class MalformedContentError(IntegrityError, ValueError):
    """A decoder was fed bytes that are not of its format."""

    code = "malformed_content"
    http_status = 400


class UnauthorizedError(HoldfastError, PermissionError):
    """No API key was sent, or it is not valid."""

    code = "unauthorized"
    exit_code = 3
    http_status = 401
    hint = "Run `holdfast login URL` with a valid API key, or set HOLDFAST_API_KEY."


class ForbiddenError(HoldfastError, PermissionError):
    """The API key is valid and lacks the right."""

    code = "forbidden"
    exit_code = 3
    http_status = 403


class VaultUnavailableError(HoldfastError, ConnectionError):
    """The vault cannot be reached, or answered with a passing fault."""

    code = "vault_unavailable"
    exit_code = 7
    http_status = 503
    retryable = True


class VaultFullError(HoldfastError):
    """The vault refuses uploads because its disk is (nearly) full."""

    code = "vault_full"
    exit_code = 8
    http_status = 507
    retryable = True
    hint = "Free space on the vault's disk; reading and deleting still work."


class VaultLocationError(HoldfastError):
    """A vault cannot safely live at this place."""

    code = "vault_location"
    exit_code = 2


class IncompleteError(HoldfastError):
    """Not everything that was saved is stored.

    ``details["missing"]`` maps each file name to the reason.
    """

    code = "incomplete"
    exit_code = 9
    hint = "`holdfast status` says why; `holdfast sync DIR` tries again."


class WaitTimeoutError(HoldfastError, TimeoutError):
    """The time ran out before the file was stored; the upload goes on."""

    code = "wait_timeout"
    exit_code = 9


def error_classes() -> dict[str, type[HoldfastError]]:
    """Return every error class by its ``code``."""
    found: dict[str, type[HoldfastError]] = {}
    todo: list[type[HoldfastError]] = [HoldfastError]
    while todo:
        cls = todo.pop()
        found[cls.code] = cls
        todo.extend(cls.__subclasses__())
    return found
