"""The real command learns: the embedded model with the default reward, and a real model with a known recipe."""

import json
import statistics

import pytest
from omegaconf import OmegaConf

from support import forked, small

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
    status, _, errors = forked.rlnlp("train", *words, "hydra.run.dir=run", cwd=place, timeout=900)
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
@pytest.mark.parametrize("algo", ["reinforce", "ppo"])
def test_random_walks_become_shortest_paths(tmp_path, algo):
    after = []
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        result, _ = result_of(tmp_path / str(seed), "experiment=randomwalks", f"algo={algo}", f"seed={seed}")
        assert not result["heldout"]
        assert result["before"]["score"] < 0.3
        after.append(result["after"]["score"])
    print(algo, after)
    assert statistics.median(after) >= 0.9
    assert min(after) > 0.75, "some seeds stay with a path that is a step too long"


def reviews(place, algo, seed):
    """What the experiment of reviews comes to, and its rows."""
    (place / algo).mkdir()
    return result_of(place / algo, "experiment=sentiment", f"algo={algo}", f"seed={seed}", "device.threads=1")


@pytest.fixture(scope="module")
def reviews_by_ppo(tmp_path_factory):
    """The same for PPO and seed 0, once: minutes of work."""
    return reviews(tmp_path_factory.mktemp("reviews"), "ppo", 0)


@pytest.mark.slow
def test_reviews_come_to_like_what_they_review_and_stay_sentences_of_the_language(reviews_by_ppo):
    result, rows = reviews_by_ppo
    after = result["after"]
    print("gold", result["before"]["terms"]["gold"], after["terms"], "kl", after["kl"])
    assert result["before"]["terms"]["gold"] < 0.6
    assert after["terms"]["gold"] >= 0.9
    assert after["terms"]["accepted"] >= 0.93
    assert after["kl"] < 2.5
    assert statistics.mean(row["unique"] for row in rows[-5:]) >= 0.95


def kl_spent(result, rows):
    """Nats per response, the median step's, while the score of reviews is about .93, where both algorithms stay."""
    assert result["difference"]["score"]["interval"][0] > 0.15  # from .63 no more than .37 can be gained
    assert result["after"]["score"] > 0.9
    return statistics.median(row["kl"] for row in rows if abs(row["score"] - 0.93) < 0.03)


@pytest.mark.slow
def test_ppo_spends_no_more_kl_than_reinforce_for_the_same_score(reviews_by_ppo, tmp_path):
    assert kl_spent(*reviews_by_ppo) < 1.3 * kl_spent(*reviews(tmp_path, "reinforce", 0))


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


def sweep_of(place, *words):
    """The result of each job of a sweep, by its temperature and its entropy bonus."""
    status, _, errors = forked.rlnlp("train", "-m", *words, "hydra.sweep.dir=sweep", cwd=place, timeout=5400)
    assert status == 0, errors
    found = {}
    for job in (place / "sweep").glob("*/config.yaml"):
        c = OmegaConf.load(job)
        facts = json.loads((job.parent / "run.json").read_text())
        found[c.sampler.temperature, c.algo.entropy_coef] = facts["result"]
    return found


@pytest.mark.nightly
def test_exploration_does_not_pay_in_a_short_run(tmp_path):
    found = sweep_of(tmp_path, "experiment=exploration")
    assert len(found) == 9
    gain = {key: result["difference"]["score"]["mean"] for key, result in found.items()}
    assert min(gain.values()) > 0.1
    for bonus in (0.0, 0.01, 0.03):
        assert gain[1.3, bonus] < gain[1.0, bonus] - 0.05
    assert found[1.3, 0.03]["after"]["kl"] > found[1.3, 0.0]["after"]["kl"] + 1


@pytest.mark.slow
def test_reinforce_does_better_than_imitating_the_best_of_as_many_draws(tmp_path):
    compared = "experiment=supervised-or-rl"
    for name in ("rl", "draws", "imitator"):
        (tmp_path / name).mkdir()
    learnt, _ = result_of(tmp_path / "rl", compared)
    result_of(tmp_path / "draws", compared, "algo.learning_rate=0", "samples.every=1", "samples.show=0")
    imitation = [
        f"data.texts={tmp_path}/draws/run/samples.jsonl", "data.best_fraction=0.25", "algo.total_steps=60",
        "algo.batch_size=16", "algo.learning_rate=6e-4", "hydra.run.dir=sft",
    ]  # fmt: skip
    status, _, errors = forked.rlnlp("sft", *imitation, cwd=tmp_path, timeout=900)
    assert status == 0, errors
    asked = ["algo.total_steps=1", "algo.learning_rate=0"]
    imitated, _ = result_of(tmp_path / "imitator", compared, f"model.path={tmp_path / 'sft'}", *asked)
    start, score = learnt["before"]["score"], imitated["before"]["score"]
    print("start", start, "imitation", score, "reinforce", learnt["after"]["score"])
    assert score > start + 0.1
    assert learnt["after"]["score"] > score + 0.08


@pytest.mark.nightly
def test_ppo_spends_no_more_kl_than_reinforce_over_three_seeds(tmp_path):
    spent = {algo: [] for algo in ("ppo", "reinforce")}
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        for algo, found in spent.items():
            found.append(kl_spent(*reviews(tmp_path / str(seed), algo, seed)))
    print(spent)
    assert statistics.mean(spent["ppo"]) < statistics.mean(spent["reinforce"])
