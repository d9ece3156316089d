"""The code as it was: what `holdfast restore` brings back."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.capture.scene import Scene
from holdfast.capture.shelf import Shelf
from holdfast.code.capture import capture_code
from holdfast.code.rules import CodeRules
from holdfast.errors import GitError
from holdfast.patterns import IgnoreRules


def capture(scene: Scene, shelf: Shelf) -> None:
    """Capture the state of the code in the folder that the run was started in.

    Raises:
        GitError: There is a repository, and git does not read it. What can be had without git is captured.
    """
    if scene.cwd is None or not shelf.is_first:
        return
    settings = scene.settings
    rules = CodeRules(
        save_code=settings.save_code,
        disable_git=settings.disable_git,
        limit=settings.code_limit,
        untracked_limit=settings.code_untracked_limit,
        file_limit=settings.code_file_limit,
        ignored=IgnoreRules(settings.ignore_globs),
        run_root=Path(os.path.realpath(shelf.files)).parents[1],  # git tells real paths
    )
    program = None if scene.program is None else Path(scene.program)
    state = capture_code(Path(scene.cwd), shelf.files, scratch=shelf.scratch, rules=rules, program=program)
    for left_out in state.left_out:
        if not left_out.path:
            raise GitError(left_out.reason)
