"""Whole small runs whose adapter learns: what they write and keep, and that they resume to the last bit."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlnlp.commands import generate
from rlnlp.commands.preflight import checked_config
from rlnlp.errors import Failure
from rlnlp.models.adapter_files import ADAPTER, ADAPTER_WEIGHTS
from rlnlp.models.load import load_policy
from rlnlp.run.manifest import read_config
from support import runs

LORA = ["model.lora.rank=2", "model.lora.alpha=4"]
KINDS = {
    "ppo": ["algo.critic=adapter", "heldout.every=2", "checkpoint.keep_models=1"],
    "shared": ["algo.critic=shared", "algo.critic_learning_rate=1e-2"],
    "sft": ["algo.optimizer=adamw"],
    "reinforce": [],
    "rlhf": ["algo.policy.critic=adapter"],
}


def trained(kind: str, place: Path, *more: str) -> Path:
    """A run of the algorithm in which an adapter learns."""
    algo = "ppo" if kind == "shared" else kind
    return runs.run(runs.settings([*runs.words(algo, place), *LORA, *KINDS[kind], *more]), place / kind)


def same_when_broken_off(whole: Path, place: Path, step: int) -> list[str]:
    """What differs in a run that was broken off after ``step`` and taken up again."""
    again = runs.broken_off(whole, place, step)
    if (place / "models").is_dir():
        for each in (place / "models").iterdir():
            if int(each.name.partition("-")[2]) > step:
                for path in sorted(each.rglob("*"), reverse=True):
                    path.rmdir() if path.is_dir() else path.unlink()
                each.rmdir()
    runs.go_on(again)
    return runs.difference(runs.outcome(whole), runs.outcome(again))


@pytest.fixture(scope="module")
def ppo(tmp_path_factory):
    return trained("ppo", tmp_path_factory.mktemp("adapters"))


def test_a_checkpoint_holds_what_learns_and_nothing_else(ppo):
    step = ppo / "checkpoints" / "step-00000003"
    files = {path.relative_to(step).as_posix() for path in step.rglob("*") if path.is_file()}
    assert files == {
        "critic.safetensors", "critic_optimizer.safetensors", "manifest.json", "optimizer.safetensors", "state.json",
        f"policy/{ADAPTER}", f"policy/{ADAPTER_WEIGHTS}", "policy/rlnlp_adapter.json", "policy/tokenizer.json",
        "policy/tokenizer_config.json",
    }  # fmt: skip
    adapter, critic = load_file(step / "policy" / ADAPTER_WEIGHTS), load_file(step / "critic.safetensors")
    assert {f"adapter.{name}" for name in adapter} | {"head.linear.weight", "head.linear.bias"} == critic.keys()
    learned = sum(tensor.numel() for tensor in adapter.values())
    moments = load_file(step / "optimizer.safetensors")
    assert sum(t.numel() for name, t in moments.items() if "exp_avg" in name) == 2 * learned
    assert any(bool(t.any()) for name, t in adapter.items() if "lora_B" in name)


def test_a_run_is_resumed_to_the_last_bit(ppo, tmp_path):
    assert same_when_broken_off(ppo, tmp_path / "again", 2) == []


def test_what_a_run_keeps_is_a_model_and_the_base_is_as_it_was(ppo):
    base = ppo.parent / "model"
    kept = [ppo, *(ppo / "models").iterdir(), ppo / "checkpoints" / "step-00000003"]
    for path in kept:
        config = checked_config(
            runs.settings(["algo=sft", f"model.path={path}", f"data.texts={ppo.parent / 'data.jsonl'}"])
        )
        assert config.model.path == str(path)
    assert json.loads((ppo / "policy" / ADAPTER).read_text())["base_model_name_or_path"] == str(base)
    policy, _ = load_policy(str(ppo / "policy"), True, torch.device("cpu"))
    lm = AutoModelForCausalLM.from_pretrained(base)
    changed = [n for n, w in policy.lm.named_parameters() if not torch.equal(w, lm.get_parameter(n))]
    assert len(changed) == 2 * 7
    assert all(name.endswith("_proj.weight") for name in changed)


def test_the_start_says_what_learns_and_the_card_what_is_kept(ppo):
    log = (ppo / "train.log").read_text()
    assert "with an adapter of rank 2 (alpha 4) on all linear layers" in log
    assert "in an adapter, of a base of" in log
    assert "the adapter, for from_pretrained of peft" in log
    card = (ppo / "policy" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft\n")
    assert "This is an adapter" in card


def test_the_first_step_begins_at_the_reference(ppo):
    rows = [json.loads(line) for line in (ppo / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert abs(rows[-1]["kl"]) > 1e-3


def test_a_whole_critic_beside_an_adapter_is_told(tmp_path):
    words = [*runs.words("ppo", tmp_path), *LORA, "algo.total_steps=1", "algo.critic=separate"]
    run = runs.run(runs.settings(words), tmp_path / "run")
    assert "note: algo.critic=separate learns all weights of a second model" in (run / "train.log").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["algo=ppo", "algo.critic=adapter"], "algo.critic 'adapter' needs model.lora.rank=N"),
        (["algo=rlhf", "algo.policy.critic=adapter"], "algo.policy.critic 'adapter' needs model.lora.rank=N"),
        (["algo=reward-model", "model.lora.rank=4", "data.preferences=x"], "model.lora.rank must be null: all"),
        (["algo=ppo", "model=fresh", "model.lora.rank=4"], "model.lora.rank needs model.path"),
        (
            ["algo=ppo", "model.lora.rank=4", "model.lora.merge=true", "model.save_dtype=bfloat16"],
            "model.save_dtype must be float32 with model.lora.merge=true",
        ),
        (["algo=ppo", "model.lora.rank=4", "model.resize_embeddings=true"], "model.resize_embeddings must be false"),
        (["algo=ppo", "model.lora.rank=4", "model.lora.target_modules=[]"], "target_modules must be all-linear"),
        (["algo=ppo", "model.lora.rank=0"], "model.lora.rank must be >= 1"),
        (
            ["algo=ppo", "model.lora.rank=4", "algo.critic=adapter", "algo.critic_path=x"],
            "algo.critic_path needs algo.critic=separate: an adapter has no model of its own",
        ),
    ],
)  # fmt: skip
def test_what_does_not_work_with_an_adapter_is_refused_before_anything_is_loaded(words, told):
    with pytest.raises(Failure, match=told) as failure:
        checked_config(runs.settings(words))
    assert failure.value.code == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["shared", "sft", "reinforce", "rlhf"])
def test_every_algorithm_that_learns_an_adapter_resumes_to_the_last_bit(kind, tmp_path):
    whole = trained(kind, tmp_path)
    assert (whole / "policy" / ADAPTER).is_file()
    assert same_when_broken_off(whole, tmp_path / "again", 3) == []


@pytest.mark.slow
def test_what_a_run_saves_generates_what_the_run_measured_and_learns_on(tmp_path, capsys):
    whole = trained("reinforce", tmp_path)
    merged = trained("reinforce", tmp_path / "merged", "model.lora.merge=true")
    capsys.readouterr()
    said = []
    for run in (whole, merged):
        assert generate.main([str(run), "the film is", "-n", "3", "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    assert [each["response"] for each in said[0]] == [each["response"] for each in said[1]]
    on = [*runs.words("sft", tmp_path), *LORA, f"model.path={whole}", "algo.total_steps=2"]
    further = runs.run(runs.settings(on), tmp_path / "on")
    assert read_config(further).model.path == str(whole)
    one, two = (json.loads((run / "policy" / ADAPTER).read_text()) for run in (whole, further))
    assert one == two


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # of peft
def test_the_trained_adapter_generates_the_same_greedy_tokens_in_peft(tmp_path, capsys):
    peft = pytest.importorskip("peft", reason="needs peft: pip install 'rlnlp[lora]'")
    from transformers import AutoTokenizer

    run = trained("ppo", tmp_path)
    capsys.readouterr()
    assert generate.main([str(run), "the film is", "sampler=greedy", "sampler.max_new_tokens=12", "--json"]) == 0
    ours = json.loads(capsys.readouterr().out)[0]["response"]
    words = AutoTokenizer.from_pretrained(run / "policy")
    theirs = peft.AutoPeftModelForCausalLM.from_pretrained(run / "policy").eval()
    ids = words("the film is", return_tensors="pt")["input_ids"]
    out = theirs.generate(input_ids=ids, do_sample=False, max_new_tokens=12, pad_token_id=0)
    assert words.decode(out[0, ids.shape[1] :], skip_special_tokens=True).split() == ours.split()
