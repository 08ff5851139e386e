"""The prompts and demonstrations that are shipped: the promised mix, nothing twice, nothing half written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import groupby

import pytest

PROMPTS = "prompts.jsonl"
DEMONSTRATIONS = "demos.jsonl"
KEYS = {PROMPTS: {"query", "kind"}, DEMONSTRATIONS: {"query", "response", "kind"}}

# Share of their words (Jaccard) above which two queries ask the same thing; the closest two shipped stay below 0.3.
NEAR_DUPLICATE = 0.5


def read_text(name: str) -> str:
    # Through the installed package, so a file left out of the distribution is missed here too.
    return files("drpo.configs").joinpath("data", name).read_bytes().decode("utf-8")


def read_lines(name: str) -> list[str]:
    return read_text(name).removesuffix("\n").split("\n")  # `splitlines` would also split at U+2028 inside a text


def read_rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in read_lines(name)]


def normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def words(text: str) -> frozenset[str]:
    letters = "".join(character if character.isalnum() else " " for character in text.casefold())
    return frozenset(letters.split())


def near_duplicates(queries: Iterable[str]) -> Iterator[tuple[str, str]]:
    seen: list[tuple[str, frozenset[str]]] = []
    for query in queries:
        bag = words(query)
        for other, other_bag in seen:
            if len(bag & other_bag) > NEAR_DUPLICATE * len(bag | other_bag):
                yield other, query
        seen.append((query, bag))


@pytest.fixture(scope="module")
def prompts() -> list[dict[str, str]]:
    return read_rows(PROMPTS)


@pytest.fixture(scope="module")
def demonstrations() -> list[dict[str, str]]:
    return read_rows(DEMONSTRATIONS)


@pytest.mark.parametrize("name", [PROMPTS, DEMONSTRATIONS])
def test_every_line_is_one_complete_object(name: str) -> None:
    """Each line is a JSON object with exactly the documented keys, each a string with text and no stray edges."""
    for number, line in enumerate(read_lines(name), start=1):
        where = f"{name}, line {number}"
        row = json.loads(line)
        assert isinstance(row, dict), where
        assert set(row) == KEYS[name], where
        for key, value in row.items():
            assert isinstance(value, str), f"{where}: {key}"
            assert value, f"{where}: {key}"
            assert value == value.strip(), f"{where}: {key}"
            assert "\x00" not in value, f"{where}: {key}"
            assert "\ufffd" not in value, f"{where}: {key}"


@pytest.mark.parametrize("name", [PROMPTS, DEMONSTRATIONS])
def test_files_end_like_text_files(name: str) -> None:
    """One newline ends the last line and no line ends in a carriage return, so tools that append or count agree."""
    text = read_text(name)
    assert text.endswith("}\n")
    assert "\r" not in text
    assert not text.startswith("\ufeff")


def test_prompts_have_the_mix_of_the_seed_set(prompts: list[dict[str, str]]) -> None:
    """The counts per kind are those that the presets and the documentation promise."""
    assert Counter(row["kind"] for row in prompts) == {"everyday": 86, "craft": 52, "safety": 42}


def test_demonstrations_have_every_kind(demonstrations: list[dict[str, str]]) -> None:
    """Retrieval finds an example of each kind."""
    assert Counter(row["kind"] for row in demonstrations) == {"everyday": 5, "craft": 6, "safety": 5}


def test_a_short_search_sees_every_kind(prompts: list[dict[str, str]]) -> None:
    """A search that takes its queries in file order meets a mix early, never a long run of one kind."""
    kinds = [row["kind"] for row in prompts]
    assert Counter(kinds[:30]) == {"everyday": 14, "craft": 12, "safety": 4}
    assert set(kinds[:10]) == {"everyday", "craft", "safety"}
    assert max(len(list(run)) for _, run in groupby(kinds)) <= 3


@pytest.mark.parametrize("name", [PROMPTS, DEMONSTRATIONS])
def test_no_query_comes_twice(name: str) -> None:
    """Queries stay distinct after case and white space are evened out, so none is dropped as a duplicate on loading."""
    counts = Counter(normalised(row["query"]) for row in read_rows(name))
    assert [query for query, count in counts.items() if count > 1] == []


def test_demonstrations_answer_none_of_the_prompts(
    prompts: list[dict[str, str]], demonstrations: list[dict[str, str]]
) -> None:
    """No prompt finds its own answer among the demonstrations, which would make its reward worthless."""
    queries = {normalised(row["query"]) for row in prompts}
    assert queries.isdisjoint(normalised(row["query"]) for row in demonstrations)


def test_no_two_queries_are_nearly_the_same(
    prompts: list[dict[str, str]], demonstrations: list[dict[str, str]]
) -> None:
    """No two queries of both files together share most of their words."""
    assert list(near_duplicates(row["query"] for row in [*prompts, *demonstrations])) == []


def test_near_duplicates_are_noticed() -> None:
    """The check above can fail: another case, another ending and one word more make no new query."""
    assert list(near_duplicates(["How do I iron a linen shirt?", "how do I iron a linen shirt well"])) != []


def test_lengths_are_varied_and_bounded(prompts: list[dict[str, str]]) -> None:
    """Prompts have 5 to 120 words; there are short ones, middling ones and ones with context."""
    lengths = [len(row["query"].split()) for row in prompts]
    assert min(lengths) >= 5
    assert max(lengths) <= 120
    assert sum(length <= 10 for length in lengths) >= 8
    assert sum(length > 40 for length in lengths) >= 10


def test_responses_are_worth_imitating_in_length(demonstrations: list[dict[str, str]]) -> None:
    """Each demonstration answers in 120 to 330 words: enough to show a style, little enough to send three at once."""
    lengths = {row["query"]: len(row["response"].split()) for row in demonstrations}
    assert {query: length for query, length in lengths.items() if not 120 <= length <= 330} == {}


def test_demonstrations_use_no_delimiters_of_a_prompt_layout(demonstrations: list[dict[str, str]]) -> None:
    """No demonstration holds a stop marker or heading by which base models are prompted, which would cut it short."""
    for row in demonstrations:
        for marker in ("# Query", "# Answer", "<START", "<END", "<|eot_id|>", "[[ ##"):
            assert marker not in row["query"] + row["response"], marker
