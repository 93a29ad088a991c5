"""The taste of simulated annotators: any reward, of texts to the letter, summed as training sums it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from rlnlp import build
from rlnlp.config.choices import choice
from rlnlp.config.parse import parse
from rlnlp.config.reward import Reward
from rlnlp.data.given import GivenTexts
from rlnlp.data.prompts import PromptTable, table_of
from rlnlp.data.records import ASSETS
from rlnlp.feedback.records import NewItem
from rlnlp.feedback.simulated import Rater, SimulatedAnnotators, differing
from rlnlp.feedback.store import Store
from rlnlp.feedback.taste import Taste, taste_of
from rlnlp.maths.distribution import Distribution
from rlnlp.models.chat import Chat, conversation_text
from rlnlp.models.policy import Policy, logprob_fn
from rlnlp.models.tokenizer import Tokenizer
from rlnlp.rewards.model.coherence import coherence
from rlnlp.rewards.shaping import Shaping
from rlnlp.rewards.terms import weighted_sum
from rlnlp.rewards.text import gold
from support import reward_models, small

CPU = torch.device("cpu")
CONTEXT = 24
TALK = [{"role": "user", "content": "the film"}, {"role": "assistant", "content": "good"},
        {"role": "user", "content": "is it ?"}]  # fmt: skip
OWN = """
seen = []


def words(prompts, completions, weight):
    seen.append((list(prompts), list(completions)))
    return [None if "abstain" in text else weight * len(text.split()) for text in completions]


def marks(completions, topic, references):
    return [text.count("!") + len(t or "") + len(r or "") for text, t, r in zip(completions, topic, references)]


def said(prompts, completions):
    return [float(p[-1]["content"] == "is it ?" and c[0]["role"] == "assistant") * len(c[0]["content"])
            for p, c in zip(prompts, completions)]
"""


def table(*more) -> PromptTable:
    raw = small.tokenizer()
    tokenizer = Tokenizer(raw, (small.END,), 0, (1,))
    records = [{"prompt": "the film is", "topic": "abc", "reference": "xy"}, {"prompt": "a room"}, *more]
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    return table_of(records, Chat(tokenizer, template, {}), CONTEXT)


def made(terms, tmp_path, prompts=None, likely=None, low=0.0, high=1.0):
    """The taste of the terms, and the reward that training would take."""
    path = tmp_path / "own.py"
    path.write_text(OWN)
    terms = {name: {**term, "fn": term["fn"].replace("own:", f"{path}:")} for name, term in terms.items()}
    reward = parse(Reward, {"terms": terms, "workers": 0}, "reward.")
    prompts = prompts or table()
    texts = GivenTexts(prompts, CONTEXT, CPU)
    found, _ = build.reward_terms(reward, texts, likely)
    return taste_of(found, build.shapings(reward), texts, low, high), weighted_sum(found, build.shapings(reward))


def test_the_choice_gold_weighs_sentiment_politeness_and_helpfulness_of_words_no_tokenizer_knows():
    rows = [json.loads(line) for line in (ASSETS / "preferences.jsonl").read_text().splitlines()[:40]]
    prompts = [row["prompt"] for row in rows for _ in range(2)]
    texts = [row[name] for row in rows for name in ("chosen", "rejected")]
    reward = parse(Reward, choice("reward", "gold"), "reward.")
    given = GivenTexts(table(), CONTEXT, CPU)
    terms, _ = build.reward_terms(reward, given, None)
    scores = taste_of(terms, build.shapings(reward), given, 0, 1).scores(prompts, texts)
    parts = [gold.sentiment(prompts, texts), gold.politeness(prompts, texts), gold.helpfulness(prompts, texts)]
    assert scores == pytest.approx([0.4 * s + 0.3 * p + 0.3 * h for s, p, h in zip(*parts, strict=True)])
    assert np.mean(scores[::2] > scores[1::2]) > 0.7


def test_shaping_vetoes_and_abstaining_count_as_they_do_in_training(tmp_path):
    taste, reward = made({
        "words": {"fn": "own:words", "weight": 2.0, "args": {"weight": 1.5}, "scale": 2.0, "shift": 1.0,
                  "clip": [0.0, 8.0], "floor": 3.0},
        "marks": {"fn": "own:marks", "weight": -0.5},
    }, tmp_path)  # fmt: skip
    texts = ["good good", "good", "good good good !", "abstain", "very very very very !!"]
    # by hand: words are 3, 1.5, 6, none, 7.5; doubled, plus 1, at most 8: 7, 4, 8, -, 8; below 3 the marks add nothing,
    # what they take stays. marks: a topic of 3 letters and a reference of 2 beside what is in the text.
    hand = [14 - 2.5, 8 - 2.5, 16 - 3, -2.5, 16 - 3.5]
    assert taste.scores(["the film is"] * 5, texts).tolist() == hand
    known = [0, 2]  # in words that the tokenizer has: as a policy would have written them
    rollout = table().as_rollout([0], [[texts[i] for i in known]], CPU)
    assert reward(rollout).score.tolist() == [hand[i] for i in known]


def test_a_veto_takes_what_others_would_add(tmp_path):
    terms = {"words": {"fn": "own:words", "args": {"weight": 1.0}, "floor": 2.0}, "marks": {"fn": "own:marks"}}
    taste, _ = made(terms, tmp_path)
    assert taste.scores(["a room"] * 2, ["good !!", "good!!"]).tolist() == [4.0, 1.0]


def test_texts_are_read_to_the_letter_with_the_reference_and_the_columns_of_their_prompt(tmp_path):
    taste, _ = made({"words": {"fn": "own:words", "args": {"weight": 1.0}}, "marks": {"fn": "own:marks"}}, tmp_path)
    odd = "Übermäßig  seltsam\n!"
    assert taste.scores(["the film is", "a room", "nowhere", None], [odd] * 4).tolist() == [9, 4, 4, 4]
    texts = GivenTexts(table(), CONTEXT, CPU)
    rollout = texts.rollout(["a room", None, TALK], [odd, "", "x"])
    assert texts(rollout).completions == [odd, "", "x"]
    assert texts(rollout).prompts == ["a room", "", f"{conversation_text(TALK)}\n\nAssistant: "]
    other = table().as_rollout([0], [["very good"]], CPU)
    assert texts(other).completions == [" very good"], "of any other rollout it is what its tokens say"


def test_a_conversation_is_given_as_messages_in_the_table_or_not(tmp_path):
    terms = {"said": {"fn": "own:said", "conversational": True}}
    for prompts in (table({"prompt": TALK}), table()):
        taste, _ = made(terms, tmp_path, prompts)
        assert taste.scores([TALK, "a room"], ["très bien", "x"]).tolist() == [9.0, 0.0]


def test_models_read_the_prompt_and_the_response_that_the_policy_would_have_written(tmp_path, model_dir):
    policy = Policy(small.lm(len(small.tokenizer()), context=CONTEXT)).requires_grad_(False)
    likelihood = logprob_fn(policy, Distribution(1.0, 0, 1.0, 0, (small.END,)), 4)
    run = reward_models.save(tmp_path / "rm", model_dir)
    terms = {
        "coherence": {"fn": "coherence"},
        "learned": {"fn": "learned", "args": {"path": str(run / "reward_model")}},
    }
    taste, reward = made(terms, tmp_path, likely=coherence(likelihood, len(small.tokenizer())))
    responses = [" very good .", " bad"]
    rollout = table().as_rollout([0, 1], [responses, responses], CPU)
    expected = reward(rollout).score.tolist()
    assert taste.scores(["the film is"] * 2 + ["a room"] * 2, responses * 2) == pytest.approx(expected, abs=1e-6)
    long = "good " * 60
    assert np.isfinite(taste.scores(["the film is", long], [long, "good"])).all(), "cut to the context"


def test_no_text_is_scored_twice_for_raters_of_other_weights(tmp_path):
    calls = []

    def counted(power):
        def term(rollout):
            calls.append(len(rollout.responses))
            return torch.arange(1, 1 + len(rollout.responses), dtype=torch.float32) ** power

        return term

    texts = GivenTexts(table(), CONTEXT, CPU)
    taste = taste_of({"a": (counted(1), 1.0), "b": (counted(3), 2.0)}, dict.fromkeys("ab", Shaping()), texts, 0, 1)
    raters = differing(Rater("r", taste), 3, 0.5, 1)
    found = {tuple(rater.taste.scores(["a room"] * 3, ["x", "y", "x"])) for rater in raters}
    assert calls == [2, 2]
    assert len(found) == 3
    assert {each[0] == each[2] for each in found} == {True}
    assert taste.scores(["a room"] * 2, ["x", "y"]).tolist() == [3.0, 18.0]


def test_weights_of_both_signs_keep_their_size_when_raters_differ():
    base = Rater("r", Taste(lambda prompts, responses: np.zeros((len(responses), 2)), (1.0, -1.0)))
    for rater in differing(base, 20, 0.5, 1):
        one, other = rater.taste.weights
        assert one > 0 > other
        assert one - other == pytest.approx(2)


def test_a_taste_is_judged_by_through_a_store(tmp_path):
    taste, _ = made({"words": {"fn": "own:words", "args": {"weight": 1.0}}}, tmp_path, high=10.0)
    with Store(tmp_path / "set.sqlite", repeated=0) as store:
        store.add([NewItem("a room", ("good", "very good")), NewItem(TALK, ("w x y z q",))])
        SimulatedAnnotators([replace(Rater("r", taste))], 0).collect(store, lambda: False)
        assert [(j.verdict.preference, j.verdict.rating) for _, j in store.standing()] == [(1.0, None), (None, 6)]
