"""What went wrong, in our own errors: the one place that translates urllib3's errors and the server's answers."""

from __future__ import annotations

import json
import ssl

import urllib3
from urllib3.exceptions import (
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)
from urllib3.exceptions import (
    TimeoutError as HttpTimeoutError,
)

from holdfast.errors import HoldfastError, SettingsError, VaultUnavailableError, error_classes

_FINAL_STATUSES = frozenset({501, 505})
_TEXT_LIMIT = 300


class PassingFault(Exception):  # noqa: N818 - never leaves this package
    """The same request may well succeed in a moment.

    Args:
        error: What to raise when the patience is used up.
        retry_after_s: The server asked to wait at least so long.
    """

    def __init__(self, error: HoldfastError, retry_after_s: float = 0.0) -> None:
        super().__init__(error)
        self.error = error
        self.retry_after_s = retry_after_s


def fault_of_connection(exc: HTTPError, origin: str) -> HoldfastError | PassingFault:
    """Translate an error of urllib3. A certificate that is not trusted is final; all else may pass."""
    if isinstance(exc, SSLError):
        if "certificate" in str(exc).lower() or isinstance(exc.__cause__, ssl.SSLCertVerificationError):
            return SettingsError(
                f"The TLS certificate of {origin} is not valid: {_reason(exc)}.",
                hint="Correct the URL, or make its certificate known to this machine (SSL_CERT_FILE).",
            )
        if "wrong version number" in str(exc).lower() or "record layer" in str(exc).lower():
            return SettingsError(f"{origin} does not speak TLS.", hint="Use http:// in the URL.")
    return PassingFault(VaultUnavailableError(f"The vault at {origin} cannot be reached: {_reason(exc)}."))


def fault_of_answer(
    response: urllib3.BaseHTTPResponse, body: bytes, origin: str
) -> HoldfastError | PassingFault:
    """Translate an answer that is not a success."""
    status = response.status
    told = _told(body)
    retry_after_s = _seconds(response.headers.get("retry-after"))
    if told is not None and type(told) is not HoldfastError:
        return PassingFault(told, retry_after_s) if isinstance(told, VaultUnavailableError) else told
    if status == 429 or (status >= 500 and status not in _FINAL_STATUSES):
        error = VaultUnavailableError(
            f"The vault at {origin} answered {status}: {told.message if told else _text(body)}",
            details=told.details if told else None,
        )
        return PassingFault(error, retry_after_s)
    if 300 <= status < 400:
        return SettingsError(
            f"{origin} redirects to {response.headers.get('location')}.", hint="Log in with that URL instead."
        )
    return told or HoldfastError(f"{origin} answered {status}, not as a Holdfast server would: {_text(body)}")


def _told(body: bytes) -> HoldfastError | None:
    """Rebuild the error that the server raised; None when the body is not one of ours."""
    try:
        shape = json.loads(body)
        code, message = str(shape["code"]), str(shape["message"])
    except (ValueError, TypeError, KeyError):
        return None
    details = shape.get("details")
    facts = dict(details) if isinstance(details, dict) else {}
    if shape.get("request_id"):
        facts["request_id"] = shape["request_id"]
    cls = error_classes().get(code, HoldfastError)
    return cls(message, hint=str(shape.get("hint") or ""), details=facts)


def _seconds(text: str | None) -> float:
    try:
        return min(max(float(text or 0), 0.0), 300.0)
    except ValueError:
        return 0.0


def _text(body: bytes) -> str:
    return body[:_TEXT_LIMIT].decode(errors="replace").strip() or "(nothing)"


def _reason(exc: HTTPError) -> str:
    if isinstance(exc, NameResolutionError):
        return "its name is not known"
    if isinstance(exc, NewConnectionError):
        return str(exc.__cause__ or exc)
    if isinstance(exc, HttpTimeoutError):
        return "it did not answer in time"
    inner = exc.args[-1] if exc.args else exc
    return str(inner).rstrip(".")
