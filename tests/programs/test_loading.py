"""Loading: what was saved comes back whole, and what does not fit is said."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from endpoint import endpoint

from drpo import load
from drpo.errors import ConfigError, ProgramFileError, ProgramStructureError
from drpo.programs.responder import Responder
from drpo.programs.retrieval import RetrievingPredict, retrieving
from drpo.serving.scripted import scripted_lm

DEMOS = [{"query": f"question {letter}", "response": f"answer {letter}"} for letter in "abcd"]
State = dict[str, Any]


class Steps(dspy.Module):
    """Predictors in a list, a dictionary and a nested module, one of them under a name of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.responder = dspy.Predict("question -> answer")
        self.hops = [dspy.Predict("question -> query"), dspy.ChainOfThought("query -> answer")]
        self.by_name = {"last": dspy.Predict("answer -> final")}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "program.json"
    Responder(instructions="Answer briefly.", demos=DEMOS, k=2).save(path)
    return path


def prompt_of(program: dspy.Module, **inputs: Any) -> Any:
    lm = scripted_lm(lambda _: "Fine.")
    with dspy.context(lm=lm):
        program(**inputs)
    return lm.engine.prompts[-1]


def damaged(path: Path, change: Callable[[State], Any]) -> Path:
    state = json.loads(path.read_text())
    change(state)
    path.write_text(json.dumps(state))
    return path


# --- what fits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapter", ["prose", "chat", "json", "xml"])
def test_a_responder_comes_back_with_all_it_has(tmp_path: Path, adapter: Any) -> None:
    """Invariant: the loaded program sends the same bytes."""
    responder = Responder("topic, query -> response", instructions="Be brief.", k=1, adapter=adapter, demos=[
        {"topic": "sea", "query": "Why salt?", "response": "Rivers."}, {"topic": "sky", "query": "Why?", "response": "Air."}
    ])  # fmt: skip
    responder.save(tmp_path / "program.json")
    loaded = load(tmp_path / "program.json")
    assert type(loaded) is Responder
    assert (loaded.adapter, loaded.respond.k, loaded.respond.pool) == (adapter, 1, responder.respond.pool)
    if adapter == "prose":
        inputs = {"topic": "sky", "query": "Why blue?"}
        assert prompt_of(loaded, **inputs) == prompt_of(responder, **inputs)


@pytest.mark.parametrize("text", ["{braces} [QUERY]", "שלום 👩\u200d👧", "a\nb\n\n  c", "nul \x00", '"quoted" \\n'])
def test_every_text_comes_back(tmp_path: Path, text: str) -> None:
    responder = Responder(instructions=f"1{text}2", demos=[{"query": text, "response": text}])
    responder.save(tmp_path / "program.json")
    assert prompt_of(load(str(tmp_path / "program.json")), query="q") == prompt_of(responder, query="q")


@pytest.mark.parametrize("make", [Steps, lambda: dspy.Predict("q -> a"), lambda: dspy.ChainOfThought("q -> a")])
def test_any_program_of_the_users_comes_back(tmp_path: Path, make: Callable[[], dspy.Module]) -> None:
    """Invariant: also a bare predictor, and one whose name is that of our own entry in the file."""
    program = make()
    for number, predictor in enumerate(program.predictors()):
        predictor.signature = predictor.signature.with_instructions(f"Step {number}.")
        predictor.demos = [dict.fromkeys(predictor.signature.fields, "x")]
    program.save(tmp_path / "program.json")
    student = make()
    loaded = load(tmp_path / "program.json", student=student)
    assert type(loaded) is type(student)
    assert loaded.dump_state() == program.dump_state()
    assert student.dump_state() == make().dump_state()  # left as it was


def test_predictors_that_retrieve_come_back_retrieving_in_a_plain_student(tmp_path: Path) -> None:
    """Invariant: no pool is dropped in silence."""
    program = Steps()
    program.responder = retrieving(program.responder, k=1, demos=[{"question": "a", "answer": "b"}])
    program.save(tmp_path / "program.json")
    loaded = load(tmp_path / "program.json", student=Steps())
    assert isinstance(loaded.responder, RetrievingPredict)
    assert loaded.responder.pool == ({"question": "a", "answer": "b"},)
    bare = retrieving(dspy.Predict("q -> a"), k=1, demos=[{"q": "a", "a": "b"}])
    bare.save(tmp_path / "bare.json")
    assert load(tmp_path / "bare.json", student=dspy.Predict("q -> a")).pool == ({"q": "a", "a": "b"},)


def test_a_student_of_the_users_keeps_its_types(tmp_path: Path) -> None:
    Responder("query -> count: int", adapter="json").save(tmp_path / "program.json")
    with pytest.raises(ProgramStructureError, match=r"types \{'count': 'int'\}; give load\(\.\.\., student=\.\.\.\)"):
        load(tmp_path / "program.json")
    student = Responder("query -> count: int", adapter="json")
    assert load(tmp_path / "program.json", student=student).respond.signature.fields["count"].annotation is int


# --- what does not fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "message"),
    [
        (dspy.Predict("query -> response"), r"predictors \['respond', 'responder'\], and this one has \['self'\]"),
        (Steps(), "was saved from a program with the predictors"),
        (Responder("question -> answer"), "is not this Responder"),
        (Responder("query, tone -> response"), "3 here"),
    ],
)
def test_a_program_of_another_structure(saved: Path, student: dspy.Module, message: str) -> None:
    with pytest.raises(ProgramStructureError, match=message) as error:
        load(saved, student=student)
    assert str(saved) in str(error.value)


def test_a_file_of_another_program_needs_its_student(tmp_path: Path) -> None:
    dspy.ChainOfThought("q -> a").save(tmp_path / "program.json")
    with pytest.raises(ProgramStructureError, match=r"not a Responder; give load\(\.\.\., student=\.\.\.\)"):
        load(tmp_path / "program.json")
    with pytest.raises(ProgramStructureError, match=r"\['predict'\], and this one has \['respond'\]"):
        load(tmp_path / "program.json", student=Responder())


@pytest.mark.parametrize("size", [0, 1, 10, 200, -2])
def test_a_truncated_file(saved: Path, size: int) -> None:
    saved.write_bytes(saved.read_bytes()[:size])
    with pytest.raises(ProgramFileError, match="is no JSON, or is cut off"):
        load(saved)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"query: text", b"[" * 100_000, b"{'single': 1}"])
def test_what_is_no_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "program.json").write_bytes(content)
    with pytest.raises(ProgramFileError, match="is no JSON"):
        load(tmp_path / "program.json")


@pytest.mark.parametrize("content", ["[]", "5", "null", "{}", '{"metadata": 1}', '{"level 1": {"Prompt": "p"}}'])
def test_json_that_is_no_program(tmp_path: Path, content: str) -> None:
    (tmp_path / "program.json").write_text(content)
    with pytest.raises(ProgramFileError, match="is not a saved DSPy program"):
        load(tmp_path / "program.json")


def test_pickles_folders_and_missing_files(tmp_path: Path) -> None:
    Responder().save(tmp_path / "program.pkl")
    for path in (tmp_path / "program.pkl", tmp_path):
        with pytest.raises(ProgramFileError, match=r"from \.json files only"):
            load(path)
    for path in (tmp_path / "missing.json", tmp_path / "a\x00.json"):
        with pytest.raises(ProgramFileError):
            load(path)


def set_in(*keys: str, to: Any) -> Callable[[State], None]:
    def change(state: State) -> None:
        for key in keys[:-1]:
            state = state[key]
        state[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("responder", "format", to=2), "format 2, this version of drpo reads 1"),
        (set_in("respond", "retrieval", "format", to=9), "format 9, this version of drpo reads 1"),
        (set_in("responder", to={}), "format None"),
        (set_in("responder", "signature", "inputs", to=["query: __import__('os').system('true')"]), "incomplete"),
        (set_in("responder", "signature", "outputs", to=["a", "b"]), "prose adapter"),
        (set_in("responder", "signature", "inputs", to=["class"]), "cannot be built|2 fields|is not"),
        (set_in("respond", to=None), "has no state"),
        (set_in("respond", "signature", to=None), "has no instruction"),
        (set_in("respond", "signature", "instructions", to=7), "has no instruction"),
        (set_in("respond", "signature", "fields", to=[]), "0 fields, and has 2 here"),
        (set_in("respond", "demos", to=7), "damaged demonstrations"),
        (set_in("respond", "demos", to=["text"]), "damaged demonstrations"),
        (set_in("respond", "retrieval", "k", to=7), "k=7"),
        (set_in("respond", "retrieval", "pool", to="text"), "pool"),
        (set_in("respond", "lm", to=7), "its state cannot be used"),
        (set_in("respond", "config", to={"temperature": 2}), r"\['config'\], which no saved predictor has"),
        (set_in("respond", "forward", to="x"), r"\['forward'\], which no saved predictor has"),
        (set_in("more", to={}), r"\['more', 'respond'\]"),
    ],
)
def test_a_damaged_state(saved: Path, change: Callable[[State], None], message: str) -> None:
    """Invariant: one error of ours, which names the file; never half a program."""
    with pytest.raises(ProgramFileError, match=message) as error:
        load(damaged(saved, change))
    assert str(saved) in str(error.value)


def test_a_mistake_of_the_caller_is_no_damage(saved: Path) -> None:
    with pytest.raises(ConfigError, match="encoder"):
        load(saved, encoder="no such encoder")


# --- what a file may not do --------------------------------------------------------------------------


def test_a_file_leads_no_call_elsewhere(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Invariant: endpoints come from the user alone, so that no file gets the user's key or queries."""
    with endpoint() as evil, endpoint() as good:
        lm = {
            "model": "openai/m",
            "temperature": 0.5,
            "engine": "litellm",
            "api_base": evil.api_base,
            "base_url": evil.api_base,
            "model_list": [{"api_base": evil.api_base}],
            "fallbacks": [{"model": "openai/m", "api_base": evil.api_base}],
            "extra_headers": {"Host": evil.api_base},
            "launch_kwargs": {},
        }
        with caplog.at_level(logging.WARNING):
            loaded = load(damaged(saved, set_in("respond", "lm", to=lm)))
        assert loaded.respond.lm.model == "openai/m"
        assert loaded.respond.lm.kwargs == {"temperature": 0.5, "max_tokens": None}
        assert "without ['api_base', 'base_url', 'extra_headers', 'fallbacks', 'model_list']" in caplog.text
        loaded.respond.lm = loaded.respond.lm.copy(api_base=good.api_base, api_key="mine", cache=False)
        assert loaded(query="q").response == "Hello!"
        assert (len(good.sent), len(evil.sent)) == (1, 0)


def test_a_saved_lm_keeps_its_model_and_sampling(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    responder = Responder()
    responder.respond.lm = dspy.LM(
        "openai/m", temperature=0.3, max_tokens=9, top_p=0.5, seed=1, stop=["x"], api_key="s"
    )
    responder.save(tmp_path / "program.json")
    assert '"s"' not in (tmp_path / "program.json").read_text()
    with caplog.at_level(logging.WARNING):
        lm = load(tmp_path / "program.json").respond.lm
    assert lm.kwargs == {"temperature": 0.3, "max_tokens": 9, "top_p": 0.5, "seed": 1, "stop": ["x"]}
    assert caplog.text == ""


@pytest.mark.parametrize(
    "lm",
    [
        {"model": "m", "engine": {"class": "os:system", "state": {}}},
        {"model": "m", "_dspy_lm_class": "os.system"},
        {"model": "m", "_dspy_lm_class": "dspy.clients.lm.LM", "engine": {"class": "builtins:print", "state": {}}},
    ],
)
def test_a_file_imports_no_class(saved: Path, lm: State) -> None:
    with pytest.raises(ProgramFileError, match="its state cannot be used"):
        load(damaged(saved, set_in("respond", "lm", to=lm)))
