"""Which pairs are worth asking about: at random, or where an ensemble of reward models disagrees most?

``python tests/bench/active.py [--seeds 5] [--labels 100,200,300] [algo.reward_model.KEY=VALUE ...]``. Responses of the
embedded model are compared by a simulated annotator with 10 % errors. Either choice begins with the same random pairs;
then each asks about further ones, one a prompt, of 300 fresh prompts with 6 pairs of responses each, and fits anew to
all of its judgements, as the rounds of RLHF do. Accuracy is against the noise-free taste, on pairs of held-out prompts.
Differences are paired by seed; intervals are Student's t over seeds, 95 %. Of frozen trunks a seed takes some seconds,
else minutes.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from rlnlp import build
from rlnlp.algos.rounds.draws import responses
from rlnlp.algos.rounds.model import RoundModel, round_model
from rlnlp.algos.rounds.record import accuracy_by_gold
from rlnlp.cli.hydra_app import compose
from rlnlp.cli.job import plain
from rlnlp.config.parse import parse
from rlnlp.config.rates import with_rates
from rlnlp.config.schema import RlhfRun
from rlnlp.data.given import GivenTexts
from rlnlp.data.judged import Judged, Pair
from rlnlp.data.preference_table import table_of
from rlnlp.data.preferences import judgements_of
from rlnlp.data.prompts import prompt_table
from rlnlp.feedback.selection import Candidate, at_random, by_disagreement, candidates
from rlnlp.feedback.simulated import Rater
from rlnlp.feedback.taste import taste_of
from rlnlp.maths.statistics import mean_interval
from rlnlp.rewards.model.learned import Asked
from rlnlp.rng import stream
from rlnlp.rollout.sampling import sampler

RANDOM, DISAGREEMENT = "random", "disagreement"
ENSEMBLE = ["algo.reward_model.ensemble_size=4", "algo.reward_model.label_noise=0.2"]
PROMPTS, PER_PROMPT = 800, 4  # that responses are drawn to
CHOICE = 300  # prompts with all pairs of whose responses a choice is made from


@dataclasses.dataclass(frozen=True)
class Responses:
    """``asked`` and their taste ``gold`` (P, K): K responses to each of P prompts."""

    asked: list[list[Asked]]
    gold: np.ndarray


class Steps:
    """The steps of a fit that is not part of a run."""

    def steps(self, total: int, parts: object) -> Iterator[int]:
        """All of them."""
        return iter(range(1, total + 1))

    def log(self, step: int, **figures: float) -> None:
        """Nobody reads it."""


def main() -> None:
    """Fit, ask, fit again; tell the accuracies and their differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", default="100,200,300", help="judgements in all, at each fit")
    parser.add_argument("more", nargs="*", help="further settings, such as algo.reward_model.frozen_trunk=true")
    a = parser.parse_args()
    torch.set_num_threads(1)
    labels = [int(each) for each in a.labels.split(",")]
    config = config_of(a.more)
    train, heldout = drawn(config)
    found = {name: np.zeros((a.seeds, len(labels))) for name in (RANDOM, DISAGREEMENT)}
    for seed in range(a.seeds):
        for name, table in found.items():
            table[seed] = learned(dataclasses.replace(config, seed=seed), name, train, heldout, labels)
            print(f"seed {seed}, {name}: {' '.join(f'{each:.3f}' for each in table[seed])}", flush=True)
    print("\n| labels | random | disagreement | difference |\n|---|---|---|---|")
    for i, count in enumerate(labels):
        ours, theirs = found[DISAGREEMENT][:, i], found[RANDOM][:, i]
        cells = [told(100 * theirs), told(100 * ours), told(100 * (ours - theirs), "+")]
        print(f"| {count} | {' | '.join(cells)} |")


def told(values: np.ndarray, sign: str = "") -> str:
    """Their mean with its interval, in percent."""
    mean, low, high = mean_interval(torch.from_numpy(values))
    return f"{mean:{sign}.1f} [{low:{sign}.1f}, {high:{sign}.1f}]"


def config_of(more: Sequence[str]) -> RlhfRun:
    """The default run's settings, with an ensemble."""
    composed = plain(compose(["algo=rlhf", "device=cpu", *ENSEMBLE, *more])[0])
    return parse(RlhfRun, {key: value for key, value in composed.items() if key not in ("hydra", "experiment")})


def drawn(config: RlhfRun) -> tuple[Responses, Responses]:
    """Responses of the first policy to all training prompts, and to those that are held out."""
    language = build.language(config.model, config.device, config.seed)
    policy, longest = language.policy, config.sampler.max_new_tokens
    table = prompt_table(
        config.data, config.heldout.size, config.seed, language.tokenizer, policy.context - longest
    )  # fmt: skip
    given = GivenTexts(table, policy.context, language.device)
    terms, _ = build.reward_terms(config.reward, given, lambda rollout: rollout.mask, language.device)
    taste = taste_of(terms, build.shapings(config.reward), given, *config.annotator.rating_range)
    distribution = build.distribution(config.sampler, table.tokenizer.end)
    collect = sampler(policy, distribution, longest, table.tokenizer.pad, table.tokenizer.stopper)
    parts = []
    some = stream(0, "prompts").permutation(len(table.train))[:PROMPTS]  # of every set
    for rows in ([table.train[i] for i in some.tolist()], table.heldout):
        found = responses(table, rows, collect, PER_PROMPT, stream(0, "responses", len(parts)), language.device)
        asked = [each for _, each in found]
        prompts, texts = zip(*(one for each in asked for one in each), strict=True)
        parts.append(Responses(asked, taste.scores(prompts, texts).reshape(-1, PER_PROMPT)))
    return parts[0], parts[1]


def learned(
    config: RlhfRun, selection: str, train: Responses, heldout: Responses, labels: Sequence[int]
) -> list[float]:
    """The accuracy at each number of ``labels``."""
    rng = stream(config.seed, "asking")
    model, rows, left, accuracies = fresh(config), [], set(range(len(train.asked))), []
    for fit, total in enumerate(labels, 1):
        prompts = sorted(rng.permutation(sorted(left))[:CHOICE].tolist())
        pairs = candidates([[str(answer) for _, answer in train.asked[p]] for p in prompts])
        if selection == DISAGREEMENT and fit > 1:
            some = [one for p in prompts[:128] for one in train.asked[p]]
            model.normalize(some, [i // PER_PROMPT for i in range(len(some))])
            scores = [model.member_scores(train.asked[p]).double().numpy() for p in prompts]
            chosen = by_disagreement(pairs, scores, total - len(rows))
        else:
            chosen = at_random(pairs, total - len(rows), rng)
        judge = Rater("judge", None, error_rate=config.annotator.error_rate, tie_width=config.annotator.tie_width)
        rows += [judged(judge, train, prompts[each.prompt], each, rng) for each in chosen]
        left -= {prompts[each.prompt] for each in chosen}
        model.restart(1)
        model.fit(table_of("judged", judgements_of("judged", "judged", rows), model.reader), 1, Steps())
        flat = [one for each in heldout.asked for one in each]
        scores = model.scores(flat).double().numpy().reshape(heldout.gold.shape)
        found = accuracy_by_gold(scores, heldout.gold, config.annotator.tie_width, np.random.default_rng(0))
        accuracies.append(found["accuracy"])
    return accuracies


def fresh(config: RlhfRun) -> RoundModel:
    """A reward model that has seen nothing."""
    language = build.reading_language(config.model, config.device, config.seed)
    fit = config.algo.reward_model
    count = 0 if fit.frozen_trunk else language.size()
    algo = dataclasses.replace(config.algo, reward_model=with_rates(fit, count, {}))
    return round_model(dataclasses.replace(config, algo=algo), language)


def judged(judge: Rater, given: Responses, prompt: int, each: Candidate, rng: np.random.Generator) -> Judged:
    """What the annotator says of a pair."""
    first, tie, _ = judge.chances(*(float(given.gold[prompt, i]) for i in (each.first, each.second)))
    u = float(rng.random())
    pair = Pair(0, 1) if u < first else Pair(0, 1, 0.5) if u < first + tie else Pair(1, 0)
    texts = tuple(str(given.asked[prompt][i][1]) for i in (each.first, each.second))
    return Judged(given.asked[prompt][0][0], texts, (pair,), None, 1.0, "judge", None, f"pair:{prompt}")


if __name__ == "__main__":
    main()
