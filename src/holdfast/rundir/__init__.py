"""The run directory: the seam between the training process and the syncer.

`layout` names the places in it, `records` is the form of its two logs, `facts` is what they say. Described in
`docs/internals/run-directory.md`.
"""
