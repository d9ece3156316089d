"""What is captured of a run besides the user's files: how it was started, with which packages, from which code.

**How it works.** `init` starts a process of its own (``python -m holdfast.capture DIR``) and hands it a `Scene`: what
only the training process knows. The process takes one step after another at low priority; each puts its files
into ``run.dir`` by a `Shelf`, whole or not at all. How far it is stands in ``capture.json`` (`holdfast.rundir.capturing`).

**Invariants.**

- The training waits for none of this. A step that fails is logged (``logs/capture.log``) and spoils no other.
- A file of that name which the user put into ``run.dir`` is never replaced.
- No secret gets into a file (`holdfast.capture.secrets`).
"""

from __future__ import annotations

METADATA = "metadata.json"
REQUIREMENTS = "requirements.txt"
CODE = (
    *("diff.patch", "upstream_diff_*.patch", "code/state.json", "code/staged.patch", "code/commits.bundle"),
    *("code/untracked/**", "code/program/**", "code/other/**"),
)

STEPS: dict[str, tuple[str, ...]] = {
    "metadata": (METADATA,),
    "requirements": (REQUIREMENTS,),
    "code": CODE,
}
"""The steps in their order, each with the patterns of the names that it makes in ``run.dir``."""
