"""What is saved of a policy: its precision, its generation config, its template, its card; and adapters as a start."""

import json
import re
import shlex
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from rlnlp.commands.preflight import checked_config
from rlnlp.config.differing import words_of
from rlnlp.errors import Failure
from rlnlp.evaluate.card import hub_id, model_card
from rlnlp.evaluate.summary import Report
from rlnlp.models import adapter_files
from rlnlp.models.load import load_policy
from rlnlp.run.manifest import redacted
from support import runs, small

TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The same run with policy/ in float32 and in bfloat16."""
    place = tmp_path_factory.mktemp("saved")
    words = runs.words("reinforce", place, "algo.total_steps=2", "checkpoint.result=last", "heldout.size=3")
    raw = small.tokenizer()
    raw.chat_template = TEMPLATE
    raw.save_pretrained(place / "model")
    return [
        runs.run(runs.settings([*words, f"model.save_dtype={dtype}"]), place / dtype)
        for dtype in ("float32", "bfloat16")
    ]


def test_weights_are_saved_in_the_precision_that_is_asked_for(both):
    full, half = (load_file(each / "policy" / "model.safetensors") for each in both)
    assert full.keys() == half.keys()
    assert {t.dtype for t in full.values()} == {torch.float32}
    assert {t.dtype for t in half.values()} == {torch.bfloat16}
    assert all(torch.equal(full[name].bfloat16(), half[name]) for name in full)
    named = [json.loads((each / "policy" / "config.json").read_text())["dtype"] for each in both]
    assert named == ["float32", "bfloat16"]


def test_checkpoints_stay_in_float32_and_the_steps_do_not_depend_on_what_is_saved(both):
    one, other = both
    for name in ("metrics.jsonl", "checkpoints/step-00000002/policy/model.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_the_last_measurement_is_of_the_weights_that_are_saved(both):
    facts = [json.loads((each / "run.json").read_text())["result"] for each in both]
    assert facts[0]["before"] == facts[1]["before"]
    rows = [(each / "heldout.jsonl").read_text() for each in both]
    kl = [[json.loads(line)["after"]["kl"] for line in text.splitlines()] for text in rows]
    assert kl[0] != kl[1]
    assert kl[0] == pytest.approx(kl[1], rel=0.2, abs=0.2)


def test_the_chat_template_is_kept(both):
    assert (both[0] / "policy" / "chat_template.jinja").read_text() == TEMPLATE


def test_the_card_says_what_was_trained_how_and_what_came_of_it(both):
    card = (both[0] / "policy" / "README.md").read_text()
    front = card.split("---\n")[1]
    assert front == "library_name: transformers\npipeline_tag: text-generation\ntags: [rlnlp, reinforce]\n"
    result = json.loads((both[0] / "run.json").read_text())["result"]
    assert f"| score | {result['before']['score']:.3f} | {result['after']['score']:.3f} |" in card
    for words in ("| reward | ", "| prompts | ", "AutoModelForCausalLM.from_pretrained"):
        assert words in card


def test_the_command_of_the_card_is_that_of_the_run(both):
    card = (both[0] / "policy" / "README.md").read_text()
    line = next(each for each in card.splitlines() if each.startswith("rlnlp "))
    _, algo, *words = shlex.split(line)
    again = checked_config(runs.settings([f"algo={algo}", *words]))
    assert again == checked_config(runs.settings([f"algo={algo}", *words, "seed=0"]))
    stored = json.loads((both[0] / "run.json").read_text())["settings_sha256"]
    from rlnlp.run.manifest import facts

    assert facts(again, "")["settings_sha256"] == stored


def test_the_command_names_terms_that_were_added_and_left_out_and_hides_secrets(both):
    asked = [
        *runs.words("reinforce", both[0].parent), "~reward.terms.similarity",
        "+reward.terms.mine={fn: pattern, args: {regex: ab}, weight: 2, clip: [0, 1]}",
    ]  # fmt: skip
    config = checked_config(runs.settings(asked))
    words = words_of(redacted(asdict(config), ["data.prompts"]))
    assert "~reward.terms.similarity" in words
    assert "+reward.terms.mine.fn=pattern" in words
    assert "+reward.terms.mine.args.regex=ab" in words
    assert "data.prompts=***" in words
    report = Report("title", "measured", [], [], [], [], ["rlnlp generate run"])
    assert "data.prompts=***" in model_card(config, {}, config, report, ["data.prompts"])
    assert not [word for word in words if word.startswith("+reward.terms.mine.floor")]
    shown = [word for word in words if not word.startswith("data.prompts")]
    assert (
        checked_config(runs.settings(["algo=reinforce", *shown, *[w for w in asked if "data.prompts" in w]])) == config
    )


def test_a_base_of_the_hub_is_linked_and_a_folder_is_not(tmp_path):
    assert hub_id("org/model") == "org/model"
    assert hub_id("embedded/randomwalks") is hub_id(str(tmp_path)) is hub_id(None) is None


def adapter(place, base, **changes):
    place.mkdir()
    (place / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), **changes}))
    save_file({"x": torch.zeros(2)}, place / "adapter_model.safetensors")
    return place


def test_an_adapter_that_only_peft_loads_names_the_extra(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(adapter_files, "find_spec", lambda name: None)
    path = adapter(tmp_path / "a", model_dir)
    what = r"is an adapter of '.*' of a kind that only peft loads\npip install 'rlnlp\[lora\]'"
    with pytest.raises(Failure, match=what):
        checked_config(runs.settings([f"model.path={path}"]))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: (p / "adapter_model.safetensors").unlink(), "adapter_model.safetensors is missing"),
        (
            lambda p: (p / "adapter_model.safetensors").rename(p / "adapter_model.bin"),
            "adapter_model.bin, which",
        ),
        (lambda p: (p / "adapter_model.safetensors").write_bytes(b"x"), "adapter_model.safetensors is no safetensors"),
        (lambda p: (p / "adapter_config.json").write_text("{}"), "names no base_model_name_or_path"),
        (lambda p: (p / "adapter_config.json").write_text("{"), "adapter_config.json is not a whole JSON object"),
    ],
)
def test_what_is_wrong_with_an_adapter_is_told(spoil, words, model_dir, tmp_path):
    path = adapter(tmp_path / "a", model_dir)
    spoil(path)
    with pytest.raises(Failure, match=re.escape(words)) as failure:
        checked_config(runs.settings([f"model.path={path}"]))
    assert failure.value.code == 4


def test_a_base_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(adapter_files, "find_spec", lambda name: type("Spec", (), {"origin": "x"}))
    path = adapter(tmp_path / "a", "./nowhere")
    with pytest.raises(Failure, match=r"base_model_name_or_path '\./nowhere' not found"):
        checked_config(runs.settings([f"model.path={path}"]))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of peft, about transformers
def test_an_adapter_is_added_into_the_weights_of_its_base(tmp_path):
    peft = pytest.importorskip("peft", reason="adapters need peft")
    base = small.save_model(tmp_path / "base")
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    wrapped = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    wrapped.save_pretrained(tmp_path / "adapter")
    policy, _ = load_policy(str(tmp_path / "adapter"), True, torch.device("cpu"))
    ids = torch.tensor([[1, 5, 9]])
    torch.testing.assert_close(policy.lm(ids).logits, wrapped(ids).logits, rtol=1e-4, atol=1e-4)
    assert all(weight.requires_grad for weight in policy.parameters())
    assert not any("lora" in name for name, _ in policy.named_parameters())
