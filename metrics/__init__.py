"""The dynamic reward and what measures with it."""
