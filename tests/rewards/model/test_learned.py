"""The reward ``learned``: scores of a reward model that reads the texts, whatever the policy's tokens are."""

import json
import math

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlnlp import build
from rlnlp.cli.main import main
from rlnlp.commands.preflight import faults
from rlnlp.config.reward import Reward, RewardTerm
from rlnlp.errors import Failure
from rlnlp.models.reward_load import load_reward_model
from rlnlp.rewards.terms import weighted_sum
from rlnlp.run.manifest import read_facts
from rlnlp.types import Texts
from support import chat, reward_models, runs, small
from support.rewards import rollout_of

COMPLETIONS = [" is good", " was very bad and cold", "", " is good", " !"]
PROMPTS = ["the film", "the food", "a room", "the film", "we loved it"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_dir):
    return reward_models.save(tmp_path_factory.mktemp("run"), model_dir)


def texts(prompts=PROMPTS, completions=COMPLETIONS, messages=None):
    """Plain texts; or conversations."""
    count = len(completions)
    spoken = [] if messages is None else [True] * count
    return Texts(list(prompts), list(completions), [None] * count, {}, messages or [], spoken)


def made(fn, **args):
    """The term as a function of texts; and what is noted of its content."""
    given: list[Texts] = []
    reward = Reward({"mine": RewardTerm(fn, 1.0, args)})
    terms, content = build.reward_terms(reward, lambda _: given[-1], None)

    def values(read):
        given.append(read)
        found = terms["mine"][0](rollout_of([[5]] * len(read.completions)))
        assert not found.requires_grad
        return found.tolist()

    return values, content


@torch.no_grad()
def slow(run, *rows):
    """The score of each row of tokens, each alone, by transformers."""
    folder = run / "reward_model"
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    end = AutoTokenizer.from_pretrained(folder).eos_token_id
    return [float(model(torch.tensor([[*row, end]])).logits) + model.config.rlnlp_score_bias for row in rows]


def test_the_score_is_that_of_prompt_and_completion_as_one_text_that_ends(run):
    words = small.tokenizer()
    wanted = slow(run, *(words(p + c).input_ids for p, c in zip(PROMPTS, COMPLETIONS, strict=True)))
    assert made("learned", run=str(run))[0](texts()) == pytest.approx(wanted, abs=1e-5)
    assert made("learned", path=str(run / "reward_model"))[0](texts()) == pytest.approx(wanted, abs=1e-5)
    assert len({round(value, 3) for value in wanted}) == 4, "the texts should differ, or nothing is tested"


def test_neither_the_batch_nor_the_order_changes_a_score_and_equal_texts_have_the_same(run):
    together, alone = made("learned", run=str(run))[0](texts()), made("learned", run=str(run), batch_size=1)[0](texts())
    assert together == pytest.approx(alone, abs=1e-5)
    assert together[0] == together[3]
    backwards = made("learned", run=str(run), batch_size=2)[0](texts(PROMPTS[::-1], COMPLETIONS[::-1]))
    assert backwards[::-1] == pytest.approx(alone, abs=1e-5)


def test_in_bfloat16_scores_are_nearly_the_same_and_the_weights_are_those_that_are_noted(run):
    whole, content = made("learned", run=str(run))
    half, same = made("learned", run=str(run), dtype="bfloat16")
    want, got = whole(texts()), half(texts())
    assert content == same
    assert got == pytest.approx(want, abs=0.1)
    assert got != pytest.approx(want, abs=1e-5)
    model = load_reward_model(str(run / "reward_model"), True, torch.device("cpu")).model
    scale = [model.gain.clone(), model.bias.clone()]
    model.hold_in(torch.bfloat16)
    assert {weight.dtype for weight in model.trunks.parameters()} == {torch.bfloat16}
    assert {weight.dtype for weight in [*model.heads.parameters(), *model.trunks.buffers()]} == {torch.float32}
    assert torch.equal(torch.stack(scale), torch.stack([model.gain, model.bias]))


def test_conversations_are_shown_by_the_reward_model_s_template_and_not_as_the_policy_reads_them(tmp_path):
    model = chat.save_model(
        tmp_path / "model", chat.LLAMA
    )  # what stands beside the weights is not what it learned with
    run = reward_models.save(tmp_path / "run", model, template=chat.CHATML, longest=200)
    talks = [chat.turns("the film ?", "good"), chat.turns("and </s> ?", "bad", "why", "</s> cold", system="be kind")]
    words = chat.spelling(chat.CHATML)
    ids = [chat.chat().prompt(talk[:-1]) + words.encode(f"{talk[-1]['content']}<|end|>", add_special_tokens=False)
           for talk in talks[:1]]  # fmt: skip
    found = made("learned", run=str(run))[0](texts(["no"] * 2, ["no"] * 2, talks))
    assert found[:1] == pytest.approx(slow(run, *ids), abs=1e-5)
    spelled = made("learned", run=str(run))[0](texts(["no"] * 2, ["no"] * 2, [talks[0], talks[1][:-1] + talks[0][-1:]]))
    assert spelled[1] != found[1]


def test_a_reward_model_without_a_template_is_told_of_conversations(run):
    with pytest.raises(
        Failure, match="the reward model has no chat template, and the texts are conversations"
    ) as failure:
        made("learned", run=str(run))[0](texts(["a"], ["b"], [chat.turns("a", "b")]))
    assert failure.value.code == 4


def test_of_a_model_of_others_it_is_the_raw_logit_and_classifier_gives_its_sigmoid(tmp_path):
    other = reward_models.save_foreign(tmp_path / "other")
    model = AutoModelForSequenceClassification.from_pretrained(other, attn_implementation="eager")
    with torch.no_grad():
        row = torch.tensor([[*small.tokenizer()("the film is good").input_ids, small.END]])
        wanted = float(model(row).logits)
    assert made("learned", path=str(other))[0](texts(["the film"], [" is good"])) == [pytest.approx(wanted, abs=1e-5)]
    (found,) = made("classifier", path=str(other), of="both")[0](texts(["the film"], [" is good </s>"[:8]]))
    with torch.no_grad():  # as it always was: without an end token
        assert found == pytest.approx(float(model(row[:, :-1]).logits.sigmoid()), abs=1e-5)


def test_classifier_gives_the_sigmoid_of_a_reward_model_s_score(run):
    score = made("learned", run=str(run))[0](texts())
    both = made("classifier", path=str(run), of="both")[0](texts())
    assert both == pytest.approx([1 / (1 + math.exp(-each)) for each in score], abs=1e-6)
    alone = made("classifier", path=str(run))[0](texts())
    wanted = slow(run, *(small.tokenizer()(completion).input_ids for completion in COMPLETIONS))
    assert alone == pytest.approx([1 / (1 + math.exp(-each)) for each in wanted], abs=1e-5)
    with pytest.raises(Failure, match="no label 'good'; the model has: 0 LABEL_0"):
        made("classifier", path=str(run), label="good")


def test_the_content_of_a_reward_model_is_noted_and_is_that_of_its_weights(run, model_dir, tmp_path):
    key = "reward.terms.mine.args.run"
    same, other = (reward_models.save(tmp_path / str(seed), model_dir, seed=seed) for seed in (7, 8))
    found = [made("learned", run=str(each))[1][key] for each in (run, same, other)]
    assert found[0] == found[1] != found[2]
    assert made("classifier", path=str(run))[1] == {"reward.terms.mine.args.path": found[0]}


FAULTS = [
    (
        {},
        2,
        "reward.terms.x.args names no reward model\ngive reward.terms.x.args.run=... or reward.terms.x.args.path=...",
    ),
    ({"run": "RM", "path": "RM"}, 2, "reward.terms.x.args: run and path are two reward models; give one of them"),
    (
        {"run": "gone"},
        4,
        "reward.terms.x.args.run 'gone' not found (no such directory)\nif the run was moved, say",
    ),
    ({"path": "./gone"}, 4, "reward.terms.x.args.path './gone' not found (no such directory)"),
    ({"path": "model"}, 4, "reward.terms.x.args.path 'model' is no reward model but a language model"),
    ({"run": "RM", "batch_size": 0}, 2, "reward.terms.x.args.batch_size must be >= 1"),
    ({"ruin": "RM"}, 2, "no setting 'reward.terms.x.args.ruin'"),
]


@pytest.mark.parametrize(("args", "code", "text"), FAULTS)
def test_what_is_wrong_is_told_by_files_alone(args, code, text, run, model_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RM").symlink_to(run)
    (tmp_path / "model").symlink_to(model_dir)
    (failure,) = faults({"reward": Reward({"x": RewardTerm("learned", 1.0, args)})})
    assert (failure.code, str(failure)[: len(text)]) == (code, text)
    assert list(faults({"reward": Reward({"x": RewardTerm("learned", 1.0, {"run": "RM"})})})) == []


def test_a_learned_reward_has_no_highest_value():
    assert Reward({"x": RewardTerm("learned", 1.0)}).highest is None
    assert Reward({"x": RewardTerm("learned", 1.0, clip=[-2.0, 2.0])}).highest == 2


@pytest.mark.slow
def test_a_run_knows_its_reward_model_when_it_is_resumed_wherever_that_is_now(model_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    reward_models.save(tmp_path / "RM", model_dir)
    words = ["reward=learned", "reward.terms.learned.args.run=RM", "checkpoint.result=last", "checkpoint.keep_models=0"]
    asked = runs.settings(runs.words("reinforce", tmp_path, *words))
    whole = runs.run(asked, tmp_path / "whole")
    assert set(read_facts(whole)["code"]) == {"reward.terms.learned.args.run"}
    assert {"score", "score/learned"} <= set(json.loads((whole / "metrics.jsonl").read_text().splitlines()[0]))
    cut = runs.broken_off(whole, tmp_path / "cut", 3)
    (tmp_path / "RM").rename(tmp_path / "moved")
    with pytest.raises(Failure, match=r"args\.run 'RM' not found") as failure:
        runs.go_on(cut)
    assert failure.value.code == 4
    reward_models.save(tmp_path / "RM", model_dir, seed=8)
    with pytest.raises(Failure, match=r"^reward\.terms\.learned\.args\.run: its content differs") as failure:
        runs.go_on(cut)
    assert failure.value.code == 6
    runs.go_on(cut, "reward.terms.learned.args.run=moved")
    assert runs.difference(runs.outcome(whole), runs.outcome(cut)) == []
    capsys.readouterr()
    assert main(["evaluate", str(whole), "--json", "-n", "2"]) == 0  # with other weights where its reward model was
    changed = "reward.terms.learned.args.run: its content differs from what the run was rewarded with"
    assert changed in json.loads(capsys.readouterr().out)["notes"]


def test_terms_beside_a_learned_one_are_summed_with_it(run):
    reward = Reward({"a": RewardTerm("learned", 0.5, {"run": str(run)}), "b": RewardTerm("diversity", 2.0)})
    read = texts(["the film"], [" is good"])
    terms, _ = build.reward_terms(reward, lambda _: read, None)
    scores = weighted_sum(terms, build.shapings(reward))(rollout_of([[5, 6]]))
    assert float(scores.score) == pytest.approx(0.5 * float(scores.terms["a"]) + 2.0)
