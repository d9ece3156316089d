"""What a vault can be asked (`vault.Vault`), and the messages that it is asked with (`messages`)."""
