"""Which files look like secrets by their name: they are never taken along with the code."""

from __future__ import annotations

from holdfast.patterns import Pattern

_SECRET = tuple(
    Pattern(text)
    for text in [
        ".env",
        ".env.*",
        "*.env",
        ".envrc",
        ".netrc",
        "_netrc",
        ".pgpass",
        ".my.cnf",
        ".htpasswd",
        "*.htpasswd",
        ".npmrc",
        ".pypirc",
        ".git-credentials",
        ".s3cfg",
        ".boto",
        ".dockercfg",
        ".dockerconfigjson",
        "kubeconfig",
        ".vault-token",
        "kaggle.json",
        "*.pem",
        "*.key",
        "*.p8",
        "*.p12",
        "*.pfx",
        "*.jks",
        "*.keystore",
        "*.kdbx",
        "*.ppk",
        "*.ovpn",
        "*.asc",
        "*.gpg",
        "*.tfstate",
        "*.tfvars",
        "id_rsa*",
        "id_dsa*",
        "id_ecdsa*",
        "id_ed25519*",
        "token",
        "token.json",
        "token.txt",
        "*.token",
        "*_token.txt",
        "credentials",
        "credentials.*",
        "*credentials*.json",
        "*credentials*.y*ml",
        "client_secret*",
        "service[-_]account*.json",
        "secret",
        "secrets",
        "secret.*",
        "secrets.*",
        "*secrets.y*ml",
        "*secrets.json",
        "password*",
        "passwd",
        "api[-_]key*",
        "apikey*",
        "*.api_key",
    ]
)
_NO_SECRET = tuple(
    Pattern(text) for text in [".env.example", ".env.sample", ".env.template", ".env.dist", "*.pub"]
)
_FOLDERS = frozenset({".ssh", ".aws", ".azure", ".gcloud", ".gnupg", ".kube", ".docker"})
_CODE = (".py", ".ipynb")
_SECRET_CODE = frozenset(
    {"secret", "secrets", "credentials", "api_key", "api_keys", "apikey", "apikeys", "passwords"}
)


def looks_secret(path: str) -> bool:
    """Tell whether the file of this path looks like one that holds keys, passwords or tokens."""
    *folders, name = path.lower().split("/")
    if any(folder in _FOLDERS for folder in folders):
        return True
    if name.endswith(_CODE):
        return name.rpartition(".")[0] in _SECRET_CODE
    return any(item.matches(name) for item in _SECRET) and not any(item.matches(name) for item in _NO_SECRET)
