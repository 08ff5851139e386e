"""The judge card: what a judge is worth on a user's own prompts, one file per family of measures.

evidence (`evidence.py`: what was judged, how it came out) -> measures, each with a light and a sentence -> `card.py`.
Nothing here calls an LM: `teleprompters/judge_card.py` collects the evidence.
"""
