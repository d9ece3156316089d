"""Which vault the settings mean, and opening it: the one place that knows both kinds."""

from __future__ import annotations

from holdfast.credentials import load_credential, server_url
from holdfast.errors import UnauthorizedError
from holdfast.protocol.vault import Vault
from holdfast.settings import Settings


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
