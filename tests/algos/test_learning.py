"""The real command learns: the embedded model with the default reward, and a real model with a known recipe."""

import json
import statistics

import pytest

import small

STORIES = small.ROOT.parent / "shared" / "data" / "stories260k"
PROMPTS = [
    "Once upon a time, there was a",
    "One day, a boy named Tim",
    "Lily and her mom went to",
    "There was a big dog who",
]
VADER = """
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

analyzer = SentimentIntensityAnalyzer()

def compound(completions):
    return [analyzer.polarity_scores(text)["compound"] for text in completions]
"""


def result_of(place, *words):
    status, _, errors = small.rlnlp("train", *words, "hydra.run.dir=run", cwd=place, timeout=900)
    assert status == 0, errors
    rows = [json.loads(line) for line in (place / "run" / "metrics.jsonl").read_text().splitlines()]
    return json.loads((place / "run" / "run.json").read_text())["result"], rows


@pytest.mark.slow
def test_the_default_command_raises_the_default_reward_on_heldout_prompts(tmp_path):
    gains, lows = [], []
    for seed in range(3):
        place = tmp_path / str(seed)
        place.mkdir()
        result, _ = result_of(place, f"seed={seed}")
        assert result["heldout"]
        gains.append(result["difference"]["score"]["mean"])
        lows.append(result["difference"]["score"]["interval"][0])
        assert result["after"]["kl"] < 10
    print("gains", gains, "lower ends", lows)
    assert statistics.median(gains) >= 0.10
    assert min(lows) > 0.05


@pytest.mark.slow
@pytest.mark.skipif(not STORIES.is_dir(), reason="the stories model is not at hand")
def test_a_real_model_learns_a_public_sentiment_score(tmp_path):
    pytest.importorskip("vaderSentiment")
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    (tmp_path / "vader.py").write_text(VADER)
    _, rows = result_of(
        tmp_path, "algo=reinforce", f"model.path={STORIES}", "data.prompts=prompts.txt", "~reward.terms",
        "+reward.terms={vader: {fn: vader.py:compound}}", "algo.batch_size=4", "algo.num_generations=16",
        "sampler.max_new_tokens=40", "sampler.min_new_tokens=40", "algo.learning_rate=1e-3", "algo.kl_coef=0.05",
        "algo.baseline=batch", "algo.normalize_advantages=batch", "algo.loss_reduction=tokens", "algo.total_steps=41",
    )  # fmt: skip
    assert 0.25 < rows[0]["score"] < 0.6
    assert statistics.mean(row["score"] for row in rows[18:23]) > 0.75
    late = rows[36:]
    assert statistics.mean(row["score"] for row in late) > 0.8
    assert statistics.mean(row["kl"] for row in late) < 25
    assert statistics.mean(row["unique"] for row in late) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "seed"), [("reinforce", 0), ("reinforce", 1), ("ppo", 0), ("ppo", 1)])
def test_random_walks_become_shortest_paths(tmp_path, algo, seed):
    result, _ = result_of(tmp_path, "experiment=randomwalks", f"algo={algo}", f"seed={seed}")
    assert not result["heldout"]
    assert result["before"]["score"] < 0.3
    assert result["after"]["score"] >= 0.9


@pytest.mark.slow
def test_reviews_come_to_like_what_they_review_and_stay_sentences_of_the_language(tmp_path):
    result, rows = result_of(tmp_path, "experiment=sentiment", "seed=1", "device.threads=1")
    after = result["after"]
    print("gold", result["before"]["terms"]["gold"], after["terms"], "kl", after["kl"])
    assert result["before"]["terms"]["gold"] < 0.6
    assert after["terms"]["gold"] >= 0.9
    assert after["terms"]["accepted"] >= 0.93
    assert after["kl"] < 2.5
    assert statistics.mean(row["unique"] for row in rows[-5:]) >= 0.95


@pytest.mark.slow
def test_random_walks_are_learnt_from_nothing(tmp_path):
    result, _ = result_of(tmp_path, "experiment=randomwalks-sft")
    assert result["before"]["loss"] > 2.5
    assert result["after"]["loss"] < 0.65


@pytest.mark.slow
def test_support_replies_become_politer_and_stay_sentences_of_the_language(tmp_path):
    result, _ = result_of(tmp_path, "experiment=polite")
    assert result["difference"]["terms"]["gold"]["interval"][0] > 0.03
    assert result["after"]["terms"]["accepted"] > 0.9
    assert result["after"]["kl"] < 5


def kl_spent(place, algo, seed):
    """Nats per response, the median step's, while the score of sentiment is about .93, where both algorithms stay."""
    (place / algo).mkdir()
    result, rows = result_of(place / algo, "experiment=sentiment", f"algo={algo}", f"seed={seed}", "device.threads=1")
    assert result["difference"]["score"]["interval"][0] > 0.25
    return statistics.median(row["kl"] for row in rows if abs(row["score"] - 0.93) < 0.03)


@pytest.mark.slow
def test_ppo_spends_no_more_kl_than_reinforce_for_the_same_score(tmp_path):
    assert kl_spent(tmp_path, "ppo", 0) < 1.3 * kl_spent(tmp_path, "reinforce", 0)


@pytest.mark.nightly
def test_ppo_spends_no_more_kl_than_reinforce_over_three_seeds(tmp_path):
    spent = {algo: [] for algo in ("ppo", "reinforce")}
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        for algo, found in spent.items():
            found.append(kl_spent(tmp_path / str(seed), algo, seed))
    print(spent)
    assert statistics.mean(spent["ppo"]) < statistics.mean(spent["reinforce"])
