"""Checkpoints: what is saved comes back to the last bit, and what is damaged is never loaded."""

import errno
import json
import os
import random
import stat

import pytest
import torch
from safetensors.torch import load_file

from rlnlp.algos.baselines import MovingMean
from rlnlp.errors import Failure
from rlnlp.run import checkpoint
from rlnlp.run.checksums import faults
from rlnlp.run.parts import named_tensors
from support import small

STATE = {"totals": {"episodes": 12, "tokens": 1e-7}}
FILES = ("policy.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


def save(folder, step, held, state, keep):
    if not folder.exists():
        folder.mkdir()
    directory = checkpoint.save(folder, step, held, state)
    checkpoint.retain(folder, keep, best=None, verified=())
    return directory


def load(folder, held):
    return checkpoint.load(folder, held, log_message=lambda _: None)


def parts(seed=0, rate=0.1):
    """A language model with tied weights, its optimizer and a part whose state is JSON."""
    policy = small.policy(seed=seed, width=8, layers=1)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=rate, weight_decay=0.0, fused=True)
    return {"policy": policy, "optimizer": optimizer, "baseline": MovingMean(0.9)}


def learn(held, steps):
    """A few steps that depend on every part; what they saw."""
    seen = []
    for step in steps:
        tokens = torch.arange(6).view(1, 6) + step
        loss = held["policy"].lm(input_ids=tokens, labels=tokens).loss
        value = held["baseline"](None, loss.detach().view(1))
        (loss * (1 + value[0])).backward()
        held["optimizer"].step()
        held["optimizer"].zero_grad(set_to_none=True)
        seen.append((loss.item(), value.item()))
    return seen


def tensors(held):
    state = held["optimizer"].state_dict()["state"]
    return {**held["policy"].state_dict(), **{f"{i}.{k}": v for i, values in state.items() for k, v in values.items()}}


def same(one, other):
    mine, theirs = tensors(one), tensors(other)
    return mine.keys() == theirs.keys() and all(
        mine[k].dtype == theirs[k].dtype and mine[k].numpy().tobytes() == theirs[k].numpy().tobytes() for k in mine
    )


@pytest.fixture
def saved(tmp_path):
    """Checkpoints of step 1 and 2, and what each of them held."""
    held, kept = parts(), {}
    for step in (1, 2):
        learn(held, [step])
        save(tmp_path / "c", step, held, STATE, keep=5)
        kept[step] = {name: tensor.clone() for name, tensor in tensors(held).items()}
    return tmp_path / "c", kept


def loaded(folder):
    held = parts(seed=1)
    return load(folder, held)["step"], tensors(held)


def test_every_part_comes_back_to_the_last_bit(tmp_path):
    held, other = parts(), parts(seed=1)
    learn(held, [1, 2, 3])
    directory = save(tmp_path, 3, held, STATE, keep=2)
    assert directory == tmp_path / "step-00000003"
    assert not same(held, other)
    state = load(tmp_path, other)
    assert same(held, other)
    assert state == {"step": 3, **STATE, "parts": state["parts"]}
    assert other["baseline"].state_dict() == held["baseline"].state_dict()


def test_settings_of_the_optimizer_stay_as_they_are_set_now(tmp_path):
    held, other = parts(), parts(seed=1, rate=0.11)
    save(tmp_path, 1, held, STATE, keep=1)
    load(tmp_path, other)
    assert [group["lr"] for group in other["optimizer"].param_groups] == [0.11]


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    held, other = parts(), parts(seed=1)
    names = set(named_tensors(held["policy"]))
    assert len(names) < len(held["policy"].state_dict())
    save(tmp_path, 1, held, STATE, keep=1)
    assert set(load_file(tmp_path / "step-00000001" / "policy.safetensors")) == names
    load(tmp_path, other)
    lm = other["policy"].lm
    assert lm.lm_head.weight.data_ptr() == lm.model.embed_tokens.weight.data_ptr()
    assert torch.equal(lm.lm_head.weight, held["policy"].lm.lm_head.weight)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_training_that_continues_from_a_checkpoint_is_training_that_never_stopped(stop, tmp_path):
    whole, first, second = parts(), parts(), parts(seed=1)
    seen = learn(whole, range(1, 5))
    assert learn(first, range(1, stop + 1)) == seen[:stop]
    save(tmp_path, stop, first, STATE, keep=1)
    load(tmp_path, second)
    assert learn(second, range(stop + 1, 5)) == seen[stop:]
    assert same(whole, second)


def test_saving_changes_nothing_of_training(tmp_path):
    watched, alone = parts(), parts()
    for step in range(1, 4):
        learn(watched, [step])
        save(tmp_path, step, watched, STATE, keep=1)
    learn(alone, range(1, 4))
    assert same(watched, alone)


def test_the_newest_valid_checkpoint_is_loaded(saved):
    folder, kept = saved
    step, found = loaded(folder)
    assert step == 2
    assert all(torch.equal(found[name], kept[2][name]) for name in kept[2])


@pytest.mark.parametrize(
    ("name", "damage"),
    [(n, d) for n in FILES for d in ("flip", "cut", "empty", "gone", "other", "link") if (n, d) != (FILES[3], "link")],
)
def test_damage_to_any_file_is_found_and_the_checkpoint_before_is_used(name, damage, saved):
    folder, kept = saved
    path, older = folder / "step-00000002" / name, folder / "step-00000001" / name
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    if damage in ("gone", "link"):
        path.rename(folder / "elsewhere")
    if damage == "link":
        path.symlink_to(folder / "elsewhere")
    elif damage != "gone":
        damaged = {"flip": bytes(flipped), "cut": content[:-1], "empty": b"", "other": older.read_bytes()}
        path.write_bytes(damaged[damage])
    assert list(faults(folder / "step-00000002"))
    step, found = loaded(folder)
    assert step == 1
    assert all(torch.equal(found[tensor], kept[1][tensor]) for tensor in kept[1])


def test_any_flipped_bit_and_any_cut_is_found(saved):
    folder, _ = saved
    directory, chance = folder / "step-00000002", random.Random(0)
    for name in FILES:
        path = directory / name
        content = path.read_bytes()
        for _ in range(25):
            where, bit = chance.randrange(len(content)), chance.randrange(8)
            flipped = bytearray(content)
            flipped[where] ^= 1 << bit
            path.write_bytes(flipped)
            assert list(faults(directory)), (name, where, bit)
            path.write_bytes(content[:where])
            assert list(faults(directory)), (name, where)
        path.write_bytes(content)
    assert not list(faults(directory))


def test_files_that_are_swapped_are_found(saved):
    folder, _ = saved
    one, other = (folder / "step-00000002" / name for name in FILES[:2])
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    assert loaded(folder)[0] == 1


@pytest.mark.parametrize(
    "files",
    [{"../outside": {"size": 3, "sha256": "x"}}, {"state.json": None}, {"state.json": {"size": "x"}}, {}, [], None],
)
def test_a_manifest_that_says_something_else_is_found(files, saved):
    folder, _ = saved
    manifest = folder / "step-00000002" / "manifest.json"
    manifest.write_text(json.dumps({"schema": 1, "step": 2, "files": files}))
    assert loaded(folder)[0] == 1


def test_a_manifest_that_leaves_out_a_part_does_not_vouch_for_it(saved):
    folder, _ = saved
    directory = folder / "step-00000002"
    manifest = json.loads((directory / "manifest.json").read_text())
    del manifest["files"]["policy.safetensors"]
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (directory / "policy.safetensors").write_bytes((folder / "step-00000001" / "policy.safetensors").read_bytes())
    assert loaded(folder)[0] == 1


def test_without_a_valid_checkpoint_each_fault_is_named_with_exit_6(saved):
    folder, _ = saved
    (folder / "step-00000001" / "state.json").unlink()
    (folder / "step-00000002" / "policy.safetensors").write_bytes(b"")
    with pytest.raises(Failure, match=r"no valid checkpoint in .* \(2 found\)") as failure:
        load(folder, parts())
    assert failure.value.code == 6
    assert "step-00000001: state.json is missing" in str(failure.value)
    assert "step-00000002: policy.safetensors has 0 bytes, not " in str(failure.value)
    with pytest.raises(Failure, match=r"\(0 found\)"):
        load(folder / "nothing", parts())


def test_a_checkpoint_of_another_model_is_exit_6(saved):
    folder, _ = saved
    other = parts() | {"policy": small.policy(width=8, layers=2)}
    with pytest.raises(Failure, match="other tensors") as failure:
        load(folder, other)
    assert failure.value.code == 6
    wider = parts() | {"policy": small.policy(width=16, layers=1)}
    with pytest.raises(Failure) as failure:
        load(folder, wider)
    assert failure.value.code == 6


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_checkpoints_stay(keep, tmp_path):
    held = {"baseline": MovingMean(0.9)}
    for step in (1, 2, 9, 10, 100):
        save(tmp_path, step, held, {}, keep)
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"step-{s:08d}" for s in (1, 2, 9, 10, 100)[-keep:]]


def test_folders_that_are_not_checkpoints_stay_and_are_not_loaded(tmp_path):
    for name in ("best", "step-abc", "step-00000001-copy", ".tmp-mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes.txt").write_text(name)
    held = {"baseline": MovingMean(0.9)}
    for step in (1, 2):
        checkpoint.clear_leftovers(tmp_path)
        save(tmp_path, step, held, {}, keep=1)
    for name in ("best", "step-abc", "step-00000001-copy", ".tmp-mine"):
        assert (tmp_path / name / "notes.txt").read_text() == name
    assert load(tmp_path, held)["step"] == 2


def test_a_step_that_is_saved_again_replaces_the_old(tmp_path):
    first, second, other = parts(), parts(seed=1), parts()
    save(tmp_path, 1, first, STATE, keep=1)
    save(tmp_path, 1, second, STATE, keep=1)
    load(tmp_path, other)
    assert same(other, second)


@pytest.mark.parametrize("mask", [0o022, 0o027])
def test_the_files_honor_the_umask(mask, tmp_path):
    before = os.umask(mask)
    try:
        directory = save(tmp_path / "c", 1, parts(), STATE, keep=1)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o666 & ~mask}
    assert stat.S_IMODE(directory.stat().st_mode) == 0o777 & ~mask


@pytest.mark.parametrize("call", ["fsync", "save_file", "rename", "write", "mkdir"])
@pytest.mark.parametrize("step", [2, 3])
def test_a_failing_disk_is_exit_5_and_leaves_what_was_there(call, step, saved, monkeypatch):
    folder, _ = saved
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    modules = {"fsync": os, "save_file": checkpoint, "write": os}
    with monkeypatch.context() as patch:
        patch.setattr(modules.get(call, checkpoint.Path), call, fail)
        with pytest.raises(Failure, match=f"saving step {step} in .* failed: .*No space left") as failure:
            save(folder, step, parts(seed=1), STATE, keep=1)
    assert failure.value.code == 5
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert loaded(folder)[0] == 2


def test_each_file_is_on_the_disk_before_the_checkpoint_has_its_name(tmp_path, monkeypatch):
    events, fsync, rename = [], os.fsync, checkpoint.Path.rename

    def logged_fsync(handle):
        events.append(os.readlink(f"/proc/self/fd/{handle}").rpartition("/")[2])
        fsync(handle)

    def logged_rename(path, target):
        events.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", logged_fsync)
    monkeypatch.setattr(checkpoint.Path, "rename", logged_rename)
    save(tmp_path / "c", 1, parts(), STATE, keep=1)
    done = events.index("rename")
    assert sorted(events[: done - 1]) == sorted(FILES)
    assert events[done - 1].startswith(checkpoint.STAGED)
    assert events[done + 1 :] == ["c"]


def test_a_damaged_checkpoint_is_neither_counted_nor_removed(tmp_path):
    held = {"baseline": MovingMean(0.9)}
    for step in (1, 2, 3):
        save(tmp_path, step, held, {}, keep=9)
    (tmp_path / "step-00000002" / "state.json").write_text("{}")
    assert checkpoint.retain(tmp_path, 2, best=None, verified={"step-00000003"}) == {"step-00000001", "step-00000003"}
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"step-{s:08d}" for s in (1, 2, 3)]


def test_a_checkpoint_under_another_name_is_found(saved):
    folder, _ = saved
    (folder / "step-00000002").rename(folder / "step-00000007")
    assert list(faults(folder / "step-00000007")) == ["manifest.json is not as it was written here"]
    assert loaded(folder)[0] == 1


@pytest.mark.nightly
def test_a_thousand_flips_two_hundred_cuts_and_twenty_swaps_are_found(saved):
    folder, _ = saved
    directory, chance = folder / "step-00000002", random.Random(1)
    sizes = {name: (directory / name).stat().st_size for name in FILES}
    for number in range(1200):
        name = chance.choices(FILES, weights=list(sizes.values()))[0] if number % 2 else chance.choice(FILES)
        content = (directory / name).read_bytes()
        where = chance.randrange(len(content))
        flipped = content[:where] + bytes([content[where] ^ 1 << chance.randrange(8)]) + content[where + 1 :]
        (directory / name).write_bytes(content[:where] if number >= 1000 else flipped)
        assert list(faults(directory)), (name, where)
        (directory / name).write_bytes(content)
    for _ in range(20):
        one, other = chance.sample(FILES, 2)
        contents = (directory / one).read_bytes(), (directory / other).read_bytes()
        (directory / one).write_bytes(contents[1])
        (directory / other).write_bytes(contents[0])
        assert list(faults(directory)), (one, other)
        (directory / one).write_bytes(contents[0])
        (directory / other).write_bytes(contents[1])
    assert not list(faults(directory))
