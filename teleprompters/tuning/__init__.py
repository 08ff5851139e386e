"""Tuning: DRPO's own settings, chosen by Optuna for the most held-out gain per call.

`loop.py` is the loop; `space.py` what may be tried, `objective.py` what a trial is worth, `studies.py` where trials are
kept and who works on which, `sampler.py` what the next one tries, `confirmation.py` what the best is worth on folds
that no trial saw, `allowance.py` the caps over all of it.
"""
