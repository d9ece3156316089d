"""Which vault the settings mean, opening it, and logging in: the one place that knows both kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.credentials import Credential, forget_credential, load_credential, server_url, store_credential
from holdfast.errors import UnauthorizedError
from holdfast.protocol.vault import Vault
from holdfast.settings import Secret, Settings, load_settings
from holdfast.settings_file import write_setting

if TYPE_CHECKING:
    from holdfast.protocol.messages import Identity


def open_vault(settings: Settings, *, retry_for_s: float = 30.0) -> Vault:
    """Open the vault that the settings mean: the server at ``base_url``, or else the embedded vault.

    Nothing is sent: a server that cannot be reached or a key that is not valid shows at the first call.

    Args:
        settings: The settings in force.
        retry_for_s: How long one request to a server is repeated while the fault may pass.

    Raises:
        UnauthorizedError: There is no API key for the server.
        SettingsError: ``base_url`` is not the URL of a server.
        VaultLocationError: The embedded vault cannot live where it is configured.
    """
    if settings.base_url is None:
        from holdfast.vault import open_vault_at

        return open_vault_at(settings.vault_dir, user=settings.entity_or_user)
    from holdfast.remote import RemoteVault

    url = server_url(settings.base_url)
    credential = load_credential(settings.home, url)
    api_key = settings.api_key or (credential.api_key if credential else None)
    if api_key is None:
        raise UnauthorizedError(
            f"You are not logged in to {url}.", hint=f"Run `holdfast login {url}`, or set HOLDFAST_API_KEY."
        )
    return RemoteVault(url, api_key, retry_for_s=retry_for_s)


def log_in(settings: Settings, url: str, api_key: str) -> Identity:
    """Check an API key, keep it, and let all runs of this user go to that server from now on.

    Raises:
        SettingsError: It is not the URL of a server.
        UnauthorizedError: The server does not take the key; nothing is kept.
        VaultUnavailableError: The server does not answer.
    """
    from holdfast.remote import RemoteVault

    url = server_url(url)
    vault = RemoteVault(url, Secret(api_key), retry_for_s=2.0)
    try:
        identity = vault.whoami()
    finally:
        vault.close()
    store_credential(settings.home, url, Credential(Secret(api_key), identity.entity))
    write_setting(settings.home / "settings", "base_url", url)
    return identity


def log_out(settings: Settings, url: str) -> bool:
    """Forget the API key of a server, and that this user's runs go there; False if there was no key.

    Raises:
        SettingsError: It is not the URL of a server.
    """
    url = server_url(url)
    known = forget_credential(settings.home, url)
    of_user = load_settings({}, home=settings.home, dir=settings.home).base_url
    if of_user is not None and server_url(of_user) == url:
        write_setting(settings.home / "settings", "base_url", None)
    return known
