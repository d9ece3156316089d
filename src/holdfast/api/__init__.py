"""The Run API: projects, runs and files as the vault has them, from any machine and with no run under way.

import holdfast

api = holdfast.Api()
run = api.run("me/mnist/a1b2c3d4")
for file in run.files("checkpoints/**"):
    print(file.name, file.size, file.digest)
run.file("model.pt").download(root="restored")
"""

from __future__ import annotations

from holdfast.api.client import Api
from holdfast.api.files import File, Files
from holdfast.api.pages import Pages
from holdfast.api.runs import Project, Run

__all__ = ["Api", "File", "Files", "Pages", "Project", "Run"]
