"""``experiment=overoptimization``: the gold reward turns down while the proxy goes up; the peak that is named holds."""

import json

import numpy as np
import pytest
import torch

import rlnlp
from rlnlp.models.locate import ASSETS
from rlnlp.rewards.text import gold
from support import forked

FRESH = 2048  # responses of each policy that was kept
WITHIN = 0.1  # of the gain of the best kept policy


def gold_rewards(path, prompts, draws):
    """The gold reward of ``draws`` responses to each prompt: conf/reward/helpful.yaml."""
    found = rlnlp.load(path).generate(prompts, n=draws, seed=777)
    return np.array(gold.helpfulness([each["prompt"] for each in found], [each["response"] for each in found]))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gold_turns_down_while_the_proxy_goes_up_and_the_kept_model_is_as_good_as_the_best(tmp_path, seed):
    asked = ["train", "experiment=overoptimization", f"seed={seed}", "checkpoint.keep_models=all", "device.threads=1"]
    status, _, errors = forked.rlnlp(*asked, "hydra.run.dir=run", cwd=tmp_path, timeout=1800)
    assert status == 0, errors
    over = json.loads((tmp_path / "run" / "run.json").read_text())["result"]["over_optimization"]
    points, peak = over["points"], over["peak"]
    assert peak is not None, over["reason"]
    last = max(points, key=lambda point: point["step"])
    named = next(point for point in points if point["step"] == peak["step"])
    assert last["reward"] > named["reward"]
    assert last["gold"] < named["gold"]
    assert points[0]["step"] < peak["step"] < last["step"]

    torch.set_num_threads(1)
    rows = [json.loads(line) for line in (ASSETS / "heldout.jsonl").read_text().splitlines()]
    prompts = [row["prompt"] for row in rows if row["domain"] in ("review", "support")]
    draws = -(-FRESH // len(prompts))
    first = gold_rewards("embedded", prompts, draws).mean()
    models = sorted((tmp_path / "run" / "models").iterdir())
    gains = {int(each.name[5:]): gold_rewards(each / "policy", prompts, draws).mean() - first for each in models}
    print(seed, peak, gains)
    assert len(gains) == len(points)
    best = max(gains.values())
    assert best > 0
    assert gains[peak["step"]] >= (1 - WITHIN) * best
