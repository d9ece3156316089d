"""API keys: ``hf_`` + 28 random characters (166 bits) + 6 characters that catch a mistyped key.

The vault's catalog has only the SHA-256 of a key. That is enough for a secret of full entropy: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

_ALPHABET = string.digits + string.ascii_letters
_RANDOM_LENGTH = 28
_CHECK_LENGTH = 6
_PREFIX = "hf_"


def new_api_key() -> str:
    """Return a new random key."""
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return _PREFIX + body + _check(body)


def is_well_formed(key: str) -> bool:
    """Tell whether the text can be a key at all: a mistyped one is refused without asking the catalog."""
    body = key[len(_PREFIX) : -_CHECK_LENGTH]
    return key.startswith(_PREFIX) and len(body) == _RANDOM_LENGTH and key.endswith(_check(body))


def hash_of(key: str) -> bytes:
    """Return what the catalog keeps of a key."""
    return hashlib.sha256(key.encode()).digest()


def _check(body: str) -> str:
    number = zlib.crc32(body.encode())
    text = ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        text += _ALPHABET[digit]
    return text
