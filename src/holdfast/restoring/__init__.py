"""Verified download: the way from a vault back to files.

The layer is called *restoring* because `holdfast.restore` is the function that users call.
"""
