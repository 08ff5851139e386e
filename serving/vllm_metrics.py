"""The counters of a vLLM server, read from its Prometheus page."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

PREFIX_CACHE_QUERIES = "vllm:prefix_cache_queries_total"
"""Prompt tokens looked up in the prefix cache since the server started."""
PREFIX_CACHE_HITS = "vllm:prefix_cache_hits_total"
"""Prompt tokens found there."""

_SAMPLE = re.compile(r'^([A-Za-z_:][\w:]*)(?:\{(?:[^"}]|"(?:\\.|[^"\\])*")*\})?\s+(\S+)', re.ASCII)
# A sum over label sets means nothing for these: bounds of a histogram are cumulative, moments are not amounts.
_NOT_AMOUNTS = ("_bucket", "_created")


def parse_metrics(text: str) -> dict[str, float]:
    r"""Read a Prometheus page into one number per name, summed over the label sets.

    Args:
        text: The page, in Prometheus' text format. Lines that are not samples are passed over.

    Returns:
        Name -> sum. Histograms give their `_count` and `_sum` only.

    Example:
        >>> parse_metrics('hits_total{engine="0"} 3.0\nhits_total{engine="1"} 4.0')
        {'hits_total': 7.0}
    """
    totals: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample is None or sample[1].endswith(_NOT_AMOUNTS):
            continue
        with suppress(ValueError):  # words where a number should be
            value = float(sample[2])
            totals[sample[1]] += value
    return dict(totals)


def prefix_cache_hit_rate(metrics: Mapping[str, float], since: Mapping[str, float] | None = None) -> float | None:
    """The share of prompt tokens that the server took from its prefix cache.

    Args:
        metrics: What `parse_metrics` gave.
        since: An earlier reading of the same server; only what came after it counts. None: since its start.

    Returns:
        A share in [0, 1]; None when no prompt token was looked up (or prefix caching is off).

    Example:
        >>> prefix_cache_hit_rate({"vllm:prefix_cache_queries_total": 20.0, "vllm:prefix_cache_hits_total": 17.0})
        0.85
    """
    before = since or {}
    queries = metrics.get(PREFIX_CACHE_QUERIES, 0.0) - before.get(PREFIX_CACHE_QUERIES, 0.0)
    hits = metrics.get(PREFIX_CACHE_HITS, 0.0) - before.get(PREFIX_CACHE_HITS, 0.0)
    return hits / queries if queries > 0 else None
