"""URLs given to `save`: they are refused, since what they name does not lie on this machine."""

from __future__ import annotations

import re

from holdfast.errors import CloudUrlError

_STORAGE = (
    r"gs|gcs|s3|s3a|s3n|az|azure|abfss?|adl|wasbs?|r2|oss|cos|obs|hdfs|viewfs|webhdfs|dbfs|https?|ftps?|sftp"
)
_URL = re.compile(
    rf"(?P<scheme>(?:{_STORAGE}|file)(?=:/)|[a-z][a-z0-9+.\-]+(?=://)):/{{1,3}}(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
"""A known scheme counts with one slash too: that is what `pathlib.Path` makes of a URL."""


def is_url(text: str) -> bool:
    """Tell whether a text begins as a URL does; there may be a local path of that very form all the same."""
    return _URL.match(text) is not None


def url_error(text: str) -> CloudUrlError:
    """Return the error for a URL, with what to do instead."""
    found = _URL.match(text)
    assert found is not None
    scheme, rest = found["scheme"], found["rest"]
    if scheme.lower() == "file":
        from urllib.parse import unquote, urlsplit  # only needed for what is wrong

        path = unquote(urlsplit(f"file:///{rest}").path)
        return CloudUrlError(f"{text!r} is a url, can't save file to run.", hint=f"Pass the path: {path!r}.")
    return CloudUrlError(f"'{scheme}://{rest}' is a cloud storage url, can't save file to run.")
