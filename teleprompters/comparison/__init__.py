"""The comparison of DRPO with DSPy's own optimizers: who takes part, on what, and with how many calls."""
