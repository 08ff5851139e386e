"""Prompts and demonstrations from files.

Invariants: a text reaches the program byte for byte; blanks and duplicates are dropped and counted, nothing else is;
whatever cannot be used is a `DataError` that names the source and the place, in one line.
"""

import contextlib
import csv
import io
import json
import os
import sys
import types
from pathlib import Path

import dspy
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.configs.prompts import load_demos, load_prompts
from drpo.errors import ConfigError, DataError, MissingDependencyError

HOSTILE = [
    "NUL \x00 in the middle",
    "emoji 🧑🏽‍🚀 and a flag 🇪🇺",
    "‏שלום, مرحبا",
    "[QUERY] {braces} {{double}} $name %s <END> [[ ## query ## ]]",
    "line one\nline two\r\nline three\rline four",
    "\u2028 and \x85 and \x0b are not line ends",
    '"quoted", and, commas; semicolons\ttabs|bars',
    "  white space at both ends \t",
    "</script><script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "\ufeffa byte order mark",
    "x" * 200_000,
]
TEXTS = st.text(max_size=60).filter(lambda text: text.strip() != "")  # st.text leaves surrogates out


def queries(prompts) -> list[str]:
    return [example.query for example in prompts.examples]


def error(source, **arguments) -> str:
    with pytest.raises(DataError) as caught:
        load_prompts(source, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def as_jsonl(texts) -> bytes:
    return "".join(json.dumps({"query": text}) + "\n" for text in texts).encode()


def as_jsonl_unescaped(texts) -> bytes:
    return "\n".join(json.dumps(text, ensure_ascii=False) for text in texts).encode()


def as_json(texts) -> bytes:
    return json.dumps({"data": [{"query": text} for text in texts]}).encode()


def as_json_texts(texts) -> bytes:
    return json.dumps(texts).encode("utf-8-sig")


def as_csv(texts, **dialect) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, **dialect).writerows([["id", "query"], *enumerate(texts)])
    return file.getvalue().encode("utf-8-sig")


def as_one_column_csv(texts) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["query"], *([text] for text in texts)])
    return file.getvalue().encode()


def as_backslash_csv(texts) -> bytes:
    return as_csv([text.replace("\\", "") for text in texts], doublequote=False, escapechar="\\")


def as_parquet(texts) -> bytes:
    file = io.BytesIO()
    when = pyarrow.array(range(len(texts)), pyarrow.timestamp("ns"))
    pyarrow.parquet.write_table(pyarrow.table({"when": when, "query": texts}), file)
    return file.getvalue()


WRITERS = {
    "jsonl": [as_jsonl, as_jsonl_unescaped],
    "ndjson": [as_jsonl],
    "json": [as_json, as_json_texts],
    "csv": [
        as_csv,
        as_one_column_csv,
        as_backslash_csv,
        lambda texts: as_csv(texts, delimiter=";"),
        lambda texts: as_csv(texts, delimiter="|", quotechar="'", quoting=csv.QUOTE_ALL),
        lambda texts: as_csv(texts, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC),
    ],
    "tsv": [lambda texts: as_csv(texts, delimiter="\t")],
    "parquet": [as_parquet],
}


@pytest.fixture
def file(tmp_path):
    """Write a file of a name and return its path."""

    def write(name: str, content: bytes | str):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


class TestFormats:
    @pytest.mark.parametrize(
        ("suffix", "write"), [(suffix, write) for suffix, all_ in WRITERS.items() for write in all_]
    )
    def test_hostile_texts_arrive_unchanged(self, file, suffix, write):
        prompts = load_prompts(file(f"p.{suffix}", write(HOSTILE)))
        assert queries(prompts) == HOSTILE
        assert (prompts.num_blank, prompts.num_duplicates) == (0, 0)

    @pytest.mark.parametrize("write", [as_jsonl, as_jsonl_unescaped])
    @given(texts=st.lists(TEXTS, min_size=1, max_size=6, unique_by=str.strip))
    def test_any_text_survives_jsonl(self, tmp_path_factory, write, texts):
        path = tmp_path_factory.getbasetemp() / "round-trip.jsonl"
        path.write_bytes(write(texts))
        assert queries(load_prompts(path)) == texts

    @given(texts=st.lists(TEXTS, min_size=1, max_size=6, unique_by=str.strip))
    def test_any_text_survives_csv(self, tmp_path_factory, texts):
        path = tmp_path_factory.getbasetemp() / "round-trip.csv"
        path.write_bytes(as_csv(texts))
        assert queries(load_prompts(path)) == texts

    @given(content=st.binary(max_size=60), suffix=st.sampled_from(["jsonl", "json", "csv", "tsv", "txt", "parquet"]))
    def test_no_file_raises_anything_but_a_data_error(self, tmp_path_factory, content, suffix):
        path = tmp_path_factory.getbasetemp() / f"fuzz.{suffix}"
        path.write_bytes(content)
        with contextlib.suppress(DataError):
            assert load_prompts(path).examples

    def test_text_lines(self, file):
        path = file("p.txt", "first\r\n  second \n\nthird, \u2028 still third\nfirst\n")
        prompts = load_prompts(path)
        assert queries(prompts) == ["first", "  second ", "third, \u2028 still third"]
        assert (prompts.num_blank, prompts.num_duplicates, prompts.column) == (1, 1, None)

    def test_a_list_in_memory(self):
        assert queries(load_prompts(["a", "b"])) == ["a", "b"]
        assert queries(load_prompts(({"query": "a"}, {"query": "b"}))) == ["a", "b"]
        assert queries(load_prompts([dspy.Example(query="a", note=1).with_inputs("query")])) == ["a"]

    def test_our_own_prompts_and_demonstrations(self):
        prompts, demos = load_prompts("builtin:prompts"), load_demos("builtin:demos")
        assert (len(prompts), prompts.num_blank, prompts.num_duplicates, prompts.column) == (180, 0, 0, "query")
        assert (len(demos), set(demos[0])) == (16, {"query", "response"})

    @pytest.mark.parametrize("source", ["builtin:promts", "builtin:", "builtin:../paper"])
    def test_there_are_two_files_of_our_own(self, source):
        assert "write 'builtin:prompts' or 'builtin:demos'" in error(source)

    def test_parquet_without_pyarrow_names_the_remedy(self, file, monkeypatch):
        path = file("p.parquet", as_parquet(["a"]))
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
            load_prompts(path)


class TestHuggingFace:
    @pytest.fixture
    def asked(self, monkeypatch):
        """Replace the library by one that records what it is asked for."""
        calls = []

        def load_dataset(*arguments, **options):
            calls.append((arguments, options))
            if "missing" in arguments[0]:
                raise FileNotFoundError("Dataset 'missing/one'\n  doesn't exist")
            return types.SimpleNamespace(to_list=lambda: [{"label": 1, "text": "a"}, {"label": 2, "text": "b"}])

        monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
        return calls

    @pytest.mark.parametrize(
        ("source", "arguments", "split"),
        [
            ("hf:owner/name", ("owner/name",), "train"),
            ("hf:owner/name:test", ("owner/name",), "test"),
            ("hf:owner/name/config:test[:50]", ("owner/name", "config"), "test[:50]"),
            ("hf:name", ("name",), "train"),
        ],
    )
    def test_name_config_and_split(self, asked, source, arguments, split):
        assert queries(load_prompts(source)) == ["a", "b"]
        assert asked == [(arguments, {"split": split})]

    @pytest.mark.parametrize("source", ["hf:", "hf:a//b", "hf:a/b/c/d", "hf::train"])
    def test_a_name_that_is_none_asks_nobody(self, asked, source):
        assert "write hf:<owner>/<name>" in error(source)
        assert asked == []

    def test_what_the_library_raises_is_said_in_one_line(self, asked):
        text = error("hf:missing/one")
        assert "FileNotFoundError: Dataset 'missing/one' doesn't exist" in text

    def test_without_the_library_the_remedy_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "drpo-dspy\[hf\]"'):
            load_prompts("hf:owner/name")


class TestColumns:
    @pytest.mark.parametrize(
        "name", ["query", "question", "prompt", "instruction", "input", "text", "Prompt", " Query"]
    )
    def test_known_names_are_found_among_others(self, name):
        prompts = load_prompts([{"id": "x1", "category": "chat", name: "What?"}])
        assert (queries(prompts), prompts.column) == (["What?"], name)

    def test_the_programs_own_field_comes_first(self):
        rows = [{"prompt": "a", "question": "b", "city": "c"}]
        prompts = load_prompts(rows, field="city")
        assert prompts.examples[0].toDict() == {"city": "c"}
        assert prompts.examples[0].inputs().toDict() == {"city": "c"}

    def test_the_only_column_of_text_needs_no_known_name(self):
        assert queries(load_prompts([{"id": 1, "score": "0.5", "user_said": "What?"}])) == ["What?"]

    def test_a_text_or_messages_column_beside_a_prompt_does_not_count(self):
        messages = [{"role": "user", "content": "b"}]
        assert queries(load_prompts([{"prompt": "a", "text": "t", "messages": messages}])) == ["a"]

    def test_a_blank_column_does_not_count(self):
        assert queries(load_prompts([{"instruction": "a", "input": ""}, {"instruction": "b", "input": " "}])) == [
            "a",
            "b",
        ]

    def test_two_that_may_be_meant_are_an_error_that_lists_the_columns(self):
        text = error([{"instruction": "Fix this:", "input": "teh", "output": "the"}])
        assert "several columns may hold the prompts: 'instruction', 'input'" in text
        assert "name one (data.column) of 'instruction', 'input', 'output'" in text
        assert "'said', 'meant'" in error([{"said": "a", "meant": "b"}])

    def test_no_column_of_text_is_an_error_that_lists_the_columns(self):
        assert "no column holds text; name one (data.column) of 'id', 'score'" in error([{"id": 1, "score": None}])

    def test_a_named_column_is_taken_whatever_else_there_is(self):
        prompts = load_prompts([{"query": "a", "other": "b"}], column="other")
        assert (queries(prompts), prompts.column) == (["b"], "other")
        assert queries(load_prompts([{"Other": "b"}], column="other")) == ["b"]

    def test_a_named_column_that_is_not_there_is_an_error_that_lists_the_columns(self):
        assert "no column 'promt'; did you mean 'prompt'? it has 'prompt', 'id'" in error(
            [{"prompt": "a", "id": 1}], column="promt"
        )
        assert "its rows are texts without columns" in error(["a"], column="prompt")

    def test_a_csv_without_a_header_does_not_lose_its_first_prompt(self, file):
        path = file("p.csv", "What is the capital of France?\nHow do magnets work?\n")
        assert "'What is the capital of France?' looks like a prompt; put the column's name above it" in error(path)

    def test_the_last_user_message_of_a_conversation(self):
        turns = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": [{"type": "text", "text": "second"}]},
        ]
        assert queries(load_prompts([{"messages": turns}])) == ["second"]
        assert queries(load_prompts([{"chat": turns[:3]}], column="chat")) == ["first"]

    @pytest.mark.parametrize(
        ("turns", "part"),
        [
            ([{"role": "system", "content": "a"}], "no message has the role 'user'"),
            (
                [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
                "the user's message holds more than text",
            ),
            ([{"role": "user"}], "None is null, not text"),
        ],
    )
    def test_a_conversation_without_text_of_a_user(self, turns, part):
        assert f"'memory': item 1: {part}" in error([{"messages": turns}])

    def test_several_inputs_are_the_columns_of_their_names(self):
        rows = [
            {"question": "a", "context": "", "passages": ["x", "y"], "id": 1},
            {"question": " ", "context": "", "passages": "", "id": 2},
            {"question": "a", "context": "", "passages": ["x", "y"], "id": 3},
        ]
        prompts = load_prompts(rows, fields=["question", "context", "passages"])
        assert prompts.examples[0].toDict() == {"question": "a", "context": "", "passages": ["x", "y"]}
        assert (len(prompts), prompts.num_blank, prompts.num_duplicates, prompts.column) == (1, 1, 1, None)
        assert set(prompts.examples[0].inputs().keys()) == {"question", "context", "passages"}

    def test_several_inputs_that_cannot_be_read(self):
        assert "no column 'context'; it has 'question'" in error([{"question": "a"}], fields=["question", "context"])
        assert "it needs the columns 'a', 'b'" in error(["x"], fields=["a", "b"])
        assert "null is no value" in error([{"a": "x", "b": None}], fields=["a", "b"])
        with pytest.raises(ConfigError, match="columns of their names"):
            load_prompts([{"a": "x", "b": "y"}], fields=["a", "b"], column="a")

    def test_one_of_several_is_the_same_as_a_field(self):
        assert load_prompts([{"prompt": "a"}], fields=["question"]).examples[0].toDict() == {"question": "a"}


@pytest.mark.skipif("DRPO_DATA" not in os.environ, reason="DRPO_DATA does not name the folder of real inputs")
class TestRealInputs:
    @pytest.mark.parametrize(
        ("name", "count", "column"),
        [
            ("official/alpaca_train.json", 86, "instruction"),
            ("official/lima_subsample_train.json", 52, "query"),
            ("official/mal_train.txt", 42, None),
            ("just_eval_instruct.jsonl", 978, "instruction"),  # 22 of the 1,000 stand there twice
        ],
    )
    def test_prompts(self, name, count, column):
        prompts = load_prompts(Path(os.environ["DRPO_DATA"]) / name)
        assert (len(prompts), prompts.num_blank, prompts.column) == (count, 0, column)

    @pytest.mark.parametrize("name", ["queries_resp_train.json", "ICL_examples.json"])
    def test_demonstrations(self, name):
        assert len(load_demos(Path(os.environ["DRPO_DATA"]) / "official" / name)) == 16


class TestDropped:
    def test_blanks_and_duplicates_are_counted(self):
        prompts = load_prompts(["a", " \n\t", "a ", "A", "", "\na", "b"])
        assert queries(prompts) == ["a", "A", "b"]
        assert (prompts.num_blank, prompts.num_duplicates, len(prompts)) == (2, 2, 3)
        assert str(prompts) == "3 prompts from 'memory' (2 blank and 2 duplicate ones dropped)"

    def test_the_first_of_two_duplicates_stays_as_it_is(self):
        assert queries(load_prompts(["\ta", "a"])) == ["\ta"]

    def test_a_limit_counts_what_is_kept(self):
        prompts = load_prompts(["a", "a", "", "b", "c"], limit=2)
        assert (queries(prompts), prompts.num_blank, prompts.num_duplicates) == (["a", "b"], 1, 1)
        assert len(load_prompts(["a"], limit=9)) == 1

    @pytest.mark.parametrize("limit", [0, -1, True])
    def test_a_limit_is_positive(self, limit):
        with pytest.raises(ConfigError, match=f"limit={limit}"):
            load_prompts(["a"], limit=limit)

    def test_one_prompt_is_enough(self):
        assert len(load_prompts(["only one"])) == 1

    def test_the_last_are_held_out(self):
        prompts = load_prompts(["a", "b", "c"])
        train, val = prompts.split(1)
        assert ([e.query for e in train], [e.query for e in val]) == (["a", "b"], ["c"])
        assert [len(part) for part in prompts.split(0)] == [3, 0]
        for num_val in (-1, 3, 4):
            with pytest.raises(DataError, match=rf"data\.num_val={num_val}: .* leave one"):
                prompts.split(num_val)


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "content", "part"),
        [
            ("p.jsonl", '{"query": "a"}\n\n{"query": 7}\n', "line 3: 7 is a number, not text; put it in double quotes"),
            ("p.jsonl", '{"query": "a"}\n{"query": null}\n', "line 2: None is null, not text"),
            ("p.jsonl", '{"query": "a"}\n{"query": ["b"]}\n', "line 2: ['b'] is a list, not text"),
            ("p.jsonl", '{"query": "a"}\n{"query": true}\n', "line 2: True is true or false, not text"),
            ("p.jsonl", '{"query": "a"}\n{"query": {}}\n', "line 2: {} is an object, not text"),
            ("p.jsonl", '{"query": "a"}\n{"qeury": "b"}\n', "line 2: no 'query'; give it one, or remove the row"),
            ("p.jsonl", '{"query": "a"}\n"b"\n', "line 2: 'b' has no columns where other rows have"),
            ("p.jsonl", '"a"\n{"query": "b"}\n', "line 2: {'query': 'b'} is an object, not text"),
            ("p.jsonl", '{"query": "a"}\n{"query": "b"\n', "line 2: not JSON"),
            (
                "p.jsonl",
                '[\n"a"\n]\n',
                "line 1: not JSON: Expecting value: line 1 column 2 (char 1); each line is one text",
            ),
            ("p.jsonl", '["a", "b"]\n', "line 1: ['a', 'b'] is a list, not text"),
            ("p.jsonl", '"half \\ud83d of a pair"\n', "line 1: holds '\\ud83d', half of a surrogate pair"),
            ("p.jsonl", "9" * 6000, "line 1: not JSON"),
            ("p.jsonl", "[" * 100_000, "line 1: nested too deeply"),
            ("p.jsonl", "7\n", "line 1: 7 is a number, not text"),
            ("p.jsonl", "", "is empty"),
            ("p.jsonl", "\n  \n", "is empty"),
            ("p.jsonl", '""\n" "\n', "holds no prompt: all 2 rows are blank"),
            ("p.json", '{"query": "a"}\n{"query": "b"}\n', "one object per line belongs in a .jsonl file"),
            ("p.json", "", "is empty"),
            ("p.json", "[]", "is empty"),
            ("p.json", "{}", "is empty"),
            ("p.json", '"a"', "holds 'a'; it must be a list of texts or objects"),
            ("p.json", '{"q": "a", "r": "b"}', "several columns may hold the prompts: 'q', 'r'"),
            ("p.csv", "", "is empty"),
            ("p.csv", "query,id\n", "is empty"),
            ("p.csv", 'query,id\na,1\nb, c,2\n"d, e",3\n', "line 3: 3 fields where the header has 2"),
            ("p.csv", "query,id\na\n", "line 2: 1 fields where the header has 2"),
            ("p.csv", 'query,id\n"a" b,1\n', "line 2: ',' expected after '\"'"),
            ("p.csv", 'query,id\n"a,1\n', "line 2: unexpected end of data"),
            ("p.csv", "query,query\na,b\n", "two columns are called 'query'; rename one"),
            ("p.txt", "", "is empty"),
            ("p.txt", "\n\n", "holds no prompt: all 2 rows are blank"),
            ("p.txt", b"caf\xe9 au lait", "is not UTF-8 text (byte 0xe9 at position 3); save it as UTF-8"),
            ("p.txt", "hello".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
            ("p.txt", "hello".encode("utf-16-le"), "is a binary file or UTF-16 text"),
            ("p.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00", "is a binary file"),
            ("p.parquet", b"PAR1 and then nothing", "is no readable Parquet file"),
            ("p.parquet", b"", "is no readable Parquet file"),
            ("p.xlsx", b"PK", "its ending '.xlsx' does not say what it holds; rename it to end in one of .jsonl"),
            ("prompts", b"a", "its ending '' does not say what it holds"),
        ],
    )
    def test_the_message_says_where_and_what_to_do(self, file, name, content, part):
        path = file(name, content)
        text = error(path)
        assert text.startswith(repr(str(path)))
        assert part in text

    def test_what_is_no_file(self, tmp_path):
        assert "no such file" in error(tmp_path / "none.jsonl")
        assert "no such file" in error(str(tmp_path / "none"))
        assert "Is a directory" in error(tmp_path)
        assert "cannot be read" in error("a\0b.jsonl")
        assert "is no source of rows" in error(7)
        assert "is no source of rows" in error(b"bytes")
        assert "'memory' is empty" in error([])

    def test_a_bad_value_of_a_list(self):
        assert "'memory': item 2: 7 is a number, not text" in error(["a", 7])
        assert "half of a surrogate pair" in error(["\ud800"])

    def test_a_long_value_is_cut_in_the_message(self):
        assert len(error(["a", ["x" * 200_000] * 9])) < 250

    def test_control_characters_do_not_reach_the_terminal(self):
        assert "\x1b" not in error([{"\x1b[31m": "a", "b": "c"}])
        assert "\x1b" not in error(["a", ["\x1b[31m"]])


class TestDemos:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("d.jsonl", '{"query": "a", "response": "b", "kind": 1}\n{"query": "c", "response": "d"}\n'),
            ("d.json", '[{"query": "a", "response": "b"}, {"query": "c", "response": "d"}]'),
            ("d.json", '{"data": [{"query": "a", "response": "b"}, {"query": "c", "response": "d"}]}'),
            ("d.json", '{"a": "b", "c": "d"}'),
            ("d.csv", "Query;Response\na;b\nc;d\n"),
        ],
    )
    def test_every_form(self, file, name, content):
        assert load_demos(file(name, content)) == ({"query": "a", "response": "b"}, {"query": "c", "response": "d"})

    def test_parquet_and_memory(self, file):
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"query": ["a"], "response": ["b"]}), buffer)
        expected = ({"query": "a", "response": "b"},)
        assert load_demos(file("d.parquet", buffer.getvalue())) == expected
        assert load_demos([{"query": "a", "response": "b"}]) == expected
        assert load_demos({"a": "b"}) == expected
        assert load_demos({"query": "a", "response": "b"}) == expected

    def test_other_fields(self):
        rows = [{"question": "a", "context": ["x"], "answer": "b"}]
        assert load_demos(rows, inputs=("question", "context"), output="answer") == tuple(rows)

    def test_the_same_demonstration_counts_once(self):
        row = {"query": "a", "response": "b"}
        assert load_demos([row, {"query": "a ", "response": "b"}, {**row, "response": "c"}]) == (
            row,
            {**row, "response": "c"},
        )

    def test_hostile_texts_arrive_unchanged(self, file):
        rows = [{"query": text, "response": text} for text in HOSTILE]
        assert load_demos(file("d.json", json.dumps(rows))) == tuple(rows)

    @pytest.mark.parametrize(
        ("source", "part"),
        [
            ([{"query": "a"}, {"query": "b"}], "no column 'response'; it has 'query'"),
            (
                [{"query": "a", "answer": "b"}, {"query": "c", "answer": "d"}],
                "no column 'response'; it has 'query', 'answer'",
            ),
            ([{"query": "a", "response": "b"}, {"query": "c"}], "item 2: no 'response'"),
            ([{"query": "a", "response": " "}], "item 1: 'response' is blank"),
            ([{"query": "", "response": "b"}], "item 1: 'query' is blank"),
            ([{"query": "a", "response": 4}], "item 1: 4 is a number, not text"),
            ([{"query": 4, "response": "b"}], "item 1: 4 is a number, not text"),
            ([{"query": "a", "response": None}], "item 1: null is no value"),
            ({"a": 4}, "item 1: 4 is a number, not text"),
            (["a"], "it needs the columns 'query', 'response'"),
            ([], "is empty"),
            ("none.json", "no such file"),
        ],
    )
    def test_the_message_says_where_and_what_to_do(self, source, part):
        with pytest.raises(DataError) as caught:
            load_demos(source)
        assert part in str(caught.value)
        assert "\n" not in str(caught.value)
