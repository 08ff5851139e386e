"""The search: the optimizer, its beam, and the record of a run."""
