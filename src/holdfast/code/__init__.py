"""The code of a run as it was: captured from a git repository when the run begins, and put back later.

`capture` and what it uses only read the repository. `restore` builds everything in git's object store first and
touches the user's tree last.
"""

from __future__ import annotations
