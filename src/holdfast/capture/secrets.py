"""Takes secrets out of what is captured. Pure: text in, text out.

**What counts as a secret.** The value that goes with a name such as ``--api-key``, ``db.password`` or ``HF_TOKEN=``; whatever
has the form of a known kind of key; the credentials in a URL; and the keys that the caller names. In doubt a value
is masked, except where machine learning has words of its own: ``--pad-token``, ``--tokens-per-batch``, ``--sort-key``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit, urlunsplit

MASK = "***"
_LONGEST = 4000
_CUT = 1000
"""So much of what was masked is left out where a text was cut: the cut may have gone through a secret."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_ALWAYS = _set(
    "password passwd passphrase pwd secret secrets apikey apikeys accesskey secretkey authtoken accesstoken "
    "credential credentials bearer authorization dsn webhook"
)
"""A name that ends in one of these names a secret."""

_ALWAYS_PAIRS = _set(
    "api_key access_key secret_key private_key account_key master_key encryption_key signing_key deploy_key "
    "ssh_key license_key service_key app_key storage_key shared_key auth_key admin_key wandb_key openai_key "
    "access_keys api_keys api_token auth_token access_token refresh_token session_token id_token hf_token "
    "bot_token github_token gitlab_token hub_token secret_token bearer_token personal_token user_token "
    "security_token client_secret connection_string web_hook"
)
"""A name that ends in these two words names a secret."""

_MAYBE = _set("key keys token auth pat pass sas sig signature cookie session cred creds pin")
"""A name that ends in one of these may name a secret: the value decides."""

_PLAIN_TOKENS = _set(
    "pad eos bos unk mask sep cls special start end stop begin max min num n per image video audio new prompt "
    "placeholder modifier instance trigger initializer first last next split join separator sos eot eod eom "
    "class target source word sub text vision think tool"
)
"""What comes before ``token`` in names of machine learning: those are no secrets."""

_PLAIN_VALUES = _set("true false none null yes no on off 0 1")

_NAME = re.compile(r"[-+~]*(?P<name>[A-Za-z_][\w.\-/:@]*)\Z")
_ASSIGNED = re.compile(
    r"""(?<![\w.\-])(?P<name>[\w.\-]++)(?P<middle>\\?["']?\s*+(?:=|:(?!//))\s*+)"""
    r"""(?P<value>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+'|[^\s"',;&}\])]++)"""
)
_KINDS = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b",  # AWS
    r"\bgh[pousr]_[A-Za-z0-9]{20,}",  # GitHub
    r"\bgithub_pat_\w{20,}",
    r"\bgl(?:pat|dt|rt)-[\w\-]{16,}",  # GitLab
    r"\bhf_[A-Za-z0-9]{20,}",  # Hugging Face, and Holdfast itself
    r"\bsk-(?=[\w\-]{0,99}\d)[\w\-]{20,}",  # OpenAI, Anthropic and others
    r"\bxox[abeoprs]-[\w\-]{10,}",  # Slack
    r"\bAIza[\w\-]{35}",  # Google
    r"\bya29\.[\w\-]{20,}",
    r"\b[rs]k_(?:live|test)_\w{16,}",  # Stripe
    r"\bnpm_[A-Za-z0-9]{30,}",
    r"\bpypi-[\w\-]{32,}",
    r"\bdckr_pat_[\w\-]{20,}",
    r"\bnvapi-[\w\-]{32,}",  # NVIDIA
    r"\br8_[A-Za-z0-9]{30,}",  # Replicate
    r"\bdapi[0-9a-f]{32}",  # Databricks
    r"\bwandb_v\d_\w{20,}",
    r"\beyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*",  # JSON web tokens
    r"(?i:\b(?:bearer|basic)\s+)(?=[\w\-.~+/]{0,99}\d)[\w\-.~+/]{8,}=*",
)
_FORMS = re.compile("|".join(_KINDS), re.DOTALL)
_URL = re.compile(r"(?<![\w+.\-])(?P<scheme>[A-Za-z][A-Za-z0-9+.\-]*+)://(?P<user>[^\s/?#\"'<>]*)@(?=[\w\[])")


def mask_arguments(arguments: Sequence[str], known: Iterable[str] = ()) -> list[str]:
    """Return the arguments of a program with every secret replaced by ``***``.

    Of an argument of more than 4,000 characters only the beginning is kept.

    Knows ``--name value``, ``--name=value``, ``NAME=value``, ``some.name=value`` and what `mask_text` finds in a value.

    Args:
        arguments: As in ``sys.argv``.
        known: Secrets that are to be masked wherever they are.
    """
    known = tuple(known)
    masked: list[str] = []
    option: str | None = None
    for argument in arguments:
        is_flag = re.match(r"--?[A-Za-z]", argument) is not None
        if option is not None and not is_flag and _is_secret(option, argument):
            masked.append(MASK)
        else:
            masked.append(_mask_argument(argument, known))
        found = _NAME.match(argument) if is_flag else None
        option = found["name"] if found else None
    return masked


def _mask_argument(argument: str, known: tuple[str, ...]) -> str:
    name, equals, value = argument.partition("=")
    found = _NAME.match(name) if equals else None
    if found and _is_secret(found["name"], value):
        return f"{name}={MASK}"
    if len(argument) > _LONGEST:  # masking takes time with the square of the length
        masked = mask_text(argument[:_LONGEST], known)
        return f"{masked[: max(0, len(masked) - _CUT)]}... ({len(argument):,} characters)"
    return mask_text(argument, known)


def mask_text(text: str, known: Iterable[str] = ()) -> str:
    """Return a text with every secret in it replaced by ``***``.

    That is: keys of a known form, credentials in URLs, and the values of names that name secrets (``"api_key": "..."``, ``?token=...``).
    """
    for secret in known:
        if len(secret) >= 8:
            text = text.replace(secret, MASK)
    text = _FORMS.sub(MASK, text)
    return _mask_assigned(_URL.sub(_mask_user, text))


def without_credentials(url: str) -> str:
    """Return a URL, as of a git remote, without user name and password.

    Of ``ssh`` the user name stays: it is no secret, and the URL does not work without it. What is no URL, such as
    ``git@host:path``, stays as it is, but for keys of a known form.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return _FORMS.sub(MASK, _URL.sub(r"\g<scheme>://", url))
    if not parts.netloc:
        return _FORMS.sub(MASK, url)
    user, at, host = parts.netloc.rpartition("@")
    keeps_user = parts.scheme in ("ssh", "git+ssh") and at
    netloc = f"{user.partition(':')[0]}@{host}" if keeps_user else host
    return mask_text(urlunsplit(parts._replace(netloc=netloc)))


def _mask_user(found: re.Match[str]) -> str:
    user, colon, _ = found["user"].partition(":")
    scheme = found["scheme"]
    if colon:
        return f"{scheme}://{user}:{MASK}@" if user else f"{scheme}://:{MASK}@"
    keeps = not scheme.lower().endswith(("http", "https")) and not _looks_random(user)
    return found[0] if keeps else f"{scheme}://{MASK}@"


def _mask_assigned(text: str) -> str:
    """Mask the values of ``name=value`` and ``"name": value``; a value may hold the next such pair."""
    pieces = []
    at = 0
    while found := _ASSIGNED.search(text, at):
        value = found["value"]
        quote = value[0] if value[0] in "\"'" else ""
        bare = value[1:-1] if quote else value
        if bare and _is_secret(found["name"], bare):
            pieces.append(f"{text[at : found.start('value')]}{quote}{MASK}{quote}")
            at = found.end()
        else:
            pieces.append(text[at : found.start("value")])
            at = found.start("value")
    return "".join(pieces) + text[at:]


def _is_secret(name: str, value: str) -> bool:
    """Tell whether the value that goes with a name is a secret."""
    if not value or value.lower() in _PLAIN_VALUES or value == MASK:
        return False
    words = _words(name)
    last = words[-1] if words else ""
    if last in _ALWAYS or "_".join(words[-2:]) in _ALWAYS_PAIRS:
        return True
    if last == "token":
        return not (set(words[:-1]) & _PLAIN_TOKENS or _is_number(value)) or _looks_random(value)
    return last in _MAYBE and (name.isupper() or _looks_random(value))


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _looks_random(value: str) -> bool:
    """Tell whether a value looks like a key: long, without spaces or slashes, and of high entropy."""
    if len(value) < 16 or not re.fullmatch(r"[\w\-+=.~%]+", value) or not re.search(r"\d", value):
        return False
    counts = Counter(value)
    entropy = -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())
    return entropy > 3.0
