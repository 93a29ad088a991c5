"""Courtesy, keywords, patterns, repetition, ROUGE; shaped and vetoed sums; arguments; the choices of conf/reward."""

import json
import math
import random
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlnlp import build
from rlnlp.cli.main import main
from rlnlp.config import schema as config
from rlnlp.config.choices import conf_dir
from rlnlp.config.parse import parse
from rlnlp.embedded.grammar import corpus, load, write
from rlnlp.errors import Failure
from rlnlp.models.policy import logprob_fn
from rlnlp.models.tokenizer import load_tokenizer
from rlnlp.rewards.builtin import MODEL_REWARDS, TEXT_REWARDS
from rlnlp.rewards.model.coherence import coherence, reread
from rlnlp.rewards.shaping import Shape, vetoed_sum
from rlnlp.rewards.terms import weighted_sum
from rlnlp.rewards.text.keywords import keywords
from rlnlp.rewards.text.pattern import pattern
from rlnlp.rewards.text.politeness import LIST, lexicon, phrases, politeness, shouts
from rlnlp.rewards.text.repetition import repetition
from rlnlp.rewards.text.similarity import similarity
from rlnlp.rewards.text.words import words
from rlnlp.types import Rollout, Texts
from support import small

CHOICES = sorted(path.stem for path in (conf_dir() / "reward").glob("*.yaml"))
NEEDED = {
    "length": {"low": 1, "high": 2}, "keywords": {"words": ["good", "thank you"]}, "pattern": {"regex": "bad$"},
}  # fmt: skip
VALUES = st.floats(-4, 4, width=32)


@pytest.fixture(autouse=True)
def _precision():
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)


def texts_of(tokenizer, tokens, mask):
    return [tokenizer.decode(row[keep].tolist()) for row, keep in zip(tokens, mask, strict=True)]


def rollout_of(rows, ended=None):
    """One prompt of two tokens a row, and a response of the given tokens."""
    asked = small.prompts(*[[1, 4]] * len(rows))
    width = max(map(len, rows))
    responses = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[i < len(row) for i in range(width)] for row in rows])
    return Rollout(asked, responses, mask, torch.cat([asked.mask, mask], 1), torch.tensor(ended or [True] * len(rows)))


def texts(*completions, prompt="the"):
    given_ = list(completions)
    return Texts([prompt] * len(given_), given_, ["x"] * len(given_), {})


def made(terms, completions=("good", "bad bad"), likely=None, name=None):
    """The terms of ``fn -> args`` or of one term, built as a run builds them, and asked."""
    each = {word: config.RewardTerm(word if name is None else name, 0.5, args) for word, args in terms.items()}
    found, _ = build.reward_terms(config.Reward(each), lambda _: texts(*completions), likely)
    return {word: term(rollout_of([[5]] * len(completions))).tolist() for word, (term, _) in found.items()}


def fails(code, what, fn, *args):
    with pytest.raises(Failure, match=what) as failure:
        fn(*args)
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("text", "worth"),
    [
        ("", 0.5), ("the table is green", 0.5), ("Thank you!", 0.5 * (1 + 1 / 1.5)),
        ("LEAVE us alone", 0.5 * (1 - 1 / 1.5)),
        ("please", 0.5 * (1 + 0.75 / 1.25)), ("thank you, please", 0.5 * (1 + 1.75 / 2.25)),
        ("thank you, idiot", 0.5), ("idiot, idiot", 0.5 * (1 - 2 / 2.5)), ("please stop it", 0.5 * (1 - 1 / 1.5)),
        ("I WANT MY MONEY NOW", 0.5 * (1 - 0.75 / 1.25)), ("I’m afraid not", 0.5 * (1 + 0.25 / 0.75)),
    ],
)  # fmt: skip
def test_politeness_weighs_kind_phrases_against_rude_ones(text, worth):
    assert politeness([text]) == [pytest.approx(worth)]


def test_a_kind_word_over_and_over_counts_once_and_a_rude_one_every_time():
    once, often, rude, ruder = politeness(["thanks", "thanks " * 30, "idiot", "idiot " * 3])
    assert once == often > 0.5 > rude > ruder


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("NO", 0),
        ("A USB HDMI cable", 0),
        ("I HATE IT, I REALLY DO", 1),
        ("ON AND ON, then it IS SO LOUD", 2),
        ("À BIENTÔT OÙ ÇA", 1),
    ],
)
def test_three_words_in_capitals_are_a_shout(text, count):
    assert shouts(text) == count


def test_every_phrase_can_be_met_as_it_stands_and_none_is_listed_twice():
    known, longest = lexicon()
    assert len(known) > 250
    assert all(phrases(words(phrase)) == [(phrase, worth)] for phrase, worth in known.items())
    assert all(0 < abs(worth) <= 1 for worth in known.values())
    listed = [
        p.strip()
        for line in LIST.read_text().splitlines()
        if line and line[0] != "#"
        for p in line.partition(":")[2].split(",")
    ]
    assert sorted(listed) == sorted(known)
    assert longest == max(len(phrase.split()) for phrase in known)


@given(st.lists(st.sampled_from([*list(lexicon()[0])[::7], "table", "GREEN", "it"]), max_size=8), st.data())
def test_a_kind_phrase_more_never_harms_and_a_rude_one_more_never_helps(parts, data):
    known = lexicon()[0]
    phrase = data.draw(st.sampled_from(sorted(known)))
    before, after = politeness(
        [" ; ".join(["xx " + p for p in parts]), " ; ".join(["xx " + p for p in [*parts, phrase]])]
    )
    assert 0 <= before <= 1
    assert (after >= before - 1e-12) if known[phrase] > 0 else (after < before)


@cache
def replies(count=300):
    """Replies of the grammar and the politeness that it gave them itself."""
    rng, grammar = random.Random(1), load()
    topics = [rule.name.split(".", 1)[1] for rule in grammar.of_kind("text", "support") if rule.name[:4] == "ask."]
    dialogues = [write(grammar, rng, f"dialogue.{rng.choice(topics)}").text for _ in range(count)]
    return [(d.partition("Agent:")[2].strip(), corpus.reader().read(d).politeness) for d in dialogues]


def auc(high, low):
    """Probability that one of ``high`` is above one of ``low``."""
    return float(np.mean([[(a > b) + 0.5 * (a == b) for b in low] for a in high]))


def test_politeness_tells_the_grammars_kind_plain_and_rude_replies_apart():
    values = politeness([text for text, _ in replies()])
    kind, plain, rude = (
        [v for v, (_, gold) in zip(values, replies(), strict=True) if np.sign(gold) == s] for s in (1, 0, -1)
    )
    assert min(map(len, (kind, plain, rude))) > 40
    assert auc(kind, rude) > 0.99
    assert auc(kind, plain) > 0.98
    assert auc(plain, rude) > 0.98


@pytest.mark.parametrize(
    ("kinder", "ruder"),
    [
        ("Could you please send it again?", "Send it again, hurry up."),
        ("We apologise for the wait.", "Deal with it."),
        ("You're welcome, have a great day!", "Get lost, you moron."),
        ("I understand, and I am sorry.", "What the hell do you want now?"),
        ("The parcel is here.", "Who cares about the parcel?"),
        ("Stop at the corner, thanks.", "Stop whining."),
    ],
)
def test_politeness_orders_sentences_of_general_english(kinder, ruder):
    high, low = politeness([kinder, ruder])
    assert high > low
    assert low <= 0.5 <= high


@pytest.mark.parametrize(
    ("wanted", "text", "worth"),
    [
        (["cat"], "The CAT.", 1), (["cat"], "concatenate cats", 0), (["cat", "dog"], "a cat", 0.5),
        (["thank you", "sorry"], "Thank, you!", 0.5), (["you thank"], "thank you", 0), (["Straße"], "STRASSE", 1),
        (["well-made", "don't"], "well-made; don’t", 1), (["a"], "", 0),
    ],
)  # fmt: skip
def test_keywords_are_met_as_whole_words_in_any_case(wanted, text, worth):
    assert keywords([text], wanted) == [worth]


def test_pattern_is_1_where_the_expression_is_found():
    assert pattern(["order 12", "no order", ""], r"\d+") == [1, 0, 0]
    assert pattern(["Yes", "yes"], "(?i)^YES$") == [1, 1]


@pytest.mark.parametrize(
    ("text", "n", "worth"),
    [("", 3, 1), ("a b", 3, 1), ("a b c", 3, 1), ("a a a a", 3, 0.5), ("a b a b", 2, 2 / 3), ("a A b", 1, 2 / 3),
     ("so " * 12, 3, 0.1)],
)  # fmt: skip
def test_repetition_is_one_less_the_share_of_runs_that_occurred_before(text, n, worth):
    assert repetition([text], n) == [pytest.approx(worth)]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 4))
def test_repetition_matches_a_slow_count(tokens, n):
    runs = [tokens[i : i + n] for i in range(len(tokens) - n + 1)]
    again = sum(runs[i] in runs[:i] for i in range(len(runs)))
    assert repetition([" ".join(tokens)], n) == [pytest.approx(1 - again / len(runs) if runs else 1)]


@pytest.mark.parametrize(
    ("completion", "reference", "f1", "recall", "longest"),
    [
        ("police kill the gunman", "police killed the gunman", 3 / 4, 3 / 4, 3 / 4),  # the examples of Lin 2004
        ("the gunman kill police", "police killed the gunman", 3 / 4, 3 / 4, 2 / 4),
        ("the cat the", "the cat sat down", 4 / 7, 2 / 4, 4 / 7),
        ("", "the cat", 0, 0, 0),
        ("the cat", "", 0, 0, 0),
    ],
)
def test_the_measures_of_similarity_by_hand(completion, reference, f1, recall, longest):
    for measure, worth in (("f1", f1), ("recall", recall), ("rouge-l", longest)):
        assert similarity([completion], [reference], measure) == [pytest.approx(worth)]


@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), max_size=7))
def test_rouge_l_matches_the_longest_of_all_common_subsequences(one, two):
    both = [set(combinations(one, k)) & set(combinations(two, k)) for k in range(8)]
    longest = max(k for k in range(8) if both[k])
    slow = 2 * longest / (len(one) + len(two)) if longest else 0
    (fast,) = similarity([" ".join(one)], [" ".join(two)], "rouge-l")
    assert fast == pytest.approx(slow)
    (f1,), (recall,) = (similarity([" ".join(one)], [" ".join(two)], m) for m in ("f1", "recall"))
    assert fast <= f1 + 1e-12
    assert 0 <= recall <= 1


@pytest.mark.parametrize(
    ("fn", "args", "line"),
    [
        ("pattern", {"regex": "a(b"}, r"regex is wrong at character 1: missing \), unterminated.*, got 'a\(b'"),
        ("pattern", {"regex": "a{99999999999999}"}, "regex cannot be used"),
        ("pattern", {"regex": 3}, "regex must be text, got 3"),
        ("pattern", {}, "regex is missing"),
        ("keywords", {}, "words is missing"),
        ("keywords", {"words": []}, "words must be words or phrases, at least one"),
        ("keywords", {"words": ["a", "?!"]}, "words must be words or phrases, at least one"),
        ("keywords", {"words": "please"}, "words must be a list of texts, got 'please'"),
        ("keywords", {"words": ["a", 3]}, r"words\[1\] must be text, got 3"),
        ("repetition", {"n": 0}, "n must be >= 1, got 0"),
        ("repetition", {"n": 2.5}, "n must be a whole number, got 2.5"),
        ("similarity", {"measure": "rouge-1"}, "measure must be one of f1, recall, rouge-l, got 'rouge-1'"),
        ("length", {"low": "five", "high": 9}, "low must be a whole number, got 'five'"),
        ("coherence", {"batch_size": 0}, "batch_size must be >= 1, got 0"),
        ("classifier", {"of": "prompt", "path": "x"}, "of must be one of completion, both, got 'prompt'"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_built_in_term_are_exit_2_with_their_key_before_any_response(fn, args, line):
    fails(2, rf"reward\.terms\.mine\.args\.{line}", lambda: made({"mine": args}, name=fn))


def test_an_unknown_argument_is_told_with_the_nearest():
    told, args = r"no setting 'reward\.terms\.mine\.args\.regx'; did you mean 'regex'", {"regx": "a", "regex": "a"}
    fails(2, told, made, {"mine": args}, (), None, "pattern")


def test_every_name_of_the_config_is_a_function_and_the_text_ones_can_be_built():
    assert set(TEXT_REWARDS) | set(MODEL_REWARDS) == set(config.REWARDS)
    found = made({name: NEEDED.get(name, {}) for name in (*TEXT_REWARDS, "coherence")}, likely=lambda r: torch.ones(2))
    assert found["coherence"] == [1, 1]
    assert found["keywords"] == [0.5, 0]
    assert found["pattern"] == [0, 1]
    assert found["diversity"] == [1, 0.5]
    assert all(len(values) == 2 and all(0 <= v <= 1 for v in values) for values in found.values())


def scores(values, terms):
    """weight, and what Shape takes, per term -> the score of each response."""
    held = {
        name: (lambda _, name=name: torch.tensor(values[name]), term.pop("weight", 1.0)) for name, term in terms.items()
    }
    shapes = {name: Shape(**term) for name, term in terms.items()}
    found = weighted_sum(held, shapes)(rollout_of([[5]] * len(values["a"])))
    assert {name: term.tolist() for name, term in found.terms.items()} == values, "the log keeps the raw values"
    return found.score.tolist()


def test_a_value_is_scaled_shifted_and_clipped_before_its_weight():
    values = {"a": [-2.0, 0.0, 0.5, 3.0]}
    assert scores(values, {"a": {"weight": 2.0, "scale": 2.0, "shift": -1.0, "clip": (-1.0, 2.0)}}) == [-2, -2, 0, 4]
    assert scores(values, {"a": {"scale": -1.0}}) == [2, 0, -0.5, -3]


def test_a_value_below_the_floor_takes_what_the_other_terms_would_add():
    values = {"a": [0.25, 0.5, 0.25, 0.25], "b": [1.0, 1.0, -1.0, 1.0], "c": [1.0, 1.0, 0.5, -3.0]}
    assert scores(values, {"a": {"floor": 0.5}, "b": {}, "c": {}}) == [0.25, 2.5, -0.25, -1.75]


def test_two_vetoes_leave_nothing_that_is_above_0():
    values = {"a": [0.25, 0.25, 0.25], "b": [0.5, 1.0, -1.0], "c": [1.0, 1.0, 0.5]}
    assert scores(values, {"a": {"floor": 0.5}, "b": {"floor": 0.75}, "c": {}}) == [0, 0.25, -0.25]


@given(st.lists(st.tuples(VALUES, VALUES, st.booleans()), min_size=1, max_size=5))
def test_a_veto_never_raises_the_score_and_is_what_the_words_say(terms):
    parts = [torch.tensor([weight * value]) for value, weight, _ in terms]
    vetoes = [torch.tensor([veto]) for _, _, veto in terms]
    plain = float(vetoed_sum(parts, [torch.tensor([False])] * len(parts)))
    found = float(vetoed_sum(parts, vetoes))
    assert found <= plain
    assert plain == float(torch.stack(parts).sum(0))
    own = [float(p) for i, p in enumerate(parts) if not any(v for j, v in enumerate(vetoes) if j != i)]
    others = sum(map(float, parts)) - sum(own)
    assert found == pytest.approx(sum(own) + min(0.0, others), abs=1e-4)


@cache
def composed(*overrides):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return OmegaConf.to_container(compose("train", ["algo=reinforce", *overrides]), resolve=True)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("clip=[0]", "clip must be two numbers, the lower one first, got [0.0]"),
        ("clip=[1,0]", "clip must be two numbers, the lower one first, got [1.0, 0.0]"),
        ("clip=[1,1]", "clip must be two numbers, the lower one first, got [1.0, 1.0]"),
        ("clip=[0,1,2]", "clip must be two numbers, the lower one first, got [0.0, 1.0, 2.0]"),
        ("clip=[0,.inf]", "clip[1] must be finite, got inf"),
        ("clip=[0,.nan]", "clip[1] must be finite, got nan"),
        ("clip=[low,1]", "clip[0] must be a number, got 'low'"),
        ("clip=1", "clip must be a list of numbers or null, got 1"),
        ("floor=low", "floor must be a number or null, got 'low'"),
        ("scale=null", "scale must be a number, got null"),
        ("shift=.inf", "shift must be finite, got inf"),
    ],
)
def test_a_wrong_shape_of_a_term_is_told_with_its_full_key(setting, line):
    key, _, value = setting.partition("=")
    settings = json.loads(json.dumps(composed()))
    settings["reward"]["terms"]["length"][key] = OmegaConf.to_object(OmegaConf.create(f"x: {value}"))["x"]
    with pytest.raises(Failure) as failure:
        parse(config.ReinforceRun, settings)
    assert (failure.value.code, str(failure.value)) == (2, f"reward.terms.length.{line}")


def test_the_shape_of_the_config_reaches_the_sum():
    term = parse(config.RewardTerm, {"fn": "length", "clip": [0, 1], "scale": 2, "shift": -1, "floor": 0})
    assert build.shapes(config.Reward({"x": term})) == {"x": Shape(2.0, -1.0, (0.0, 1.0), 0.0)}
    assert build.shapes(config.Reward({"x": config.RewardTerm("length")})) == {"x": Shape()}


@pytest.mark.parametrize("choice", [c for c in CHOICES if c not in ("classifier", "optimality")])
def test_every_choice_of_reward_trains_a_step(choice, model_dir, prompts_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words_ = [
        "algo=reinforce", f"reward={choice}", f"model.path={model_dir}", f"data.prompts={prompts_file}",
        "algo.total_steps=1", "algo.batch_size=2", "sampler.max_new_tokens=6", "device=cpu", "hydra.run.dir=run",
        "heldout.size=2",
    ]  # fmt: skip
    assert main(["train", *words_]) == 0
    (row,) = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    terms = parse(config.ReinforceRun, composed(f"reward={choice}")).reward.terms
    assert {name for name in row if name.startswith("score/")} == {f"score/{name}" for name in terms}
    assert all(0 <= row[f"score/{name}"] <= 1 for name in terms)


def test_the_choice_classifier_without_a_path_is_exit_2():
    with pytest.raises(Failure, match=r"^reward\.terms\.classifier\.args\.path is missing$") as failure:
        parse(config.ReinforceRun, composed("reward=classifier"))
    assert failure.value.code == 2


def total(choice, text, coherent):
    c = parse(config.ReinforceRun, composed(f"reward={choice}")).reward
    terms, _ = build.reward_terms(c, lambda _: texts(text), lambda r: torch.tensor([coherent]))
    return float(weighted_sum(terms, build.shapes(c))(rollout_of([[5]])).score)


@pytest.mark.parametrize("choice", ["polite", "helpful-safe"])
def test_a_kind_word_over_and_over_scores_less_than_a_kind_reply(choice):
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


def test_coherence_by_a_path_is_what_the_start_policy_says_where_both_read_the_same_tokens(model_dir):
    tokenizer, policy = load_tokenizer(str(model_dir), True), build.load_policy(str(model_dir), True, build.CPU)
    rows, ended = [], [False, True, False, True]
    for count in (6, 3, 1, 0):
        ids = [1, 4]  # <s> the
        for _ in range(count):
            with torch.no_grad():
                ids.append(4 + int(policy.lm(torch.tensor([ids])).logits[0, -1, 4:].argmax()))
        rows.append(ids[2:])
    rollout = rollout_of([row + [2] * end for row, end in zip(rows, ended, strict=True)], ended)
    said = texts_of(tokenizer, rollout.responses, rollout.mask)
    read = texts(*[f" {text}" if text else "" for text in said], prompt="the")
    likely = coherence(logprob_fn(policy, small.plain(), 2), len(tokenizer.raw))
    reward = config.Reward({"c": config.RewardTerm("coherence", 1.0, {"path": str(model_dir), "batch_size": 3})})
    terms, _ = build.reward_terms(reward, lambda _: read, None)
    torch.testing.assert_close(terms["c"][0](rollout), likely(rollout), atol=1e-5, rtol=0)
    assert len({round(v, 3) for v in likely(rollout).tolist()}) > 2


def test_texts_are_read_again_with_their_end_and_cut_to_the_models_length(model_dir):
    tokenizer = load_tokenizer(str(model_dir), True)
    read = texts(" good film", "", " good" * 9, prompt="the food is")
    again = reread(rollout_of([[5]] * 3, [False] * 3), read, tokenizer, 6)
    kept = [(p[m].tolist(), r[n].tolist()) for p, m, r, n in
            zip(again.prompts.tokens, again.prompts.mask, again.responses, again.mask, strict=True)]  # fmt: skip
    the, food, is_, good, film = (tokenizer.encode_rest(w)[0] for w in ("the", "food", "is", "good", "film"))
    assert kept == [([1, the, food, is_], [good, film]), ([1, the, food, is_], [2]), ([is_], [good] * 5)]
    ended = reread(rollout_of([[5]] * 3), read, tokenizer, 60)
    assert [row[mask].tolist()[-1] for row, mask in zip(ended.responses, ended.mask, strict=True)] == [2, 2, 2]


def test_coherence_by_a_path_that_is_not_there_is_exit_4():
    fails(4, r"reward\.terms\.c\.args\.path './none' not found", made, {"c": {"path": "./none"}}, (), None, "coherence")
    fails(
        4,
        r"set reward\.terms\.c\.args\.allow_download=true",
        made,
        {"c": {"path": "no-such/model-at-all"}},
        (),
        None,
        "coherence",
    )


def test_the_mean_of_a_blind_model_is_0():
    rollout = rollout_of([[5, 6], [7]])
    blind = coherence(lambda r: -math.log(50) * r.mask.float(), 50)
    assert blind(rollout).tolist() == pytest.approx([0, 0], abs=1e-6)
