"""The stages of the rounds, in a run that may be broken off anywhere: each is passed over where it is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rlnlp.algos.ptx import PretrainingTexts, mixed_in, perplexity
from rlnlp.algos.rounds.asking import Asking, taken_up
from rlnlp.algos.rounds.draws import Draws, heldout_draws, responses
from rlnlp.algos.rounds.model import RoundModel
from rlnlp.algos.rounds.observe import RoundObserver
from rlnlp.algos.rounds.policy import PolicyOptimization
from rlnlp.algos.rounds.record import (
    accuracy_by_gold,
    accuracy_on,
    comparison,
    figures,
    gains,
    mean_record,
    satisfaction,
    term_means,
    without_gold,
)
from rlnlp.algos.rounds.state import Rounds
from rlnlp.algos.setup import OnPolicySetup
from rlnlp.config.rounds_text import has_gold
from rlnlp.config.schema import RlhfRun
from rlnlp.evaluate.rounds.over_optimization import over_optimization
from rlnlp.feedback.annotating import Annotators
from rlnlp.feedback.pairs import Standing, used
from rlnlp.feedback.waiting import collect_in_run
from rlnlp.processes.rows import alone, told
from rlnlp.run.run import Run
from rlnlp.run.stage import Stage

DRAWS = 4  # responses to each held-out prompt, after each round
NORMALIZED = 256  # prompts with two responses of the first policy each, on which scores are normalized
FIT, POLICY = "reward-model", "policy"  # stages, as metrics.jsonl names them
GOLD, BY_MODEL = "gold", "reward model"  # judges of a win rate


@dataclass(frozen=True)
class Loop:
    """What the rounds are made of. ``first`` are the first policy's responses to the held-out prompts."""

    config: RlhfRun
    run: Run
    setup: OnPolicySetup
    model: RoundModel
    optimization: PolicyOptimization
    asking: Asking
    annotators: Annotators
    observe: RoundObserver
    first: Draws
    texts: PretrainingTexts | None
    rounds: Rounds

    @property
    def gold(self) -> bool:
        """True if the gold reward says something of the responses."""
        return has_gold(self.config)

    def before(self, round: int, stage: str) -> int:
        """The last step before a stage of a round."""
        algo = self.config.algo
        return (round - 1) * algo.round_steps + (algo.reward_model.total_steps if stage == POLICY else 0)

    def measure_first_policy(self) -> None:
        """What later policies are compared with; its ratings too."""
        self._rate(0, self.first)
        rng = self.run.rng("intervals", 0)
        means = {"gold": self.first.gold, "kl": self.first.kl, "response_tokens": self.first.tokens}
        self._record({
            "round": 0, "step": 0, "judgements": 0, "asked": 0, "reward_model": None, "reward": None,
            **{name: mean_record(values, rng) for name, values in means.items()},
            "gold_terms": term_means(self.first.terms, self.run.rng("gold-terms", 0)),
            "satisfaction": satisfaction(self.asking.ratings(0), rng), "win_rate": {}, "ended_early": False,
        })  # fmt: skip
        self.run.save()

    def ask(self, round: int) -> int:
        """Ask about responses of the present policy; how many pairs."""
        with self.run.display.waiting(f"round {round}: drawing responses to compare"):
            return self.asking.compare(round)

    def collect(self, round: int) -> None:
        """Let the annotators judge what is wanted; they are asked by the first process.

        Raises:
            Paused: they have left before that.
        """
        if (store := self.asking.store.store) is not None:
            with alone():
                collect_in_run(self.run, self.annotators, store, round)

    def take_up(self, round: int, asked: int) -> None:
        """Decide which judgements the round learns from, and see what the last reward model made of the new ones.

        Raises:
            Failure: exit 3, if there is nothing to learn from.
        """
        standing = self.asking.compared()
        self.asking.table(standing, round)  # which fails, if it does, before anything is decided
        known = None
        if round > 1:
            new = [each for each in standing if each[0].run == self.asking.id and each[0].round == round]
            known = self._accuracy_on(new, round) if new else None
        self.rounds.used, self.rounds.asked, self.rounds.fitted = used(standing), asked, round
        self.rounds.new_judgements = known
        self.run.save()

    def judgements(self, round: int) -> list[Standing]:
        """Those that the round learns from."""
        return taken_up(self.asking.store, self.rounds.used)

    def fit_reward_model(self, round: int, judgements: list[Standing]) -> None:
        """Fit the reward model from its start to all of the judgements, and normalize its scores."""
        before, after = self.before(round, FIT), self.before(round, POLICY)
        if self.run.progress.done <= before:
            self.model.restart(round)
        if self.run.progress.done < after:
            table = self.asking.table(judgements, round)
            self.model.fit(table, round, Stage(self.run, FIT, round, before, never))
        if self.run.progress.done == after:
            with self.run.display.waiting(f"round {round}: normalizing the rewards on the first policy"):
                self.model.normalize(*self._responses_of_first_policy)

    def optimize_policy(self, round: int) -> None:
        """Optimize the policy for the reward model of the round."""
        before, total = self.before(round, POLICY), self.config.algo.policy.total_steps
        if self.run.progress.done == before:
            self.optimization.restart()
        stage = Stage(self.run, POLICY, round, before, self._over_budget)
        stage.ended = any(before < step <= before + total for step in self.rounds.ended)
        self.observe.begin(round, before)
        if round == 1 and self.config.heldout.every:
            self.run.progress.keep_models = None  # until it is known which of them is the best
        earlier = (round - 1) * total
        ptx = mixed_in(self.setup.policy, self.texts, self.config.algo.policy, earlier)
        self.optimization.optimize(lambda step: self.setup.prompts(earlier + step), ptx, stage)

    def _over_budget(self, metrics: Mapping[str, float]) -> bool:
        budget = self.config.algo.kl_budget
        over = budget is not None and metrics["kl"] > budget
        step = int(self.run.facts["steps"])
        if over and step % self.config.algo.round_steps:  # else it had all its steps
            self.rounds.ended.append(step)
        return over

    def measure(self, round: int, judgements: list[Standing]) -> None:
        """The record of the round, which is then over."""
        run, scores, rng = self.run, self.model.scores, self.run.rng("intervals", round)
        with run.display.waiting(f"round {round}: measuring"):
            draws = heldout_draws(
                self.setup, self.setup.collect, self.setup.kl, lambda d: run.rng("measured", round, d), DRAWS
            )
            rewards = draws.rewards(scores)
            knows = self._knowledge(round, judgements)
        self._rate(round, draws)
        self._record({
            "round": round, "step": run.progress.done, "judgements": len(judgements), "asked": self.rounds.asked,
            "reward_model": knows, **figures(draws, rewards, rng),
            "gold_terms": term_means(draws.terms, run.rng("gold-terms", round)),
            "gains": gains(draws, self.first, rewards, self.first.rewards(scores), run.rng("gains", round)),
            "satisfaction": satisfaction(self.asking.ratings(round), rng),
            "win_rate": self._win_rates(round, draws), "ended_early": run.progress.done in self.rounds.ended,
            **self._perplexity(),
        })  # fmt: skip
        self.rounds.last = draws.as_json()
        if round == 1:
            self._keep_best()
        run.save()

    def over_optimization(self) -> dict[str, Any]:
        """Where the gold reward turned down in the first round, whose policy starts at the first one."""
        points = self.rounds.points
        kl = np.array([point["kl"] for point in points])
        reward, gold = (np.array([point[name] for point in points]) for name in ("reward", "gold"))
        rng = self.run.rng("over-optimization")
        return over_optimization(
            [point["step"] for point in points], kl, reward, gold if self.gold else None, rng
        )  # fmt: skip

    def _keep_best(self) -> None:
        """Of the policies that were kept on the way, the best one at the peak of the gold reward stays."""
        peak = self.over_optimization()["peak"]
        self.run.progress.settle_models(None if peak is None else (peak["step"], peak["gain"]))

    def _record(self, record: dict[str, Any]) -> None:
        """Keep the record of a round, without a gold reward that means nothing."""
        self.rounds.history.append(record if self.gold else without_gold(record))

    def _perplexity(self) -> dict[str, Any]:
        """How likely texts are that were to stay likely, if there are any."""
        if self.texts is None:
            return {}
        first, now = (self.texts.losses(policy) for policy in (self.setup.first, self.setup.policy))
        return {"perplexity": perplexity(self.texts, first, now)}

    def _win_rates(self, round: int, draws: Draws) -> dict[str, Any]:
        rng, others = self.run.rng("win-rates", round), {"against first": self.first}
        if round > 1:
            others["against last"] = Draws.from_json(self.rounds.last)
        if not self.gold:
            by_model = {name: other.rewards(self.model.scores) for name, other in others.items()}
            now = draws.rewards(self.model.scores)
            return {name: comparison(BY_MODEL, other, now, 0.0, rng) for name, other in by_model.items()}
        width = self.config.annotator.tie_width
        return {name: comparison(GOLD, other.gold, draws.gold, width, rng) for name, other in others.items()}

    def _knowledge(self, round: int, judgements: list[Standing]) -> dict[str, Any]:
        """What the reward model of the round is worth: on held-out responses of the policy that was asked about."""
        asked = self.first if round == 1 else Draws.from_json(self.rounds.last)
        rng, width = self.run.rng("knowledge", round), self.config.annotator.tie_width
        rows = [row for row in told(self.run.progress.files["metrics"].rows) if row.get("stage") == FIT]
        own = self._accuracy_on(judgements, round)
        return {
            "loss": rows[-1]["loss"], "accuracy": None if own is None else own["accuracy"],
            "new_judgements": self.rounds.new_judgements,
            "gold": accuracy_by_gold(asked.rewards(self.model.scores), asked.gold, width, rng) if self.gold else None,
        }  # fmt: skip

    def _accuracy_on(self, judgements: list[Standing], round: int) -> dict[str, Any] | None:
        """How often the reward model, as it is, agrees with judgements."""
        table = self.asking.table(judgements, round)
        texts = [text for row in table.rows for text in row.texts]
        scores = self.model.model.scores(texts, *self.model.at_once).double().cpu().numpy()
        return accuracy_on(table, scores, self.run.rng("accuracy", round))

    def _rate(self, round: int, draws: Draws) -> None:
        """Let responses to some held-out prompts be rated, the same prompts in each round."""
        count = self.config.annotator.ratings_per_round
        if count:
            order = self.run.rng("rated").permutation(len(draws.asked[0]))[:count]
            self.asking.rate(round, [draws.asked[0][i] for i in sorted(order.tolist())])
            self.collect(round)

    @cached_property
    def _responses_of_first_policy(self) -> tuple[list[Any], list[int]]:
        """Responses with the numbers of their prompts: the same in each round."""
        table = self.setup.table
        chosen = self.run.rng("normalized-prompts").permutation(len(table.train))[:NORMALIZED]  # of every set
        drawn = responses(
            table, [table.train[i] for i in chosen.tolist()], self.setup.collect_first, 2, self.run.rng("normalized"),
            self.setup.policy.device,
        )  # fmt: skip
        return [each for _, found in drawn for each in found], [i for i, (_, found) in enumerate(drawn) for _ in found]


def never(metrics: Mapping[str, float]) -> bool:
    """A stage that does not end early."""
    return False
