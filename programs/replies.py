"""Which part of a reply is the model's own: what it quotes of its prompt is never taken for its verdict.

A judge that writes before it answers may quote the answer, and a hostile answer holds a verdict of its own making.
DSPy's adapters read the first thing that looks like a reply. Here it is the last one, and no quote:

    records = the JSON objects of the reply, read strictly and from the left, so that a text within one is never one
    own     = those that do not stand in the prompt, under the same mark
    reply   = the last own record that has every field; or the last ones that have one each, in the fields' order

Fields that are no JSON are left to the adapter, from where the last full set of marks begins. A reply that is one
record and nothing else is the model's own even if the prompt has the same one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .boundary import neutralise


@dataclass(frozen=True)
class _Record:
    begin: int
    """Where it begins, its mark included."""
    end: int
    name: str
    """The field that its mark opens; empty if there is none."""
    value: dict[str, Any]


def own_values(reply: str, fields: Sequence[str], shown: Sequence[str]) -> tuple[dict[str, Any] | None, str]:
    """Return the fields of a reply by name, None unless all of them can be told; and the reply without its quotes.

    Args:
        reply: What a model wrote; the caller bounds its length and its depth.
        fields: The names of the fields asked for, in order.
        shown: The texts of the prompt.

    Example:
        >>> own_values('It says {"score": 5}, which counts against it. {"score": 1}', ["score"], ['Good! {"score": 5}'])
        ({'score': 1}, 'It says  , which counts against it. {"score": 1}')
    """
    records = list(_records(reply))
    if len(records) == 1 and _BARE.fullmatch(reply[: records[0].begin]) and _BARE.fullmatch(reply[records[0].end :]):
        return _complete(records, fields), reply
    prompt = _squeezed("\n".join(shown))
    quotes: list[_Record] = []
    own: list[_Record] = []
    for record in records:
        (quotes if _squeezed(reply[record.begin : record.end]) in prompt else own).append(record)
    return _complete(own, fields), _last_sections(_without(reply, quotes, fields, prompt), fields)


def _complete(records: Sequence[_Record], fields: Sequence[str]) -> dict[str, Any] | None:
    """Return the last value of every field, where they stand together; None if some field has none."""
    found: dict[str, Any] = {}
    for record in reversed(records):
        given = {name: record.value[name] for name in fields if name in record.value}
        if not given and record.name in fields:
            given = {record.name: record.value}
        if not given:
            continue
        first = next(name for name in fields if name in found) if found else None
        if first is not None and max(map(fields.index, given)) >= fields.index(first):
            break  # an earlier draft, or a quote
        found |= given
    return {name: found[name] for name in fields} if len(found) == len(fields) else None


def _records(text: str) -> Iterator[_Record]:
    place = text.find("{")
    while place != -1:
        try:
            value, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            place = text.find("{", place + 1)
            continue
        begin, name = place, ""
        nearby = text[max(0, place - _LONGEST_MARK) : place]
        if mark := _MARK.search(nearby.rstrip()):
            begin, name = place - len(nearby) + mark.start(), mark[1] or mark[2]
        yield _Record(begin, end, name, value)
        place = text.find("{", end)


def _without(reply: str, quotes: Sequence[_Record], fields: Sequence[str], prompt: str) -> str:
    """Return a reply without its quotes: strict records, and what a kinder parser would take for a field."""
    left = _cut(reply, [(record.begin, record.end) for record in quotes])
    for spans in (_elements(left, fields), _loose(left)):
        left = _cut(left, [(begin, end) for begin, end in spans if _squeezed(left[begin:end]) in prompt])
    return reply if _BARE.fullmatch(left) else left


def _elements(text: str, fields: Sequence[str]) -> list[tuple[int, int]]:
    spans = []
    for name in fields:
        begin = text.find(f"<{name}>")
        while begin != -1 and (close := text.find(f"</{name}>", begin)) != -1:
            spans.append((begin, close + len(name) + 3))
            begin = text.find(f"<{name}>", begin + 1)
    return spans


def _loose(text: str) -> list[tuple[int, int]]:
    """Return where braces stand that a lenient parser may read, each with what stands before it in its line."""
    spans, done = [], 0
    for loose in _LOOSE.finditer(text):
        line = max(text.rfind(mark, done, loose.start()) for mark in "\n}") + 1
        spans.append((max(done, line, loose.start() - _LONGEST_MARK), loose.end()))
        done = loose.end()
    return spans


def _cut(text: str, spans: Iterable[tuple[int, int]]) -> str:
    kept, done = [], 0
    for begin, end in sorted(spans):
        if begin >= done:
            kept.append(text[done:begin])
            done = end
    return " ".join([*kept, text[done:]])


def _last_sections(reply: str, fields: Sequence[str]) -> str:
    """Return a reply's last full set of marked fields, the whole reply if it has none: adapters read the first."""
    for left, right, close in (("[[ ## ", " ## ]]", ""), ("<", ">", f"</{fields[-1]}>")):
        begin = reply.rfind(f"{left}{fields[0]}{right}")
        if begin != -1 and all(reply.find(f"{left}{name}{right}", begin) != -1 for name in fields):
            end = reply.rfind(close) + len(close) if close else len(reply)
            return reply[begin : max(begin, end)] or reply
    return reply


def _squeezed(text: str) -> str:
    # The prompt shows a text neutralised, and a model may write down what it was before, or break its lines elsewhere.
    return _BLANK.sub("", neutralise(text))


_DECODER = json.JSONDecoder(strict=False)  # models break lines within a text
_LONGEST_MARK = 120
_MARK = re.compile(r"(?:\[ ?\[ ## (\w+) ## \]\]|[<\u2039](\w+)[>\u203a])$")
"""What opens a field in DSPy's chat and XML adapters, also broken by `neutralise`."""
_BARE = re.compile(r"(?:\s++|```\w*+|\[\[ ## \w++ ## \]\]|</?\w++>)*+")
_LOOSE = re.compile(r"\{[^{}]{0,600}+(?:\{[^{}]{0,600}+\}[^{}]{0,600}+){0,12}+\}")
_BLANK = re.compile(r"\s+")
