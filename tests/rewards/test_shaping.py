"""Scale, shift, clip and floor of a term: in the sum, and in the config."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from rlnlp import build
from rlnlp.config.parse import parse
from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.config.schema import ReinforceRun
from rlnlp.errors import Failure
from rlnlp.rewards.shaping import Shaping, vetoed_sum
from rlnlp.rewards.terms import weighted_sum
from support.rewards import composed, rollout_of

VALUES = st.floats(-4, 4, width=32)


def scores(values, terms):
    """The score of each response; ``terms`` has the weight and the shaping of each term."""
    weighted = {
        name: (lambda _, name=name: torch.tensor(values[name]), term.pop("weight", 1.0)) for name, term in terms.items()
    }
    shapings = {name: Shaping(**term) for name, term in terms.items()}
    found = weighted_sum(weighted, shapings)(rollout_of([[5]] * len(values["a"])))
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
def test_a_veto_never_raises_the_score_and_removes_what_the_other_terms_add(terms):
    parts = [torch.tensor([weight * value]) for value, weight, _ in terms]
    vetoes = [torch.tensor([veto]) for _, _, veto in terms]
    plain = float(vetoed_sum(parts, [torch.tensor([False])] * len(parts)))
    found = float(vetoed_sum(parts, vetoes))
    assert found <= plain
    assert plain == float(torch.stack(parts).sum(0))
    own = [float(p) for i, p in enumerate(parts) if not any(v for j, v in enumerate(vetoes) if j != i)]
    others = sum(map(float, parts)) - sum(own)
    assert found == pytest.approx(sum(own) + min(0.0, others), abs=1e-4)


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
def test_a_wrong_shaping_is_reported_with_its_full_key(setting, line):
    key, _, value = setting.partition("=")
    settings = json.loads(json.dumps(composed()))
    settings["reward"]["terms"]["length"][key] = OmegaConf.to_object(OmegaConf.create(f"x: {value}"))["x"]
    with pytest.raises(Failure) as failure:
        parse(ReinforceRun, settings)
    assert (failure.value.code, str(failure.value)) == (2, f"reward.terms.length.{line}")


def test_the_shaping_in_the_config_reaches_the_sum():
    term = parse(RewardTerm, {"fn": "length", "clip": [0, 1], "scale": 2, "shift": -1, "floor": 0})
    assert build.shapings(Reward({"x": term})) == {"x": Shaping(2.0, -1.0, (0.0, 1.0), 0.0)}
    assert build.shapings(Reward({"x": RewardTerm("length")})) == {"x": Shaping()}
