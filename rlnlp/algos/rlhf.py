"""Reinforcement learning from human feedback, in rounds: ask, fit a reward model, optimize the policy, measure.

Christiano et al. 2017 (arXiv:1706.03741), section 2.2; of language models Ziegler et al. 2019 (arXiv:1909.08593) and
Ouyang et al. 2022 (arXiv:2203.02155).
"""

from rlnlp.algos.rounds.loop import Loop
from rlnlp.algos.rounds.opening import tell
from rlnlp.algos.rounds.outcome import finish
from rlnlp.algos.rounds.parts import parts_of, rlhf_loop
from rlnlp.config.schema import RlhfRun
from rlnlp.run.run import Run


def train(loop: Loop, rounds: int) -> None:
    """All rounds that are not done; in a run that is resumed, what is done of a round is passed over."""
    if not loop.rounds.history:
        loop.measure_first_policy()
    for round in range(loop.rounds.done + 1, rounds + 1):
        if loop.rounds.fitted < round:
            asked = loop.ask(round)  # (1) responses of the present policy, (2) of which some pairs are asked about
            loop.collect(round)  # (3) by people or by simulated annotators
            loop.take_up(round, asked)
        judgements = loop.judgements(round)
        loop.fit_reward_model(round, judgements)  # (4) anew, to all judgements; normalized on the first policy
        loop.optimize_policy(round)  # (5) E[reward] - kl_coef KL(policy || first policy)
        loop.measure(round, judgements)  # (6)


def main(config: RlhfRun, run: Run) -> None:
    """Build the parts of the config, train in rounds, and report."""
    loop = rlhf_loop(config, run)
    tell(loop)
    run.begin(loop.config.algo.total_steps, parts_of(loop))
    train(loop, loop.config.algo.rounds)
    run.display.close()
    finish(loop)
