"""The ledger: which criteria judge which query, why, and with what weight; picked once, then pinned.

Every candidate is judged by the criteria that stand here, so their scores compare. The file is JSON that a person can
read, edit and use again; the same ledger makes the same reward for another optimizer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError
from ..programs.text import canonical
from .criteria import CriteriaLibrary, Criterion

FORMAT = 1
"""Version of the ledger file."""


class Source(StrEnum):
    """Who chose a query's criteria."""

    SELECTOR = "selector"
    """The criteria LM."""
    STATIC = "static"
    """Nobody: all queries have the same."""
    FALLBACK = "fallback"
    """Nobody: the criteria LM gave no readable choice, so the query has the static ones."""
    USER = "user"
    """A person, in the file."""
    OFFICIAL = "official"
    """The paper authors' published cache."""


@dataclass(frozen=True)
class Entry:
    """The criteria of one query."""

    query: str
    """The query's text, exactly."""
    criteria: tuple[Criterion, ...]
    """One or more, the most important first; their weights hold for this query."""
    reasons: tuple[str, ...] = ()
    """Why each matters here, in their order; empty if nobody said."""
    analysis: str = ""
    """What was said about the query."""
    source: Source = Source.USER
    """Who chose."""

    def __post_init__(self) -> None:
        if not isinstance(self.query, str):
            raise ConfigError(f"query={self.query!r}: give the query's text")
        names = [canonical(criterion.name) for criterion in self.criteria]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"the query {self.query[:60]!r} has no criteria, or one of them twice; name each once")

    def reason(self, index: int) -> str:
        """Return why the criterion at an index matters here; empty if nobody said."""
        return self.reasons[index] if index < len(self.reasons) else ""


class Ledger:
    """Query to criteria, pinned at the first writing.

    Example:
        >>> ledger = Ledger()
        >>> entry = ledger.pin(Entry("Why is the sky blue?", (Criterion("Rigour", "Each step is shown."),)))
        >>> ledger["Why is the sky blue?"] is entry
        True
    """

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        self._entries = dict(entries or {})
        self._lock = threading.Lock()

    def __getitem__(self, query: str) -> Entry:
        return self._entries[query]

    def __contains__(self, query: object) -> bool:
        return query in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __deepcopy__(self, memo: dict[int, Any]) -> Ledger:
        return self  # copies of a metric must go on sharing what is pinned

    def __getstate__(self) -> dict[str, Any]:
        return {"entries": self._entries}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["entries"])  # type: ignore[misc]

    def get(self, query: str) -> Entry | None:
        """Return the query's entry, or None."""
        return self._entries.get(query)

    def pin(self, entry: Entry) -> Entry:
        """Keep an entry unless its query has one already, and return the one that holds."""
        with self._lock:
            return self._entries.setdefault(entry.query, entry)

    def save(self, path: Path | str) -> None:
        """Write the ledger as JSON, its entries in the order of their queries."""
        entries = [
            {
                "query": entry.query,
                "source": entry.source.value,
                "analysis": entry.analysis,
                "criteria": [
                    {**asdict(criterion), "reason": entry.reason(index)}
                    for index, criterion in enumerate(entry.criteria)
                ],
            }
            for entry in sorted(self, key=lambda entry: entry.query)
        ]
        text = json.dumps({"format": FORMAT, "entries": entries}, ensure_ascii=False, indent=2)
        # Half a surrogate pair becomes its JSON escape, so it is read back as it was.
        Path(path).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")

    @classmethod
    def load(cls, path: Path | str, *, library: CriteriaLibrary | None = None) -> Ledger:
        """Read a ledger file, ours or the paper authors' published cache of choices.

        Args:
            path: The file.
            library: Where criteria that are only named get their definitions; None: the built-in library.

        Raises:
            DataError: If the file is missing or is neither form.
        """
        label = f"ledger={str(path)!r}"
        data = _data(Path(path), label)
        library = library or CriteriaLibrary()
        read: Callable[[Any, CriteriaLibrary], Entry] = _entry
        if isinstance(data, dict) and "format" in data:
            if data["format"] != FORMAT:
                raise DataError(f"{label}: has format {data['format']!r}, this version of drpo reads {FORMAT}")
            items = data.get("entries")
        elif isinstance(data, dict) and data and all(map(_is_official, data.values())):
            items, read = list(data.items()), _official_entry
        else:
            raise DataError(f"{label}: has no 'format' and is no published cache of choices; is it a ledger?")
        if not isinstance(items, list):
            raise DataError(f"{label}: its 'entries' are no list; repair it in the file")
        entries: dict[str, Entry] = {}
        for number, item in enumerate(items, start=1):
            try:
                entry = read(item, library)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                raise DataError(f"{label}: entry {number} cannot be used ({said}); repair it in the file") from error
            if entry.query in entries:
                raise DataError(f"{label}: entry {number} is the second one of {entry.query[:60]!r}; drop one of them")
            entries[entry.query] = entry
        return cls(entries)


def _data(path: Path, label: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{label}: cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{label}: is not JSON ({error}); repair it or delete it to choose anew") from error


def _entry(item: Any, library: CriteriaLibrary) -> Entry:
    criteria, reasons = [], []
    for value in item["criteria"]:
        given = {"name": value} if isinstance(value, str) else dict(value)
        reasons.append(str(given.pop("reason", None) or ""))
        name = given["name"]
        if unknown := sorted(set(given) - _KEYS):
            raise ConfigError(f"the criterion {name!r} has the unknown keys {unknown}; known are {sorted(_KEYS)}")
        if "definition" not in given:
            known = library.find(name)
            if known is None:
                raise ConfigError(f"the criterion {name!r} is not in the library: give it a 'definition'")
            given = {**asdict(known), **given, "name": known.name}
        criteria.append(Criterion(**given))
    source = Source(item.get("source", Source.USER))
    said = tuple(reasons) if any(reasons) else ()
    return Entry(item["query"], tuple(criteria), said, str(item.get("analysis") or ""), source)


_KEYS = frozenset(field.name for field in fields(Criterion))


def _is_official(item: object) -> bool:
    return isinstance(item, dict) and isinstance(item.get("aspects_selection"), dict)


def _official_entry(item: tuple[str, Any], library: CriteriaLibrary) -> Entry:
    query, choice = item
    selection = choice["aspects_selection"]
    criteria = {}
    for name in selection["selected_aspects"]:
        # The cache gives invented aspects a name only.
        criterion = library.find(name) or Criterion(name, f"The answer does well in respect of: {name}.")
        criteria[canonical(criterion.name)] = criterion
    analysis = " ".join(str(value) for value in choice.get("query_analysis", {}).values())
    said = f"{analysis} {selection.get('reasoning', '')}".strip()
    return Entry(query, tuple(criteria.values()), (), said, Source.OFFICIAL)
