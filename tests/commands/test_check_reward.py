"""``rlnlp check-reward``: what functions give for a few responses, and how long they take."""

import json
import re
from pathlib import Path

import pytest

from rlnlp.cli.completion import candidates
from rlnlp.cli.main import HYDRA, PLAIN, main
from support import small

SOURCE = """
import time

def polite(completions, word="please"):
    time.sleep(0.02)
    return [None if i % 2 else float(len(text.split())) for i, text in enumerate(completions)]

def tall(completions):
    return [float(len(text.split())) for text in completions]

def rude(completions):
    return [1 / 0 for text in completions]
"""


@pytest.fixture
def place(tmp_path, monkeypatch, model_dir):
    """Functions, prompts with and without references, and settings for a small model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE)
    small.write_prompts(tmp_path / "p.jsonl", 12)
    (tmp_path / "bare.jsonl").write_text('{"prompt": "the film"}\n{"prompt": "\\u001b[31m a room"}\n')
    return [f"model.path={model_dir}", "sampler.max_new_tokens=5", "device=cpu"]


def test_it_prints_each_response_with_its_values_the_mean_and_the_time(place, capsys):
    assert main(["check-reward", "mine.py:polite", "--prompts", "p.jsonl", *place]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    prompts = [json.loads(line)["prompt"] for line in Path("p.jsonl").read_text().splitlines()[:4]]
    assert re.findall(r"^prompt    (.*)$", out, re.MULTILINE) == prompts
    responses = re.findall(r"^response  (.*)$", out, re.MULTILINE)
    values = re.findall(r"^          polite (\S+)$", out, re.MULTILINE)
    assert values == [str(len(responses[0].split())), "none", str(len(responses[2].split())), "none"]
    table = re.search(r"^polite +(\S+) +(\S+)  (\S+) ms a response$", out, re.MULTILINE)
    assert float(table[1]) == pytest.approx((float(values[0]) + float(values[2])) / 2, rel=1e-3)
    assert float(table[2]) >= 0.02
    assert float(table[3]) >= 5


def test_without_a_function_every_term_of_the_settings_is_called(place, capsys):
    words = ["reward=classic", "reward.terms.tall.fn=mine.py:tall", "data.prompts=p.jsonl", "-n", "3", "--json"]
    assert main(["check-reward", *place, *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["terms"]) == ["length", "diversity", "coherence", "similarity", "tall"]
    assert len(found["responses"]) == 3
    for row in found["responses"]:
        terms = row["terms"]
        assert terms["tall"] == len(row["response"].split())
        weighted = 0.2 * terms["length"] + 0.3 * (terms["diversity"] + terms["coherence"]) + 0.2 * terms["similarity"]
        assert row["score"] == pytest.approx(weighted + terms["tall"], rel=1e-5)


def test_workers_give_the_same_and_a_term_that_the_data_lack_is_left_out(place, capsys):
    words = ["reward.terms.tall.fn=mine.py:tall", "--json", "--prompts", "bare.jsonl", "-n", "2"]
    found = []
    for count in (0, 2):
        assert main(["check-reward", *place, *words, f"reward.workers={count}"]) == 0
        out, err = capsys.readouterr()
        assert "reward.terms.similarity of the default reward is left out" in err
        assert "\x1b" not in out
        found.append(json.loads(out))
    assert found[0]["responses"] == found[1]["responses"]


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (["mine.py:rude"], 7, r"mine.py:12, given .*\n.*run again; RLNLP_TRACE=1 shows the traceback\n$"),
        (["mine.py:none"], 2, "mine.py has no function 'none'"),
        (["mine.py"], 2, r"reward.terms.mine.py.fn must be one of .*, or file.py:function"),
        (["mine.py:polite", "mine.py:tall"], 2, "name one function, not 2"),
        (["mine.py:polite", "reward.terms.polite.args.wrod=a"], 2, "no argument 'wrod'"),
        (["mine.py:polite", "--prompts", "none.jsonl"], 3, "none.jsonl"),
        (["mine.py:polite", "reward.wokers=2"], 2, "reward.workers"),
    ],
)
def test_what_is_wrong_is_told(words, code, what, place, capsys):
    assert main(["check-reward", *place, *words]) == code
    assert re.search(what, capsys.readouterr().err)


def test_a_built_in_term_can_be_checked(place, capsys):
    assert main(["check-reward", "diversity", *place, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["terms"]) == ["diversity"]


def test_tab_completes_functions_terms_settings_and_flags(place):
    def complete(*words):
        training = {name: fixed for name, (fixed, _) in HYDRA.items()}
        return [one.text for one in candidates(["check-reward", *words[:-1]], words[-1], training, PLAIN)]

    assert "mine.py:" in complete("")
    assert "mine.py:polite" in complete("mine.py:")
    assert "diversity" in complete("")
    assert "reward=" in complete("mine.py:polite", "rew")
    assert "diversity" not in complete("mine.py:polite", "")
    assert complete("--p") == ["--prompts"]
    assert "p.jsonl" in complete("--prompts", "")
