"""``rlnlp generate``: prompts in as words, a file or lines; responses out, harmless to a terminal."""

import hashlib
import io
import json
import math
import shutil
import socket
import sys
import unicodedata

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from rlnlp.cli.main import main
from rlnlp.commands.side_by_side import short_names, table
from rlnlp.config.choices import conf_dir
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.models.load import load_policy, load_tokenizer
from rlnlp.models.policy import logprob_fn
from rlnlp.run import manifest
from rlnlp.types import Rollout
from support import small

SHORT = "sampler.max_new_tokens=5"


@pytest.fixture(autouse=True)
def _precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture
def generate(capsys):
    """The command in this process: (exit status, stdout, stderr)."""

    def run(*words):
        capsys.readouterr()
        code = main(["generate", *map(str, words)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def drawn(generate, model_dir):
    """The records that a command of good words prints."""

    def run(*words, source=model_dir):
        code, out, err = generate(source, *words, "--json", "device=cpu", SHORT)
        assert (code, err) == (0, "")
        return json.loads(out)

    return run


@pytest.fixture
def finished(model_dir, tmp_path):
    """A run directory as a finished run leaves it, with a sampler of its own."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        words = [
            "algo=reinforce", "model.path=gone", "data.prompts=gone", "sampler=greedy", "sampler.max_new_tokens=3",
            "device=cpu",
        ]  # fmt: skip
        settings = OmegaConf.to_container(compose("train", words))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(manifest.config_text(parse(RUNS["reinforce"], settings)))
    (tmp_path / "run" / "run.json").write_text("{}")
    shutil.copytree(model_dir, tmp_path / "run" / "policy")
    return tmp_path / "run"


def pipe(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def prompts(records):
    return [record["prompt"] for record in records]


def test_each_prompt_is_printed_with_its_response(generate, drawn, model_dir):
    code, out, err = generate(model_dir, "the film", "food is", "device=cpu", SHORT)
    assert (code, err) == (0, "")
    records = drawn("the film", "food is")
    assert out == "".join(f"{r['prompt']} {r['response'].lstrip()}\n" for r in records)
    assert [set(record) for record in records] == [{"prompt", "response", "ended", "tokens", "model"}] * 2
    assert all(1 <= record["tokens"] <= 5 for record in records)
    assert not any("</s>" in record["response"] for record in records)


def test_n_responses_of_a_prompt_stand_together_and_differ(drawn):
    records = drawn("the film", "food is", "-n", 8)
    assert prompts(records) == ["the film"] * 8 + ["food is"] * 8
    assert len({record["response"] for record in records[:8]}) > 1


def test_prompts_come_from_a_file(drawn, tmp_path, prompts_file):
    records = drawn("--file", prompts_file)
    assert prompts(records) == [json.loads(line)["prompt"] for line in prompts_file.read_text().splitlines()]
    (tmp_path / "p.txt").write_text("the film = good\n\nfood\n")
    assert prompts(drawn("--file", tmp_path / "p.txt")) == ["the film = good", "food"]
    (tmp_path / "q.csv").write_bytes("question;n\nthe café;1\n".encode("cp1252"))
    words = ["data.encoding=cp1252", "data.columns={prompt: question}"]
    assert prompts(drawn("--file", tmp_path / "*.csv", *words)) == ["the café"]


def test_prompts_come_from_lines_of_standard_input(drawn, monkeypatch):
    pipe(monkeypatch, b"the film\n\n  food is \nseed=3\n")
    assert prompts(drawn()) == ["the film", "food is", "seed=3"]


def test_the_same_seed_gives_the_same_responses_and_another_seed_others(drawn):
    first, second, other = (drawn("the film", "-n", 6, f"seed={seed}") for seed in (1, 1, 2))
    assert first == second != other


def test_settings_change_how_responses_are_drawn(drawn):
    greedy = [drawn("the film", "sampler=greedy", f"seed={seed}")[0]["response"] for seed in (1, 2)]
    assert greedy[0] == greedy[1]
    cold = drawn("the film", "sampler.temperature=0.01", "seed=5")
    assert cold[0]["response"] == greedy[0]
    long = drawn("the film", "-n", 8, "sampler.min_new_tokens=5")
    assert {record["tokens"] for record in long} == {5}


def test_a_group_and_then_a_key_of_it_both_count(generate, model_dir):
    words = ["sampler=greedy", "sampler.max_new_tokens=2", "device=cpu", "--json"]
    (record,) = json.loads(generate(model_dir, "the film", *words)[1])
    assert record["tokens"] <= 2


@pytest.mark.parametrize(
    "prompt", ["a=b", "x = 3", "seedling=2", "prompt=hello", "the film is = good", "temperature = 2", "=", ""]
)
def test_a_prompt_may_hold_an_equals_sign(prompt, drawn):
    assert prompts(drawn(prompt)) == [prompt]


def test_a_prompt_may_begin_with_a_dash_behind_two_dashes(generate, model_dir):
    code, out, _ = generate(model_dir, SHORT, "device=cpu", "--json", "--", "-5 degrees")
    assert code == 0
    assert prompts(json.loads(out)) == ["-5 degrees"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sampler.topk=1", "no setting 'sampler.topk'; did you mean 'sampler.top_k=1'?"),
        ("sampler.temperature=hot", "sampler.temperature must be a number, got 'hot'"),
        ("sampler.temperature=-0.5", "sampler.temperature must be > 0, got -0.5"),
        ("sampler=gredy", "no sampler 'gredy'; did you mean 'sampler=greedy'?"),
        ("sampler=../algo/sft", "no sampler '../algo/sft'"),
        ("seed=[1", "seed"),
        ("model._target_=os.system", "no setting 'model._target_'"),
        ("sampler.temperature=${oc.env:HOME}", "sampler.temperature must be a number, got '${oc.env:HOME}'"),
    ],
)
def test_a_wrong_setting_is_exit_2(word, message, generate, model_dir):
    code, out, err = generate(model_dir, "the film", word)
    assert (code, out) == (2, "")
    assert err.startswith(f"rlnlp generate: {message}")
    assert err.count("\n") <= 3


def test_words_and_a_file_together_are_exit_2(generate, model_dir, prompts_file):
    assert generate(model_dir, "the film", "--file", prompts_file)[0] == 2


@pytest.mark.parametrize("words", [["-n", "0"], ["-n", "x"]])
def test_a_wrong_flag_is_exit_2(words, generate, model_dir, capsys):
    with pytest.raises(SystemExit) as left:
        generate(model_dir, "the film", *words)
    assert left.value.code == 2
    assert "rlnlp generate: error: " in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\n"])
def test_standard_input_without_text_is_exit_3(content, generate, model_dir, monkeypatch):
    pipe(monkeypatch, content)
    code, out, err = generate(model_dir)
    assert (code, out) == (3, "")
    assert err.startswith("rlnlp generate: ")


def test_prompts_that_cannot_be_asked_are_exit_3(generate, model_dir, tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"text": "b"}\n')
    code, _, err = generate(model_dir, "--file", tmp_path / "p.jsonl")
    assert code == 3
    assert "no field 'prompt'" in err
    code, _, err = generate(model_dir, "the " * 64, "device=cpu")
    assert code == 3
    assert "tokens, but the model has room for" in err
    assert generate(model_dir, "caf\udce9", "device=cpu")[0] == 3
    assert generate(model_dir, "the film", "device=cpu", "sampler.max_new_tokens=64")[0] == 2


def test_a_run_is_drawn_from_with_its_own_settings(finished, generate):
    code, out, _ = generate(finished, "the film", "--json")
    assert code == 0
    (record,) = json.loads(out)
    assert record["tokens"] <= 3
    assert generate(finished, "the film", "--json", "seed=9")[1] == out, "the run's sampler is greedy"
    assert generate(finished, "the film", "--json", "-n", 9, "sampler=default", SHORT, "seed=1")[1] != out


def test_a_run_without_a_policy_yet_is_exit_6(finished, generate):
    shutil.rmtree(finished / "policy")
    code, _, err = generate(finished, "the film")
    assert code == 6
    assert "has no policy/ yet: the run has not finished" in err


@pytest.mark.parametrize(
    "text",
    [
        "", "algo: 3", "algo: {name: nothing}", "a: [", "\x00", "- 1", "!!python/object/apply:os.mkdir [canary]",
        "algo: {name: reinforce}\nhydra: {callbacks: {x: {_target_: os.system}}}", "algo: &a [*a]", "[" * 3000,
    ],
)  # fmt: skip
def test_a_run_whose_settings_are_not_sound_is_exit_6_and_runs_nothing(text, finished, generate, monkeypatch):
    monkeypatch.chdir(finished)
    (finished / "config.yaml").write_text(text)
    code, out, err = generate(finished, "the film")
    assert (code, out) == (6, "")
    assert "config.yaml" in err
    assert not (finished / "canary").exists()


@pytest.mark.parametrize(
    "name", ["./nowhere", "/no/such/model", "no-such-model", "nobody/no-such-model", "a b", "x/y/z"]
)
def test_a_model_that_is_nowhere_is_exit_4_and_the_network_is_left_alone(name, generate, monkeypatch):
    tried = []
    monkeypatch.setattr(socket.socket, "connect", lambda *where: tried.append(where))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: tried.append(where))
    code, out, err = generate(name, "the film")
    assert (code, out, tried) == (4, "", [])
    assert err.startswith(f"rlnlp generate: model.path '{name}' ")
    assert err.count("\n") <= 2


def test_a_directory_that_is_neither_run_nor_model_is_exit_4(tmp_path, generate):
    code, out, err = generate(tmp_path, "the film", "device=cpu")
    assert (code, out) == (4, "")
    assert str(tmp_path) in err
    assert err.count("\n") <= 3


def test_what_is_printed_holds_nothing_that_a_terminal_obeys(generate, model_dir, tmp_path):
    prompt = "the \x1b[2J\x1b]0;title\x07 film \u202e \x9b31m"
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": prompt}))
    for words in ([prompt], ["--file", tmp_path / "p.jsonl"], [prompt, "--json"]):
        code, out, err = generate(model_dir, *words, SHORT, "device=cpu")
        assert (code, err) == (0, "")
        assert not [c for c in out if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Cs"}]
        assert "film" in out
    assert prompts(json.loads(out)) == [prompt], "programs get the prompt as it is"


SCORES = """
def words(completions):
    return [float(len(text.split())) for text in completions]

def topic(completions, topic):
    return [float(text.split().count(word)) for text, word in zip(completions, topic)]
"""


@pytest.fixture
def other_dir(tmp_path):
    """Another small model with the same words."""
    words = small.tokenizer()
    small.lm(len(words), seed=5).save_pretrained(tmp_path / "models" / "other")
    words.save_pretrained(tmp_path / "models" / "other")
    return tmp_path / "models" / "other"


def test_several_models_answer_each_prompt_one_after_the_other_as_they_do_alone(drawn, other_dir, model_dir):
    alone = {source: drawn("the film", "food is", "-n", 2, source=source) for source in (model_dir, other_dir)}
    both = drawn("the film", "food is", "-n", 2, "--with", other_dir)
    assert [record["model"] for record in both] == ([str(model_dir)] * 2 + [str(other_dir)] * 2) * 2
    for source, records in alone.items():
        assert [record for record in both if record["model"] == str(source)] == records
    assert prompts(both) == ["the film"] * 4 + ["food is"] * 4


def test_scored_responses_come_best_first_with_what_each_term_gave(drawn, other_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SCORES)
    reward = ["reward=sentiment", "reward.terms.words.fn=mine.py:words", "reward.terms.sentiment.weight=0"]
    plain = drawn("the film", "food is", "-n", 3, "--with", other_dir)
    scored = drawn("the film", "food is", "-n", 3, "--with", other_dir, "--score", *reward)
    for record in scored:
        assert record["score"] == record["terms"]["words"] == len(record["response"].split())
    for prompt in ("the film", "food is"):
        values = [record["score"] for record in scored if record["prompt"] == prompt]
        assert values == sorted(values, reverse=True)
        assert len(set(values)) > 1
    rest = [{key: record[key] for key in plain[0]} for record in scored]
    assert sorted(map(str, rest)) == sorted(map(str, plain))
    assert prompts(scored) == prompts(plain)


def test_a_run_s_own_reward_scores_and_its_first_policy_says_what_is_coherent(finished, generate, model_dir, other_dir):
    shutil.rmtree(finished / "policy")
    shutil.copytree(other_dir, finished / "policy")
    config = finished / "config.yaml"
    text = config.read_text().replace("path: gone", f"path: {model_dir}").partition(manifest.CHECKSUM_LINE)[0]
    config.write_text(f"{text}{manifest.CHECKSUM_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n")
    code, out, err = generate(finished, "the film", "--score", "--json", "reward.terms.coherence.weight=1")
    assert code == 0
    assert err == (
        "reward.terms.similarity is left out: the prompts have no 'reference'; prompts with one can be given with"
        " --file\n"
    )
    (record,) = json.loads(out)
    assert set(record["terms"]) == {"length", "diversity", "coherence", "sentiment"}
    policy, _ = load_policy(str(model_dir), True, torch.device("cpu"))
    tokenizer = load_tokenizer(str(model_dir), True, policy.ends)
    ids = tokenizer.encode("the film")
    said = tokenizer.encode(record["response"])[1:] + ([small.END] if record["ended"] else [])
    mask = torch.ones(1, len(said), dtype=torch.bool)
    asked = small.prompts(ids)
    rollout = Rollout(asked, torch.tensor([said]), mask, torch.cat([asked.mask, mask], 1), mask[:, -1])
    nats = -float(logprob_fn(policy, small.plain(), 4)(rollout).sum()) / len(said)
    coherent = max(0.0, 1 - nats / math.log(len(tokenizer.raw)))
    assert record["terms"]["coherence"] == pytest.approx(coherent, abs=1e-4)


def test_code_that_only_a_run_names_is_asked_for_again_and_a_change_of_it_is_told(
    finished, generate, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SCORES)
    config = finished / "config.yaml"
    text = config.read_text().partition(manifest.CHECKSUM_LINE)[0].replace("fn: length", "fn: mine.py:words")
    text = text.replace("args:\n        low: 5\n        high: 20", "args: {}")
    config.write_text(f"{text}{manifest.CHECKSUM_LINE}{hashlib.sha256(text.encode()).hexdigest()}\n")
    (finished / "run.json").write_text(json.dumps({"code": {"reward.terms.length.fn": "another"}}))
    code, _, err = generate(finished, "the film", "--score")
    again = f"rlnlp generate {finished} --score reward.terms.length.fn=mine.py:words"
    assert (code, again in err) == (6, True)
    code, _, err = generate(finished, "the film", "--score", "reward=sentiment", "reward.terms.length.fn=mine.py:words")
    assert code == 0, err
    assert "warning: reward.terms.length.fn: its content differs from what the run was rewarded with" in err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--score"], 2, "has no reward of its own; name one: reward=default"),
        (["reward=sentiment"], 2, "'reward=sentiment' says what is rewarded: add --score"),
        (["--score", "reward=sentimnt"], 2, "did you mean 'reward=sentiment'?"),
        (["--with", "./nowhere"], 4, "nowhere"),
        (["--chat", "--with", "embedded", "--score"], 2, "leave out a prompt, --with, --score"),
        (["score=true"], 2, "type: --score"),
    ],
)
def test_what_cannot_be_scored_is_told(words, code, message, generate, model_dir):
    got, _, err = generate(model_dir, "the film", *words)
    assert (got, message in err) == (code, True), err


def test_a_file_s_references_and_columns_reach_the_reward(drawn, tmp_path, monkeypatch, prompts_file):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SCORES)
    words = ["--score", "reward=classic", "reward.terms.topic.fn=mine.py:topic", "--file", prompts_file]
    records = [record for record in drawn(*words) if record["terms"]["similarity"] > 0]
    assert records
    topics = {row["prompt"]: row["topic"] for row in map(json.loads, prompts_file.read_text().splitlines())}
    for record in records:
        assert record["terms"]["topic"] == record["response"].split().count(topics[record["prompt"]])


def test_responses_side_by_side_fit_80_columns_and_models_have_short_names():
    rows = [
        {"number": n, "prompt": "why " * 40 + "\x1b[31m", "response": "because\nof [red]it " * 20, "model": model,
         "score": 0.5}
        for n in range(2) for model in ("outputs/ppo/a", "outputs/reinforce/a", "gpt2")
    ]  # fmt: skip
    lines = list(table(rows, "", "", 80))
    assert max(map(len, lines)) <= 80
    assert not [c for line in lines for c in line if unicodedata.category(c) in {"Cc", "Cf"}]
    heads = [line.split()[:2] for line in lines if line.startswith("   0.5")]
    assert heads == [["0.500", name] for name in ("ppo/a", "reinforce/a", "gpt2")] * 2
    assert lines.count("") == 1
    assert short_names(["x/" + "y" * 40]) == {"x/" + "y" * 40: "…" + "y" * 23}
