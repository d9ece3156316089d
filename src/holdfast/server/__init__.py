"""A vault over HTTP: routes thin over the `Vault` Protocol, API keys, and the process that serves them."""
