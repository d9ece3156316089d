"""What of the code is taken along with a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from holdfast.patterns import IgnoreRules


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRules:
    """What of the code is taken.

    Args:
        save_code: Patches, commits and files; without it only the commit, the branch and the remote are noted.
        disable_git: Git is not called.
        limit: Bytes that a patch or a bundle may have.
        untracked_limit: Bytes of all untracked files that are taken.
        file_limit: Bytes of one untracked file, or of the program file.
        ignored: Untracked files that are not wanted.
        run_root: The folder of the run directories, which are no code.
    """

    save_code: bool = True
    disable_git: bool = False
    limit: int = 64 << 20
    untracked_limit: int = 16 << 20
    file_limit: int = 1 << 20
    ignored: IgnoreRules = field(default_factory=IgnoreRules)
    run_root: Path | None = None
