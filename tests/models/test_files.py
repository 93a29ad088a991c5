"""Whatever is wrong with the files of a model or tokenizer is exit 4, with the file's name and what to do."""

import json
import shutil
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlnlp.commands.preflight import checked_config
from rlnlp.errors import Exit, Failure
from rlnlp.models import files
from rlnlp.models.load import load_policy, load_tokenizer, pretrained_tokenizer
from support import runs, small

CPU = torch.device("cpu")
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "4d" * 32 + "\nsize 1051000\n"


@pytest.fixture
def model(model_dir, tmp_path):
    """A model of one's own to be spoilt."""
    shutil.copytree(model_dir, tmp_path / "model")
    return tmp_path / "model"


def pointer(name):
    return lambda place: (place / name).write_text(POINTER)


def cut(name, count):
    return lambda place: (place / name).write_bytes((place / name).read_bytes()[:count])


def longer(place):
    (place / "model.safetensors").write_bytes((place / "model.safetensors").read_bytes() + b"x")


def no_header(place):
    (place / "model.safetensors").write_bytes(struct.pack("<Q", 4) + b"[1]]")


def sharded(place, missing=False):
    tensors = load_file(place / "model.safetensors")
    names = sorted(tensors)
    (place / "model.safetensors").unlink()
    for i, part in enumerate((names[:3], names[3:])):
        save_file({name: tensors[name] for name in part}, place / f"part-{i}.safetensors", {"format": "pt"})
    index = {"weight_map": {name: f"part-{int(i >= 3)}.safetensors" for i, name in enumerate(names)}}
    (place / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, **index}))
    if missing:
        (place / "part-1.safetensors").unlink()


def bin_only(place):
    (place / "model.safetensors").rename(place / "pytorch_model.bin")


LFS = "is a git-lfs pointer, not the file itself\nfetch it in its repository: git lfs pull"
SPOILT = {
    "pointer": (pointer("model.safetensors"), f"model.safetensors {LFS}"),
    "pointer for the config": (pointer("config.json"), f"config.json {LFS}"),
    "pointer for the tokenizer": (pointer("tokenizer.json"), f"tokenizer.json {LFS}"),
    "cut": (cut("model.safetensors", 5000), "model.safetensors has 5,000 bytes, its header says "),
    "cut header": (cut("model.safetensors", 100), "model.safetensors is no safetensors file (100 bytes)\ndownload it"),
    "empty": (cut("model.safetensors", 0), "model.safetensors is no safetensors file (0 bytes)\ndownload it again"),
    "too long": (longer, "bytes, its header says "),
    "no header": (no_header, "model.safetensors is no safetensors file (12 bytes)\ndownload it again"),
    "cut config": (cut("config.json", 50), "config.json is not a whole JSON object\ndownload it again"),
    "cut tokenizer": (cut("tokenizer.json", 500), "tokenizer.json is not a whole JSON object\ndownload it again"),
    "empty config": (cut("config.json", 0), "config.json is not a whole JSON object\ndownload it again"),
    "a shard is missing": (
        lambda place: sharded(place, missing=True),
        "part-1.safetensors is missing, which model.safetensors.index.json lists\ndownload it",
    ),
    "no weights": (
        lambda place: (place / "model.safetensors").unlink(),
        "there is no model.safetensors\ndownload the weights",
    ),
    "pickled": (
        bin_only,
        "the weights are in pytorch_model.bin, which can hold code; if you trust it, convert it once:",
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_a_spoilt_file_is_told_before_torch_is_needed(fault, model):
    spoil, words = SPOILT[fault]
    spoil(model)
    with pytest.raises(Failure) as failure:
        checked_config(runs.settings([f"model.path={model}"]))
    assert failure.value.code == Exit.MODEL == 4
    assert str(model) in str(failure.value)
    assert words in str(failure.value)
    assert len(str(failure.value).split("\n")) <= 2


def test_whole_files_have_no_fault_in_one_part_or_several(model):
    files.check_model_files("it", model)
    files.check_tokenizer_files("it", model)
    sharded(model)
    files.check_model_files("it", model)
    assert load_policy(str(model), True, CPU)[0].vocabulary == len(small.tokenizer())


def test_a_critic_and_a_model_of_a_reward_are_looked_at_too(model, model_dir):
    (model / "model.safetensors").write_text(POINTER)
    for word in (f"algo.critic_path={model}", f"+reward.terms.x={{fn: classifier, args: {{path: {model}}}}}"):
        with pytest.raises(Failure, match="git-lfs pointer"):
            checked_config(runs.settings([f"model.path={model_dir}", word]))


@pytest.mark.slow
def test_the_conversion_that_is_told_makes_a_model_that_loads(model, tmp_path):
    tensors = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(tensors, model / "pytorch_model.bin")
    with pytest.raises(Failure) as failure:
        files.check_model_files("it", model)
    line = str(failure.value).split("\n")[1]
    code, _, rest = line.removeprefix("python -c ").rpartition(" ")
    assert rest == str(model)
    assert code[0] == code[-1] == "'"
    subprocess.run([sys.executable, "-c", code[1:-1], rest], check=True, capture_output=True)
    files.check_model_files("it", model)
    assert load_policy(str(model), True, CPU)[0].vocabulary == len(small.tokenizer())


def heads(config):
    return {**config, "num_attention_heads": 7}


def unknown(config):
    return {**config, "model_type": "nosuch"}


@pytest.mark.parametrize("change", [heads, unknown])
def test_a_config_that_fits_nothing_is_exit_4(change, model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(change(config)))
    with pytest.raises(Failure, match=r"cannot be loaded: .*\nits config\.json is wrong") as failure:
        load_policy(str(model), True, CPU)
    assert failure.value.code == 4


def test_a_config_of_another_size_than_the_weights_is_exit_4(model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "intermediate_size": 99}))
    with pytest.raises(Failure, match="cannot be loaded: ") as failure:
        load_policy(str(model), True, CPU)
    assert failure.value.code == 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_told_at_load_by_its_name(value, model):
    tensors = load_file(model / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name][3, 4] = value
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(Failure, match=rf"model '{model}' has weights that are not finite: {name}\n") as failure:
        load_policy(str(model), True, CPU)
    assert failure.value.code == 4
    tensors["model.norm.weight"][0] = value
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    with pytest.raises(Failure, match=r"the first of 2 such tensors"):
        load_policy(str(model), True, CPU)


def test_a_large_finite_weight_is_no_fault(model):
    tensors = load_file(model / "model.safetensors")
    tensors["model.norm.weight"][:] = 1e37
    tensors["model.norm.weight"][:2] = 3e38  # their sum is no float32
    from rlnlp.models.load import finite

    assert not tensors["model.norm.weight"].sum().isfinite()
    assert finite(tensors["model.norm.weight"])


def test_a_tokenizer_whose_class_fails_is_read_from_its_file(model):
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "T5Tokenizer"}))
    tokenizer = load_tokenizer(str(model), True)
    assert tokenizer.encode("the film is good") == small.tokenizer().encode("the film is good")
    assert "tokenizer.json is used as it is; " in tokenizer.note


def test_a_tokenizer_whose_class_splits_otherwise_than_its_file_is_read_from_the_file(model):
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps({**config, "tokenizer_class": "BertTokenizer"}))
    tokenizer = load_tokenizer(str(model), True)
    assert tokenizer.encode("the film is good") == small.tokenizer().encode("the film is good")
    assert tokenizer.note.startswith(f"the tokenizer of '{model}': tokenizer.json is used as it is; ")
    assert (tokenizer.end, tokenizer.pad, tokenizer.start) == ((2,), 0, (1,))


def test_a_tokenizer_that_is_as_its_file_says_needs_no_word(model_dir):
    assert load_tokenizer(str(model_dir), True).note is None


def test_a_tokenizer_that_cannot_be_loaded_is_exit_4(model):
    stored = json.loads((model / "tokenizer.json").read_text())
    (model / "tokenizer.json").write_text(json.dumps({**stored, "model": {"type": "Nosuch"}}))
    with pytest.raises(Failure, match="it cannot be loaded: ") as failure:
        pretrained_tokenizer(str(model), "it", True)
    assert failure.value.code == 4
