"""What the default rounds reach with a simulated annotator, in at most a thousand judgements: three seeds."""

import json
import statistics

import pytest

from rlnlp.rewards.text.gold import accepted
from support import forked

SEEDS = (0, 1, 2)


def run_of(place, seed):
    """The result of the default run, and the share of accepted sentences of both policies."""
    words = ["train", "algo=rlhf", f"seed={seed}", "device=cpu", "samples.show=0", f"hydra.run.dir={place}"]
    status, _, errors = forked.rlnlp(*words, cwd=place.parent, timeout=3600)
    assert status == 0, errors
    rows = [json.loads(line) for line in (place / "heldout.jsonl").read_text().splitlines()]
    shares = [
        statistics.mean(accepted([row["prompt"] for row in rows], [row[policy]["response"] for row in rows]))
        for policy in ("before", "after")
    ]
    return json.loads((place / "run.json").read_text())["result"], shares


def pooled(found, name):
    """A rate over the pairs of all seeds."""
    each = [result["history"][-1]["win_rate"]["against first"][name] for result, _ in found]
    return sum(one["value"] * one["n"] for one in each) / sum(one["n"] for one in each)


@pytest.mark.nightly
def test_the_policy_of_the_last_round_is_preferred_and_no_round_loses_what_another_won(tmp_path):
    found = [run_of(tmp_path / str(seed), seed) for seed in SEEDS]
    for result, shares in found:
        print([record["win_rate"] for record in result["history"]], shares)
        assert result["judgements"] + 4 * 25 <= 1000
        assert result["win_rate"] >= 0.84
        assert result["win_rate_ties_half"] >= 0.66
        for record in result["history"][2:]:
            assert record["win_rate"]["against last"]["decided"]["interval"][1] >= 0.5
    before, after = (statistics.mean(shares[i] for _, shares in found) for i in (0, 1))
    assert after >= before - 0.03
    assert pooled(found, "decided") >= 0.88
    assert pooled(found, "ties_half") >= 0.69
    assert pooled(found, "fraction_decided") >= 0.45
