"""The choices of conf/reward: each of them trains, and cannot be gamed by repeating a word."""

import json

import pytest
import torch

from rlnlp import build
from rlnlp.cli.main import main
from rlnlp.config.choices import conf_dir
from rlnlp.config.parse import parse
from rlnlp.config.schema import ReinforceRun
from rlnlp.errors import Failure
from rlnlp.rewards.terms import weighted_sum
from support import runs
from support.rewards import composed, make_texts, rollout_of

CHOICES = sorted(path.stem for path in (conf_dir() / "reward").glob("*.yaml"))


@pytest.mark.parametrize(
    "choice", [c for c in CHOICES if c not in ("classifier", "exact-answer", "learned", "optimality")]
)
def test_every_choice_of_reward_trains_a_step(choice, model_dir, prompts_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [
        "algo=reinforce", f"reward={choice}", f"model.path={model_dir}", f"data.prompts={prompts_file}",
        "algo.total_steps=1", "algo.batch_size=2", "sampler.max_new_tokens=6", "device=cpu", "hydra.run.dir=run",
        "heldout.size=2",
    ]  # fmt: skip
    with runs.without_pictures():
        assert main(["train", *words]) == 0
    (row,) = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    terms = parse(ReinforceRun, composed(f"reward={choice}")).reward.terms
    assert {name for name in row if name.startswith("score/")} == {f"score/{name}" for name in terms}
    assert all(0 <= row[f"score/{name}"] <= 1 for name in terms)


def test_the_choice_classifier_without_a_path_is_exit_2():
    with pytest.raises(Failure, match=r"^reward\.terms\.classifier\.args\.path is missing$") as failure:
        parse(ReinforceRun, composed("reward=classifier"))
    assert failure.value.code == 2


def total(choice, text, coherence):
    reward = parse(ReinforceRun, composed(f"reward={choice}")).reward
    terms, _ = build.reward_terms(reward, lambda _: make_texts(text), lambda r: torch.tensor([coherence]))
    return float(weighted_sum(terms, build.shapings(reward))(rollout_of([[5]])).score)


@pytest.mark.parametrize("choice", ["polite", "helpful-safe"])
def test_a_repeated_kind_word_scores_less_than_a_kind_reply(choice):
    reply = "I am so sorry for the trouble with your parcel, Anna. I have sent you a new one today."
    for word in ("thanks", "please", "sorry"):
        for count in (1, 2, 3, 5, 8, 13, 21, 40):
            assert total(choice, f"{word} " * count, 1.0) < total(choice, reply, 0.85)


@pytest.mark.parametrize(
    "insult", ["You idiot. ", "Shut up! ", "Leave me\nalone. ", "That is not my problem. ", "STUPID. "]
)
def test_an_insult_costs_a_helpful_reply_what_the_other_terms_give(insult):
    reply = "I have sent you a new one today, and you will get an email about it on Monday."
    kind = total("helpful-safe", f"Thank you for your patience. {reply}", 0.8)
    assert total("helpful-safe", reply, 0.8) > 0.5
    assert total("helpful-safe", f"Thank you for your patience. {insult}{reply}", 0.8) == 0 < kind
