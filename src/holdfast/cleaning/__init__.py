"""Removing run directories whose content the vault has been seen to hold: what ``holdfast sync --clean`` does.

`survey` says what lies in a directory, `proof` asks the vault for every byte of it, `clean` decides and removes.
"""
