"""Thin adapters from training libraries to the public calls; each is loaded when it is first used.

`holdfast.keras` and `holdfast.tensorboard` are what users name.
"""
