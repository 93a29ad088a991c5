"""Whole runs in which a group's prompt is computed once: the same numbers as without, and resumed to the last bit."""

import json

import pytest

from rlnlp.commands import resume
from rlnlp.errors import Exit, Failure
from support import runs

CASES = {  # groups of three, which micro-batches keep together or cut into parts that share
    "reinforce": ["algo.num_generations=3", "algo.micro_batch_size=4", "algo.baseline=greedy"],
    "ppo": ["algo.num_generations=3", "algo.mini_batch_size=6", "algo.micro_batch_size=2", "algo.critic=separate"],
    "ppo shared": ["algo.num_generations=4", "algo.mini_batch_size=16", "algo.critic=shared"],
}
SLOW = ("ppo", "ppo shared")


def figures(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", [pytest.param(c, marks=[pytest.mark.slow] * (c in SLOW)) for c in CASES])
def test_a_run_that_shares_prompts_has_the_figures_of_one_that_does_not_and_is_resumed(case, tmp_path):
    words = runs.words(case.split()[0], tmp_path, *CASES[case], "algo.learning_rate=3e-4")
    never, auto = (
        runs.run(runs.settings([*words, f"device.share_prompts={how}"]), tmp_path / how) for how in ("never", "auto")
    )
    for one, other in zip(figures(auto), figures(never), strict=True):
        for name in ("score", "kl", "entropy", "policy_loss", "grad_norm", "response_tokens"):
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-5), (one["step"], name)
    assert figures(auto) != figures(never), "the last bits differ: prompts were shared"
    assert "computed once for its" in (auto / "train.log").read_text()
    assert "computed once for its" not in (never / "train.log").read_text()
    again = runs.broken_off(auto, tmp_path / "again", 2)
    runs.go_on(again)
    assert runs.difference(runs.outcome(auto), runs.outcome(again)) == []
    refused = runs.broken_off(auto, tmp_path / "refused", 2)
    with pytest.raises(Failure, match=r"add: resume\.allow=device\.share_prompts") as failure:
        resume.main([str(refused), "device.share_prompts=never"])
    assert failure.value.code == Exit.RUN == 6
