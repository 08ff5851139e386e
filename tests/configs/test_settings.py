"""Config files: what they may say, and how they are refused.

Invariants: a preset is complete and valid; every mistake is a `ConfigError` with one line per problem that names the
key; no text whatever raises anything else; what looks like a secret is in no message and no dump.
"""

import inspect
import json
import re
from importlib import resources
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drpo.commands.compiling import ARGUMENTS
from drpo.configs.prompts import load_prompts
from drpo.configs.redaction import HIDDEN
from drpo.configs.settings import CriterionSettings, RunSettings, load_settings, preset_names, settings_schema
from drpo.configs.yaml_text import read_mapping
from drpo.errors import ConfigError
from drpo.teleprompters.drpo import DRPOTeleprompter
from drpo.teleprompters.held_out import split
from drpo.teleprompters.plan import expected_calls
from drpo.teleprompters.presets import search_settings

MINIMAL = "lms: {task: openai/gpt-4o-mini}\n"


@pytest.fixture
def config(tmp_path):
    """Write a config below a folder of its own and return its path."""

    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def message(source, *overrides) -> str:
    with pytest.raises(ConfigError) as caught:
        load_settings(source, overrides)
    return str(caught.value)


class TestPresets:
    def test_the_five_are_there(self):
        assert preset_names() == ("default", "openai", "paper", "smollm2", "vllm")

    @pytest.mark.parametrize("name", preset_names())
    def test_every_preset_loads_and_dumps_to_json(self, name):
        loaded = load_settings(name)
        assert json.loads(json.dumps(loaded.as_dict(), allow_nan=False)) == loaded.as_dict()
        assert len(loaded.lms.roles()) >= 3

    @pytest.mark.parametrize("name", preset_names())
    def test_every_preset_reads_as_the_same_settings_after_a_round_trip(self, name, config):
        loaded = load_settings(name)
        assert load_settings(config(json.dumps(loaded.as_dict()))) == loaded

    def test_paper_states_the_official_defaults(self):
        paper = load_settings("paper")
        assert (paper.auto, paper.n_actions, paper.beam_size, paper.depth) == ("paper", 3, 2, 20)
        assert (paper.max_depth_increase, paper.temperature, paper.k) == (10, 0.2, 2)
        assert (paper.lms.task.temperature, paper.lms.task.top_p, paper.lms.task.max_tokens) == (0.0, 1.0, 2048)
        assert (paper.lms.prompt.temperature, paper.lms.prompt.top_p, paper.lms.prompt.max_tokens) == (None, 0.95, 2048)
        assert (paper.reward.min_criteria, paper.reward.max_criteria, paper.reward.dynamic) == (2, 5, True)
        assert (paper.data.prompts, paper.data.demos) == ("builtin:prompts", "builtin:demos")

    def test_local_presets_name_no_model_and_get_the_servers(self):
        for name in ("vllm", "smollm2"):
            loaded = load_settings(name)
            assert {lm.model for _, lm in loaded.lms.roles()} == {
                f"hosted_vllm/{server.name}" for server in loaded.serve.values()
            }

    def test_smollm2_finds_its_environment_from_the_current_folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        server = load_settings("smollm2").serve["smollm2"]
        assert server.python == tmp_path / ".venv-vllm/bin/python"
        assert server.model == str(tmp_path / ".models/SmolLM2-135M-Instruct")

    def test_a_file_may_be_called_like_a_preset(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "paper").write_text(MINIMAL, encoding="utf-8")
        assert load_settings("./paper").n_actions is None
        assert load_settings(Path("paper")).n_actions is None
        assert load_settings("paper").n_actions == 3

    @pytest.mark.parametrize("name", [name for name in preset_names() if name != "paper"])
    def test_presets_name_about_the_calls_that_they_make(self, name):
        """The number of calls that a preset's comments name is within a tenth of what is computed."""
        text = resources.files("drpo.configs").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        settings = load_settings(name)
        named = [int(calls.replace(",", "")) for calls in re.findall(r"about ([\d,]+) calls", text)]
        data = load_prompts(settings.data.prompts, limit=settings.data.limit).examples
        search = search_settings(settings.auto, {arg: getattr(settings, arg) for arg in SEARCH})
        kept, held = split(data, num_val=search.num_val, num_search=search.first_size)
        expected = expected_calls(search, num_train=len(kept), num_val=len(held))
        assert named
        assert named == [pytest.approx(expected, rel=0.1)] * len(named)

    def test_presets_fit_the_house(self):
        for name in preset_names():
            text = resources.files("drpo.configs").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
            assert "\t" not in text
            assert max(map(len, text.splitlines())) <= 120


class TestPaths:
    def test_relative_paths_start_at_the_files_folder(self, config, tmp_path):
        text = """
        lms: {task: {server: s}}
        data: {prompts: in/p.csv, demos: builtin:demos}
        reward: {ledger: ledger.json}
        program: {encoder: ./encoder}
        serve: {s: {model: ../model, python: venv/bin/python, download_dir: weights}}
        """
        loaded = load_settings(config(text))
        assert loaded.data.prompts == str(tmp_path / "in/p.csv")
        assert loaded.data.demos == "builtin:demos"
        assert loaded.reward.ledger == tmp_path / "ledger.json"
        assert loaded.program.encoder == str(tmp_path / "encoder")
        assert loaded.serve["s"].model == str(tmp_path / "../model")
        assert loaded.serve["s"].python == tmp_path / "venv/bin/python"
        assert loaded.serve["s"].download_dir == tmp_path / "weights"

    def test_overrides_start_at_the_current_folder(self, config, tmp_path, monkeypatch):
        path = config(MINIMAL)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert load_settings(path, ["data.prompts=p.csv"]).data.prompts == str(tmp_path / "elsewhere/p.csv")

    def test_what_is_no_path_stays(self, config):
        text = """
        lms: {task: {server: s}}
        data: {prompts: "hf:owner/name:test"}
        program: {encoder: sentence-transformers/all-MiniLM-L6-v2}
        serve: {s: {model: owner/model, python: python3.12}}
        """
        loaded = load_settings(config(text))
        assert loaded.data.prompts == "hf:owner/name:test"
        assert loaded.program.encoder == "sentence-transformers/all-MiniLM-L6-v2"
        assert (loaded.serve["s"].model, str(loaded.serve["s"].python)) == ("owner/model", "python3.12")
        assert loaded.lms.task.model == "hosted_vllm/owner/model"


class TestOverrides:
    def test_dotted_keys_make_the_mappings_on_the_way(self, config):
        loaded = load_settings(
            config(MINIMAL), ["lms.judge.model=openai/gpt-4o", "lms.judge.temperature=0.5", "seed=3"]
        )
        assert (loaded.lms.judge.model, loaded.lms.judge.temperature, loaded.seed) == ("openai/gpt-4o", 0.5, 3)

    def test_they_reach_into_a_role_that_is_a_bare_model_string(self, config):
        loaded = load_settings(config(MINIMAL), ["lms.task.max_tokens=7"])
        assert (loaded.lms.task.model, loaded.lms.task.max_tokens) == ("openai/gpt-4o-mini", 7)

    def test_a_section_left_empty_takes_its_defaults_and_overrides(self, config):
        path = config(MINIMAL + "data:\nreward:\nprogram:\nserve:\n")
        assert load_settings(path).data.prompts == "builtin:prompts"
        assert load_settings(path, ["data.limit=4"]).data.limit == 4

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Be brief: no #tags", "Be brief: no #tags"),
            ("@you, *all* & {braces}", "@you, *all* & {braces}"),
            ("a: b: c", "a: b: c"),
            ("'5'", "5"),
            ('"[1]"', "[1]"),
            ("!!python/object:os.system x", "!!python/object:os.system x"),
            ("one = two", "one = two"),
            ("", None),
            ("null", None),
        ],
    )
    def test_text_stays_as_typed(self, text, expected):
        assert load_settings("paper", [f"program.instructions={text}"]).program.instructions == expected

    def test_lists_are_read_and_reached_into(self):
        loaded = load_settings("paper", ["reward.criteria=[Clarity, Depth]", "reward.criteria.1=Safety"])
        assert loaded.reward.criteria == ("Clarity", "Safety")

    @pytest.mark.parametrize(
        ("override", "part"),
        [
            ("beam_size", "write a dotted key"),
            ("=3", "write a dotted key"),
            ("lms..model=x", "write a dotted key"),
            ("beam_size.deep=3", "beam_size is 2, which has no keys"),
            ("reward.criteria.7=x", "reward.criteria"),
            ("lms.task.extra_body={a: [", "line 1"),
            ("beam_size=zero", "'zero' is not allowed; it must be a whole number"),
            ("beam_sise=3", "did you mean 'beam_size'?"),
        ],
    )
    def test_a_wrong_one_is_refused_by_name(self, override, part):
        text = message("paper", override)
        assert part in text
        assert "\n" not in text


SEARCH = ("beam_size", "n_actions", "depth", "max_depth_increase", "minibatch_size", "temperature", "k", "demo_iters")


class TestSearch:
    def test_light_is_what_nothing_asks_for(self, config):
        loaded = load_settings(config(MINIMAL))
        assert (loaded.auto, loaded.on_no_gain, loaded.credit, loaded.call_timeout) == ("light", "seed", "trace", 600.0)

    def test_defaults_are_the_optimizers(self, config):
        """A config that leaves an argument out says the same as code that does."""
        loaded, optimizer = load_settings(config(MINIMAL)), DRPOTeleprompter()
        assert {name: getattr(loaded, name) for name in ARGUMENTS} == {
            name: getattr(optimizer, name) for name in ARGUMENTS
        }

    def test_every_search_argument_of_the_optimizer_has_a_key(self):
        elsewhere = {"metric", "task_lm", "judge_lm", "criteria_lm", "prompt_lm", "proposer", "log_dir", "track_stats",
                     "display_progress", "rules", "run_config", "self"}  # fmt: skip
        assert set(inspect.signature(DRPOTeleprompter.__init__).parameters) - elsewhere == set(ARGUMENTS)

    def test_a_config_is_refused_exactly_when_the_optimizer_refuses(self, config):
        """Over all combinations of what is set and what is not, so that no refusal waits until data are read."""
        values = {"beam_size": 1, "n_actions": 2, "depth": 2, "max_depth_increase": 1, "temperature": 0.5}
        for auto in ("light", "medium", "heavy", "paper", None):
            for size in (None, 1, 4):
                for number in range(2 ** len(values)):
                    given = {name: value for place, (name, value) in enumerate(values.items()) if number >> place & 1}
                    given |= {} if size is None else {"minibatch_size": size}
                    optimizer_takes = accepts(lambda: search_settings(auto, given))  # noqa: B023
                    settings = {"auto": auto, **given, "lms": {"task": {"model": "a/b"}}}
                    assert accepts(lambda: RunSettings(**settings)) == optimizer_takes, settings  # noqa: B023


def accepts(make) -> bool:
    try:
        make()
    except (ConfigError, ValidationError):
        return False
    return True


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("beam_sise: 3", "beam_sise: unknown key; did you mean 'beam_size'?"),
            ("Beam-Size: 3", "Beam-Size: unknown key; did you mean 'beam_size'?"),
            ("max_criteria: 3", "max_criteria: unknown key; did you mean 'reward.max_criteria'?"),
            ("qqqq: 3", "qqqq: unknown key; known here: auto, beam_size"),
            ("beam_size: 0", "beam_size: 0 is not allowed; it must be at least 1"),
            ("n_actions: 0", "n_actions: 0 is not allowed; it must be at least 1"),
            ("depth: 1.5", "depth: 1.5 is not allowed; it must be a whole number"),
            ("depth: true", "depth: True is not allowed; it must be a number"),
            ("max_depth_increase: -1", "max_depth_increase: -1 is not allowed; it must be at least 0"),
            ("temperature: 2.1", "temperature: 2.1 is not allowed; it must be at most 2.0"),
            ("temperature: .nan", "temperature: nan is not allowed; it must be a finite number"),
            ("k: -1", "k: -1 is not allowed; it must be at least 0"),
            ("num_threads: 0", "num_threads: 0 is not allowed; it must be at least 1"),
            ("num_threads: 1025", "num_threads: 1025 is not allowed; it must be at most 1024"),
            ("max_errors: 0", "max_errors: 0 is not allowed; it must be at least 1"),
            ("max_lm_calls: 0", "max_lm_calls: 0 is not allowed; it must be at least 1"),
            ("max_tokens: 0", "max_tokens: 0 is not allowed; it must be at least 1"),
            ("max_cost: 0", "max_cost: 0 is not allowed; it must be more than 0.0"),
            ("seed: -1", "seed: -1 is not allowed; it must be at least 0"),
            ("seed: 4294967296", "seed: 4294967296 is not allowed; it must be less than 4294967296"),
            ("auto: lite", "auto: 'lite' is not allowed; it must be 'light', 'medium', 'heavy' or 'paper'"),
            ("minibatch_size: 0", "minibatch_size: 0 is not allowed; it must be at least 1"),
            ("demo_iters: -1", "demo_iters: -1 is not allowed; it must be at least 0"),
            ("optimize_demos: perhaps", "optimize_demos: 'perhaps' is not allowed; it must be true or false"),
            ("select: best", "select: 'best' is not allowed; it must be 'beam', 'greedy', 'pareto' or 'mc'"),
            ("credit: null", "credit: None is not allowed; it must be 'trace', 'round_robin' or 'all'"),
            ("on_no_gain: keep", "on_no_gain: 'keep' is not allowed; it must be 'seed' or 'best'"),
            ("call_timeout: 0", "call_timeout: 0 is not allowed; it must be more than 0.0"),
            ("max_depth_increase: 3", "max_depth_increase: 3 is not allowed with auto: light; only the paper's search"),
            (
                "auto: paper\nminibatch_size: 4",
                "minibatch_size: 4 is not allowed with auto: paper, which judges on one",
            ),
            ("auto: null\nminibatch_size: 4", "auto: null leaves beam_size, n_actions, depth, temperature open; give"),
            ("auto: null\nbeam_size: 1", "auto: null leaves n_actions, depth, temperature, max_depth_increase open"),
            ("auto: paper\nselect: mc", "select: 'mc' has no effect with auto: paper; leave it out, or write auto"),
            ("auto: paper\ncredit: all", "credit: 'all' has no effect with auto: paper"),
            ("auto: paper\non_no_gain: best", "on_no_gain: 'best' has no effect with auto: paper"),
            ("auto: paper\nrewrite_given_demos: true", "rewrite_given_demos: True has no effect with auto: paper"),
            ("auto: paper\ndemo_iters: 2", "demo_iters: 2 has no effect with auto: paper unless optimize_demos"),
            ("auto: paper\noptimize_demos: true", "optimize_demos: true is not allowed with auto: paper without"),
            (
                "program: {adapter: yaml}",
                "program.adapter: 'yaml' is not allowed; it must be 'prose', 'chat', 'json' or",
            ),
            ("program: {signature: query}", "program.signature: 'query' is not allowed; it must be a DSPy signature"),
            ("program: {signature: '-> a'}", "program.signature: '-> a' is not allowed; it must be a signature with"),
            ("program: {signature: 'q -> a, b'}", "program.adapter: 'prose' is not allowed with several outputs"),
            ("program: {instructions: ' '}", "program.instructions: ' ' is not allowed; it must be text that is not"),
            ("program: {adpater: chat}", "program.adpater: unknown key; did you mean 'adapter'?"),
            ("data: {limit: 4, num_val: 4}", "data.num_val: 4 is not allowed; it must be less than data.limit=4"),
            ("data: {prompts: ''}", "data.prompts: '' is not allowed; it must be text that is not empty"),
            ("data: [a]", "data: ['a'] is not allowed; it must be a mapping of keys to values"),
            ("auto: paper\nk: 2", "k: 2 is not allowed without demonstrations; set data.demos"),
            ("optimize_demos: false\nk: 2", "k: 2 is not allowed without demonstrations; set data.demos"),
            (
                "program: {signature: 'a, b -> c'}\ndata: {column: a}",
                "data.column: 'a' is not allowed with several inputs; they are the columns a, b",
            ),
            (
                "reward: {min_criteria: 6}",
                "reward.min_criteria: 6 is not allowed; it must be at most reward.max_criteria=5",
            ),
            ("reward: {max_criteria: 11}", "reward.max_criteria: 11 is not allowed; it must be at most 10"),
            ("reward: {criteria: []}", "reward.criteria: [] is not allowed; name one at least"),
            ("reward: {criteria: [{name: A}]}", "reward.criteria.0.definition: missing; give it a value"),
            ("reward: {criteria: [7]}", "reward.criteria.0: 7 is not allowed; it must be text (put it in quotes)"),
            ("reward: {criteria: [Depth, depth]}", "reward.criteria.1: 'depth' stands here a second time"),
            (
                "reward: {criteria: [{name: A, definition: b, wieght: 1}]}",
                "reward.criteria.0.wieght: unknown key; did you mean 'weight'?",
            ),
            (
                "reward: {criteria: [{name: A, definition: b, weight: 0}]}",
                "reward.criteria.0.weight: 0 is not allowed; it must be more than 0.0",
            ),
            ("serve: {s: {model: m, prot: 1}}", "serve.s.prot: unknown key; did you mean 'port'?"),
            ("serve: {'a/b': {model: m}}", "serve: 'a/b' is not allowed as a name"),
            ("serve: {a: {model: m}, b: {model: n}}", "serve.b.port: 8000 is taken by serve.a"),
        ],
    )
    def test_one_clear_line_for_each_mistake(self, config, text, expected):
        line = message(config(MINIMAL + text))
        assert f": {expected}" in line
        assert "\n" not in line

    @pytest.mark.parametrize(
        ("lms", "expected"),
        [
            ("{}", "lms.task: missing; give it a value"),
            ("{task: ''}", "lms.task.model: '' is not allowed; it must be text that is not empty"),
            ("{task: {temperature: 1}}", "lms.task.model: missing; give it a value"),
            ("{task: m, jugde: m}", "lms.jugde: unknown key; did you mean 'judge'?"),
            ("{task: {modle: m, model: m}}", "lms.task.modle: unknown key; did you mean 'model'?"),
            (
                "{task: {server: s}}",
                "lms.task.server: 's' is not allowed; it must name an entry of serve: did you mean 'sl'?",
            ),
            (
                "{task: {server: x}}",
                "lms.task.server: 'x' is not allowed; it must name an entry of serve: serve has sl",
            ),
            ("{task: {server: sl, api_base: http://h/v1}}", "lms.task: server and api_base exclude each other"),
            ("{task: {server: sl, model: openai/m}}", "lms.task.model: 'openai/m' is not what server 'sl' serves"),
            (
                "{task: {model: m, api_base: localhost}}",
                "lms.task.api_base: 'localhost' is not allowed; it must begin with",
            ),
            ("{task: {model: m, api_base: []}}", "lms.task.api_base: an empty list is not allowed"),
            (
                "{task: {model: m, api_base: 5}}",
                "lms.task.api_base: 5 is not allowed; it must be text (put it in quotes) or a",
            ),
            ("{task: {model: m, top_p: 0}}", "lms.task.top_p: 0 is not allowed; it must be more than 0.0"),
        ],
    )
    def test_one_clear_line_for_each_mistake_in_a_role(self, config, lms, expected):
        line = message(config(f"lms: {lms}\nserve: {{sl: {{model: served}}}}"))
        assert f": {expected}" in line
        assert "\n" not in line

    def test_base_models_need_the_prose_layout(self, config):
        text = "lms: {task: {model: m, model_type: text}}\nprogram: {adapter: chat}"
        assert "program.adapter: 'chat' is not allowed with lms.task.model_type 'text'" in message(config(text))

    def test_every_problem_is_told_at_once_with_the_files_name(self, config):
        path = config("beam_size: 0\nlms: {task: {model: m, temperature: 3}}\ndata: {limt: 3}")
        lines = message(path).splitlines()
        assert len(lines) == 3
        assert all(line.startswith(f"{path}: ") for line in lines)

    @pytest.mark.parametrize(
        ("content", "part"),
        [
            (b"", "nothing in it"),
            (b"# a comment\n", "nothing in it"),
            (b"- a\n- b\n", "holds a list; a config is a mapping"),
            (b"just text", "holds one text; a config is a mapping"),
            (
                b"a: 1\n\tb: 2\n",
                "line 2, column 1: found character '\\t' that cannot start any token; indent with blanks",
            ),
            (b"a: [1\n", "line 2"),
            (b"seed: 1\nlms: {task: x, task: y}\n", "line 2, column 16: the key 'task' stands here a second time"),
            (b"seed: 1\nseed: 1\n", "line 2, column 1: the key 'seed' stands here a second time"),
            (b"on: 1\n", "the key True is read as true or false; put it in quotes"),
            (b"a: 2024-01-31\n", "read as a value of type date; put it in quotes"),
            (b"a: 2024-13-45\n", "cannot be read (month must be in 1..12)"),
            (b"a: !!bool maybe\n", "holds a value that cannot be read"),
            (b"a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor for the tag"),
            (b"a: &x\n  b: *x\n", "nested too deeply"),
            (b"[" * 500, "nested too deeply"),
            (b"seed: " + b"9" * 6000, "holds a value that cannot be read"),
            (b'a: "\\ud800"', "half of a surrogate pair"),
            (b"a: \x00", "unacceptable character"),
            (b"\xff\xfeb\x00", "not UTF-8 text (byte 0); save it as UTF-8"),
        ],
    )
    def test_unreadable_files(self, tmp_path, content, part):
        path = tmp_path / "run.yaml"
        path.write_bytes(content)
        line = message(path)
        assert part in line
        assert "\n" not in line

    def test_a_missing_file_lists_the_presets_and_the_nearest(self, tmp_path):
        line = message(tmp_path / "nothing.yaml")
        assert line.endswith("no such file; presets: default, openai, paper, smollm2, vllm")
        assert "did you mean the preset 'smollm2'?" in message("smolm2.yaml")

    @pytest.mark.parametrize("source", ["/", "a\0b", "~no-such-user-here/x.yaml", "x" * 5000])
    def test_a_source_that_is_no_file(self, source):
        assert message(source).startswith("config ")

    def test_a_byte_order_mark_is_no_part_of_the_config(self, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text(MINIMAL, encoding="utf-8-sig")
        assert load_settings(path).lms.task.model == "openai/gpt-4o-mini"

    def test_control_characters_of_a_key_do_not_reach_the_terminal(self, config):
        assert "\x1b" not in message(config(MINIMAL + '"\\e[31mred": 1'))

    @given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@,?0129. \n\t<=~_"), max_size=40))
    def test_no_text_raises_anything_but_a_config_error(self, text):
        try:
            read = read_mapping(text, "fuzz")
        except ConfigError:
            return
        assert json.loads(json.dumps(read, allow_nan=False)) == read

    @given(
        st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists))
    )
    def test_no_mapping_raises_anything_but_a_config_error(self, tmp_path_factory, mapping):
        path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
        path.write_text(yaml.safe_dump(mapping, allow_unicode=True), encoding="utf-8")
        with pytest.raises(ConfigError):  # none of them has lms.task
            load_settings(path)


class TestSecrets:
    CONFIG = """
    lms:
      task:
        model: m
        api_base: https://user:sw0rdfish@host/v1?api-key=sw0rdfish&version=1
        extra_body: {headers: {Authorization: Bearer sw0rdfish, X-Version: "2"}, stop_token_ids: [2], max_tokens: 5}
    serve:
      s:
        model: m
        environment: {HF_TOKEN: sw0rdfish, VLLM_CPU_KVCACHE_SPACE: "1"}
        extra_args: [--api-key, sw0rdfish, --hf-token=sw0rdfish, --max-num-seqs, "8"]
    """

    def test_a_dump_holds_none(self, config):
        dump = load_settings(config(self.CONFIG)).as_dict()
        assert "sw0rdfish" not in json.dumps(dump)
        task, server = dump["lms"]["task"], dump["serve"]["s"]
        assert task["api_base"] == f"https://{HIDDEN}@host/v1?api-key={HIDDEN}&version=1"
        assert task["extra_body"]["headers"] == {"Authorization": HIDDEN, "X-Version": "2"}
        assert (task["extra_body"]["stop_token_ids"], task["extra_body"]["max_tokens"]) == ([2], 5)
        assert server["environment"] == {"HF_TOKEN": HIDDEN, "VLLM_CPU_KVCACHE_SPACE": "1"}
        assert server["extra_args"] == ["--api-key", HIDDEN, f"--hf-token={HIDDEN}", "--max-num-seqs", "8"]

    def test_a_dump_keeps_the_variables_name(self, config):
        loaded = load_settings(config("lms: {task: {model: m, api_key_env: MY_KEY}}"))
        assert loaded.as_dict()["lms"]["task"]["api_key_env"] == "MY_KEY"

    @pytest.mark.parametrize(
        "text",
        [
            "api_key: sw0rdfish",
            "lms: {task: {model: m, api_key: sw0rdfish}}",
            "lms: {task: {model: m, api_key_env: sk-sw0rdfish}}",
            "lms: {task: {model: m, api_base: 'ftp://user:sw0rdfish@h'}}",
            "lms: {task: {model: [m], extra_body: {token: sw0rdfish}, server: 3}}",
            "lms: {task: m}\nserve: {s: {model: m, environment: {HF_TOKEN: [sw0rdfish]}}}",
            "lms: {task: m}\nserve: {s: {model: m, environment: [{HF_TOKEN: sw0rdfish}]}}",
        ],
    )
    def test_no_message_holds_one(self, config, text):
        assert "sw0rdfish" not in message(config(text))

    def test_a_key_in_a_config_is_sent_to_the_environment(self, config):
        assert "name the environment variable that holds it in api_key_env" in message(config("api_key: x"))

    def test_variables_that_are_not_set_are_named(self, config):
        loaded = load_settings(
            config("lms: {task: {model: m, api_key_env: A_KEY}, judge: {model: m, api_key_env: B_KEY}}")
        )
        loaded.check_environment({"A_KEY": "x", "B_KEY": "y"})
        with pytest.raises(ConfigError, match=r"^lms\.judge\.api_key_env: .*'B_KEY'") as caught:
            loaded.check_environment({"A_KEY": "x", "B_KEY": " "})
        assert "\n" not in str(caught.value)

    def test_the_process_environment_is_the_default(self, config, monkeypatch):
        loaded = load_settings(config("lms: {task: {model: m, api_key_env: DRPO_TEST_KEY}}"))
        monkeypatch.delenv("DRPO_TEST_KEY", raising=False)
        with pytest.raises(ConfigError, match="DRPO_TEST_KEY"):
            loaded.check_environment()


class TestContent:
    def test_criteria_are_names_or_the_users_own(self, config):
        text = MINIMAL + "reward: {criteria: [Clarity, {name: Rhyme, definition: It rhymes., weight: 2}]}"
        name, own = load_settings(config(text)).reward.criteria
        assert name == "Clarity"
        assert own == CriterionSettings(name="Rhyme", definition="It rhymes.", weight=2.0)

    def test_a_program_knows_its_fields(self, config):
        program = load_settings(config(MINIMAL + "program: {signature: 'question, context -> answer'}")).program
        assert (program.input_fields, program.output_fields) == (("question", "context"), ("answer",))

    def test_several_addresses_and_lora_names_are_fine(self, config):
        text = """
        lms:
          task: {model: openai/m, api_base: [http://a/v1, http://b/v1]}
          judge: {server: s, model: hosted_vllm/tuned}
        serve: {s: {model: base, extra_args: [--lora-modules, tuned=folder]}}
        """
        assert load_settings(config(text)).lms.task.api_base == ("http://a/v1", "http://b/v1")

    def test_anchors_share_a_role(self, config):
        loaded = load_settings(
            config("lms: {task: m, judge: &j {model: n, temperature: 0}, prompt: {<<: *j, temperature: 1}}")
        )
        assert (loaded.lms.prompt.model, loaded.lms.prompt.temperature) == ("n", 1.0)

    def test_settings_cannot_be_changed(self):
        with pytest.raises(ValueError, match="frozen"):
            load_settings("paper").seed = 3

    def test_the_schema_names_every_key_and_the_short_forms(self):
        schema = settings_schema()
        assert {"beam_size", "lms", "serve"} <= set(schema["properties"])
        assert schema["properties"]["beam_size"]["description"] == "Instructions kept per level."
        assert schema["$defs"]["LMSettings"]["anyOf"][0]["type"] == "string"
        json.dumps(schema)
