"""The paper authors' published files are usable at once: searches as programs, cached choices as ledgers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drpo import Ledger, load
from drpo.metrics.ledger import Source
from drpo.programs.official import import_official


def test_every_published_run_imports(drpo_data: Path, tmp_path: Path) -> None:
    """Each run becomes a saved program whose instruction is the last level's prompt, byte for byte."""
    runs = sorted((drpo_data / "official" / "runs").glob("*.json"))
    assert len(runs) == 6
    demos = drpo_data / "official" / "ICL_examples.json"
    for path in runs:
        levels = json.loads(path.read_text(encoding="utf-8"))
        import_official(path, demos=demos).save(tmp_path / "program.json")
        program = load(tmp_path / "program.json")
        assert program.respond.signature.instructions == levels[f"level {len(levels)}"]["Prompt"].strip()
        assert (len(program.respond.pool), program.respond.k) == (16, 3)
        assert not any("<START>" in demo["response"] or "<END>" in demo["response"] for demo in program.respond.pool)


@pytest.mark.parametrize(("name", "queries"), [("metrics_cache.json", 55), ("icl_metrics_cache.json", 29)])
def test_cached_choices_load_into_a_ledger(drpo_data: Path, tmp_path: Path, name: str, queries: int) -> None:
    """Every cached query has the criteria that were chosen for it, all of the library, and survives our own file."""
    path = drpo_data / "official" / name
    cache = json.loads(path.read_text(encoding="utf-8"))
    ledger = Ledger.load(path)
    assert len(ledger) == len(cache) == queries
    for query, choice in cache.items():
        entry = ledger[query]
        assert entry.source is Source.OFFICIAL
        assert len(entry.criteria) == len(set(choice["aspects_selection"]["selected_aspects"]))
        assert all(criterion.best for criterion in entry.criteria)  # anchors: known to the library
    ledger.save(tmp_path / "ledger.json")
    again = Ledger.load(tmp_path / "ledger.json")
    assert {entry.query: entry.criteria for entry in again} == {entry.query: entry.criteria for entry in ledger}
