"""The syncer: follows a run directory, reads its files safely and stores what the vault lacks.

`jobs` is the seam within: whoever follows the journal makes jobs, the uploader turns each into a version.
"""
