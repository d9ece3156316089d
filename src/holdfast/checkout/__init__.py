"""Puts the code of a run back: the commit, the uncommitted changes and the files that git did not follow.

Everything is built in git's object store first; the user's tree is touched last, and left as it was when that fails.
"""

from __future__ import annotations
