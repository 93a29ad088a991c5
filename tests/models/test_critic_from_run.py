"""A critic that starts from the reward model of a run: what it says of a text, and which ones it cannot start from."""

import json

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from rlnlp.errors import Failure
from rlnlp.models.files import REWARD_RECORD
from rlnlp.models.load import load_critic, load_policy, load_tokenizer
from rlnlp.models.locate import locate_critic
from rlnlp.models.reward_load import load_reward_model
from rlnlp.models.text_tokens import TextTokens
from rlnlp.rollout.sampling import sample
from support import chat, reward_models, small

PROMPTS = [[(3 * i + 5 * j * j) % 13 + 3 for j in range(1 + i % 4)] for i in range(8)]


def drawn(policy):
    """Ragged responses."""
    uniforms = torch.rand(8, 10, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return sample(policy, small.prompts(*PROMPTS), uniforms, small.plain(), pad=0)


@torch.no_grad()
def test_a_critic_from_a_run_says_the_normalized_score_of_the_text_so_far(model_dir, tmp_path):
    run = reward_models.save(tmp_path / "run", model_dir, members=2)  # heads whose mean is one head
    policy, _ = load_policy(str(model_dir), True, reward_models.CPU)
    tokenizer = load_tokenizer(str(model_dir), True)
    critic = load_critic(locate_critic(str(run), False), True, policy, tokenizer)
    loaded, rollout = load_reward_model(str(run / "reward_model"), True, reward_models.CPU), drawn(policy)
    got, whole = critic(rollout), rollout.tokens
    for row in range(8):
        first = int(rollout.attention[row].nonzero()[0])
        for t in rollout.mask[row].nonzero().flatten().tolist():
            so_far = tuple(whole[row, first : rollout.prompts.mask.shape[1] + t].tolist())
            (want,) = loaded.model.scores([TextTokens((), so_far)], 1).tolist()
            assert got[row, t].item() == pytest.approx(want, abs=1e-4)
    critic.head.start_at(9.0)
    assert torch.equal(critic(rollout), got), "what it has learned stays"


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"head": "mlp"}, "this reward model has the head mlp\na critic starts from one linear head"),
        ({"members": 2, "combine": "minimum"}, "this reward model is an ensemble whose members are no single head\n"),
    ],
)
def test_a_reward_model_that_is_no_single_linear_head_is_no_critic_which_its_files_tell(
    made, words, model_dir, tmp_path
):
    reward_models.save(tmp_path / "run", model_dir, **made)
    with pytest.raises(Failure) as failure:
        locate_critic(str(tmp_path / "run"), False)
    assert failure.value.code == 4
    assert str(failure.value).startswith(f"algo.critic_path '{tmp_path / 'run'}': {words}")


def test_the_files_of_an_encoder_tell_that_it_is_no_critic(model_dir, tmp_path):
    record = reward_models.save(tmp_path / "run", model_dir) / "reward_model" / REWARD_RECORD
    record.write_text(json.dumps(json.loads(record.read_text()) | {"head": "class"}))
    with pytest.raises(Failure, match="this reward model is an encoder, which reads in both directions") as failure:
        locate_critic(str(tmp_path / "run"), False)
    assert failure.value.code == 4


def test_a_reward_model_with_other_tokens_or_that_reads_both_ways_is_no_critic(model_dir, tmp_path):
    policy, tokenizer = load_policy(str(model_dir), True, reward_models.CPU)[0], load_tokenizer(str(model_dir), True)
    other = reward_models.save(tmp_path / "run", chat.save_model(tmp_path / "model"), longest=64)
    with pytest.raises(Failure, match="has other tokens than the policy: a critic reads the policy's own") as failure:
        load_critic(locate_critic(str(other), False), True, policy, tokenizer)
    assert failure.value.code == 4
    config = BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(
        Failure, match=r"is an encoder \(BertForSequenceClassification\): a critic reads from left"
    ) as failure:
        load_critic(str(tmp_path / "bert"), True, policy, tokenizer)
    assert failure.value.code == 4
