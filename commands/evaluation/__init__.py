"""Evaluation by a suite: queries, answers, marks, and what two programs' marks say of each other."""
