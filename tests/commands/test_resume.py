"""A run that was broken off is taken up again and ends with the bytes of one that was not."""

import dataclasses
import json
import shutil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from rlnlp.cli.main import main
from rlnlp.commands.resume import start_or_resume
from rlnlp.config.changes import ALLOWED, FREE, NEVER, changes, code_in, declarations, resume_class
from rlnlp.config.schema import RUNS
from rlnlp.config.setting import declared, setting
from rlnlp.errors import Failure
from rlnlp.run import checksums
from rlnlp.run.manifest import read_config, without_secrets
from support import runs
from support.forked import rlnlp

SECOND = 2
EDGE = (2, 3)  # the first epoch ends inside step 3; the other steps are in the slow set


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    """A whole run of each algorithm, made when first asked for, with a checkpoint of every step."""
    place, made = tmp_path_factory.mktemp("wholes"), {}

    def whole(algo, *words):
        if (algo, words) not in made:
            directory = place / f"{algo}-{len(made)}"
            made[algo, words] = runs.run(runs.settings(runs.words(algo, place, *words)), directory)
        return made[algo, words]

    return whole


@pytest.fixture
def broken_off(wholes, tmp_path):
    """A run of an algorithm, broken off after a step."""
    return lambda algo, step=SECOND: runs.broken_off(wholes(algo), tmp_path / f"{algo}-{step}", step)


def edited(directory, **changed):
    path = directory / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    "step", [pytest.param(k, marks=[] if k in EDGE else pytest.mark.slow) for k in range(runs.STEPS)]
)
@pytest.mark.parametrize("algo", runs.ALGORITHMS)
def test_a_run_taken_up_after_any_step_ends_with_the_same_bytes(algo, step, wholes, broken_off):
    directory = broken_off(algo, step)
    runs.go_on(directory)
    assert runs.difference(runs.outcome(directory), runs.outcome(wholes(algo))) == []


STAGES = {  # one round whose steps end in the middle of both stages, where the state of each optimizer counts
    "rlhf": (
        "algo.rounds=1",
        "algo.reward_model.total_steps=3",
        "algo.policy.total_steps=3",
        "algo.reward_model.head=linear",
    )
}
SAID = ("now", "told", "absent")  # of the observer: what decides only which warnings are printed: tests/evaluate


def micro_batches(place):
    """Every piece of the state that a checkpoint holds, with what disturbs it."""
    for file in sorted(place.rglob("*.safetensors")):
        tensors = load_file(file)
        for kind in sorted({key.split(".", 1)[1] if key[0].isdigit() else "weights" for key in tensors}):
            chosen = [key for key in tensors if kind == "weights" or key.split(".", 1)[1] == kind]
            yield f"{file.stem}.{kind}", file.relative_to(place), {key: tensors[key].clone() for key in tensors}, chosen
    state = json.loads((place / "state.json").read_text())
    for key, value in runs.leaves(state):
        yield key, None, state, value


def of_rounds(key):
    """Pieces that only rlhf has; the ends of rounds count in runs that have a budget: tests/algos/test_rlhf.py."""
    return key.startswith("reward_model") if isinstance(key, str) else key[1:2] == ("rounds",) and key[-1] != "ended"


def disturb(place, piece):
    _, file, held, what = piece
    if file is not None:
        for key in what:
            held[key] = held[key] * 0.5 + 0.25
        save_file(held, place / file)
    else:
        (place / "state.json").write_text(json.dumps(runs.with_leaf(held, piece[0], runs.other(what))))
    manifest = json.loads((place / checksums.MANIFEST).read_text())
    paths = {name: place / name for name in manifest["files"]}
    files = {name: (path.stat().st_size, checksums.file_sha256(path)) for name, path in paths.items()}
    (place / checksums.MANIFEST).write_text(checksums.manifest_text(manifest["step"], files))
    assert not list(checksums.faults(place))


@pytest.mark.slow
@pytest.mark.parametrize("algo", runs.ALGORITHMS)
def test_every_piece_of_the_saved_state_matters(algo, wholes, tmp_path):
    unnoticed, whole = None, wholes(algo, *STAGES.get(algo, ()))
    for step in (runs.STEPS - 1, SECOND):
        directory = runs.broken_off(whole, tmp_path / f"{algo}-{step}", step)
        place = checksums.name_of(step)
        found = {piece[0]: piece for piece in micro_batches(directory / "checkpoints" / place)}
        del found["consecutive_skips",]  # matters only when the next step is broken: tests/run/test_nonfinite.py
        found = {key: piece for key, piece in found.items() if key[:2] != ("parts", "observer") or key[2] not in SAID}
        if algo == "rlhf":
            found = {key: piece for key, piece in found.items() if of_rounds(key)}
        assert len(found) >= 8
        unnoticed = [key for key in unnoticed or found if not noticed(directory, place, found[key], whole)]
    assert unnoticed == []


def noticed(directory, place, piece, whole):
    """True if a run that goes on from a disturbed checkpoint refuses to, says so, or ends otherwise than ``whole``."""
    shutil.copytree(directory, tried := directory.with_name("tried"))
    disturb(tried / "checkpoints" / place, piece)
    try:
        runs.go_on(tried)
    except Exception:  # of whatever kind: the disturbance did not pass in silence
        return True
    else:
        other = [name for name in runs.difference(runs.outcome(tried), runs.outcome(whole)) if place not in name]
        return bool(other or list(tried.glob("*.damaged-*")))
    finally:
        shutil.rmtree(tried)


def told(capsys, *words):
    """Exit status and standard error of the command, in this process."""
    capsys.readouterr()
    with runs.without_pictures():
        code = main(["resume", *map(str, words)])
    return code, capsys.readouterr().err


def test_a_run_that_has_only_its_settings_starts_at_the_first_step(wholes, tmp_path):
    directory = tmp_path / "begun"
    directory.mkdir()
    shutil.copy(wholes("reinforce") / "config.yaml", directory)
    runs.go_on(directory)
    assert runs.difference(runs.outcome(directory), runs.outcome(wholes("reinforce"))) == []


def test_a_finished_run_says_so_and_nothing_changes(wholes, capsys):
    before = {p: p.read_bytes() for p in wholes("sft").rglob("*") if p.is_file()}
    assert main(["resume", str(wholes("sft"))]) == 0
    assert f"complete: it has done {runs.STEPS} steps" in capsys.readouterr().out
    assert {p: p.read_bytes() for p in wholes("sft").rglob("*") if p.is_file()} == before


def test_a_run_that_was_broken_off_while_it_wrote_its_result_finishes_it(wholes, broken_off):
    directory = broken_off("sft", runs.STEPS)
    (directory / ".tmp-policy").mkdir()
    (directory / ".tmp-policy" / "half").write_text("x")
    runs.go_on(directory)
    assert runs.difference(runs.outcome(directory), runs.outcome(wholes("sft"))) == []
    assert not list(directory.glob(".tmp*"))
    assert not (directory / "policy" / "half").exists()


def test_a_longer_run_is_the_short_one_gone_on_with(wholes, tmp_path):
    place = wholes("reinforce").parent
    longer = runs.run(runs.settings(runs.words("reinforce", place, "algo.total_steps=8")), tmp_path / "longer")
    shutil.copytree(wholes("reinforce"), tmp_path / "short")
    runs.go_on(tmp_path / "short", "algo.total_steps=8")
    assert runs.difference(runs.outcome(tmp_path / "short"), runs.outcome(longer)) == []
    assert read_config(tmp_path / "short").algo.total_steps == 8


def test_another_last_step_must_be_allowed_where_the_learning_rate_falls_towards_it(broken_off, capsys):
    code, err = told(capsys, broken_off("ppo", 4), "algo.total_steps=9")
    assert code == 6
    assert "to have it so, add: resume.allow=algo.total_steps" in err


def test_fewer_steps_than_are_done_are_refused(broken_off, capsys):
    code, err = told(capsys, broken_off("sft", 4), "algo.total_steps=3", "resume.allow=algo.total_steps")
    assert code == 6
    assert "algo.total_steps is 3, but " in err
    assert " has done step 4 already" in err


def test_free_settings_change_no_byte_of_training(wholes, broken_off):
    directory = broken_off("reinforce")
    values = {"checkpoint.result": "last", "heldout.patience": 99}  # others choose another end of the same steps
    values |= {"device.parallel": "none"}  # others need several processes
    own = {key for key, _, _ in declared(RUNS["reinforce"])}
    keys = [key for key in declarations() if key in own and resume_class(key) == FREE and key != "algo.total_steps"]
    of_files = ("model.", "data.", "tracker.")
    free = [f"{key}={values.get(key, 1)}" for key in keys if not key.startswith(of_files)]
    more = ["model.allow_download=true", "data.allow_download=true", "tracker.project=other", "tracker.run_name=mine"]
    runs.go_on(directory, *free, *more)
    name = "policy/model.safetensors"
    assert (directory / name).read_bytes() == (wholes("reinforce") / name).read_bytes()
    figures = [{k: v for k, v in row.items() if "heldout" not in k} for row in rows(directory / "metrics.jsonl")]
    assert figures == [
        {k: v for k, v in row.items() if "heldout" not in k} for row in rows(wholes("reinforce") / "metrics.jsonl")
    ]
    (again,) = json.loads((directory / "run.json").read_text())["resumed"]
    assert again["changed"]["checkpoint.keep"] == [99, 1]


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_setting_that_changes_the_steps_to_come_must_be_allowed_by_name(wholes, broken_off, capsys):
    directory = broken_off("sft")
    before = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()}
    code, err = told(capsys, directory, "algo.learning_rate=2e-3", "algo.weight_decay=0.5")
    assert code == 6
    assert "algo.learning_rate 0.01 -> 0.002; algo.weight_decay 0.0 -> 0.5: the run would not be the one it was" in err
    way = err.rpartition("add: ")[2].strip()
    assert way == "resume.allow=algo.learning_rate,algo.weight_decay"
    assert {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()} == before
    code, _ = told(capsys, directory, "algo.learning_rate=2e-3", "algo.weight_decay=0.5", way)
    assert code == 0
    assert [row["learning_rate"] < 2e-3 + 1e-9 for row in rows(directory / "metrics.jsonl")] == [False] * 2 + [True] * 4
    assert read_config(directory).algo.weight_decay == 0.5


def test_an_allowed_change_of_the_optimizer_is_in_force_after_its_state_is_loaded(wholes, broken_off):
    """A stock optimizer takes its old settings back from the file."""
    shutil.copytree(broken_off("sft"), other := broken_off("sft", 3).with_name("other"))
    directory = broken_off("sft", 1)
    for place, decay in ((directory, 0.5), (other, 0.0)):
        runs.go_on(place, f"algo.weight_decay={decay}", "resume.allow=algo.weight_decay")
    assert (directory / runs.SAME[2]).read_bytes() != (other / runs.SAME[2]).read_bytes()
    assert (other / runs.SAME[2]).read_bytes() == (wholes("sft") / runs.SAME[2]).read_bytes()


@pytest.mark.parametrize("word", ["seed=7", "algo.optimizer=adamw", "algo=reinforce", "data.best_fraction=0.5"])
def test_a_setting_that_cannot_change_is_refused_even_if_allowed(word, broken_off, capsys):
    directory = broken_off("sft")
    code, err = told(capsys, directory, word)
    assert code == 6
    assert "cannot change" in err
    code, err = told(capsys, directory, word, f"resume.allow=[{word.partition('=')[0]}]")
    assert code in (2, 6)
    assert "cannot be allowed" in err or "cannot change" in err


def test_every_setting_has_a_class_on_which_the_algorithms_agree():
    classes = {key: resume_class(key) for key in declarations()}
    assert set(classes.values()) == {FREE, ALLOWED, NEVER}
    by_content = {key for key, about in declarations().items() if about["by_content"]}
    data = {f"data.{name}" for name in ("preferences", "prompts", "texts", "heldout", "template")}
    assert by_content == {"model.path", "model.tokenizer", "algo.reward_model.model", *data}
    assert all(classes[key] == ALLOWED for key in by_content)
    assert resume_class("reward.terms.my own.args.words") == ALLOWED
    for schema in RUNS.values():
        for key, _, field in declared(schema):
            assert {name: field.metadata[name] for name in ("resume", "by_content", "code")} == {
                name: declarations()[key][name] for name in ("resume", "by_content", "code")
            }


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)),
)
def test_what_changed_is_what_differs(old, new):
    found = changes({"x": old}, {"x": new})
    keys = {f"x.{k}" for k in old.keys() | new.keys() if old.get(k) != new.get(k)}
    assert {key for key in found if key != "x"} == keys


def test_unknown_and_wrong_settings_are_exit_2_and_no_run_is_exit_6(broken_off, tmp_path, capsys):
    directory = broken_off("sft")
    code, err = told(capsys, directory, "algo.learning_rte=1", "seed=x")
    assert (code, err.count("\n")) == (2, 2)
    assert "did you mean 'algo.learning_rate=1'" in err
    assert told(capsys, tmp_path / "nowhere")[0] == 6
    assert told(capsys, directory, "nonsense") == (2, "rlnlp resume: 'nonsense' is no setting: want key=value\n")


def test_settings_that_were_changed_in_the_directory_are_refused(broken_off, capsys):
    directory = broken_off("sft")
    path = directory / "config.yaml"
    path.write_text(path.read_text().replace("learning_rate: 0.01", "learning_rate: 0.02"))
    code, err = told(capsys, directory)
    assert code == 6
    assert "config.yaml is not as the run wrote it" in err


def test_another_model_at_the_same_place_is_refused_unless_allowed(wholes, broken_off, tmp_path, capsys):
    from support import small

    words = small.tokenizer()
    small.lm(len(words), seed=1).save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "model")
    directory = broken_off("reinforce")
    code, err = told(capsys, directory, f"model.path={tmp_path / 'model'}")
    assert code == 6
    assert "model.path: its content differs from what " in err
    shutil.copytree(wholes("reinforce").parent / "model", tmp_path / "moved")
    runs.go_on(directory, f"model.path={tmp_path / 'moved'}")
    assert runs.difference(runs.outcome(directory), runs.outcome(wholes("reinforce"))) == []


def test_other_data_in_the_same_file_are_refused_unless_allowed(wholes, broken_off, tmp_path, capsys):
    changed = tmp_path / "data.jsonl"
    content = (wholes("sft").parent / "data.jsonl").read_text()
    changed.write_text(content + content.splitlines(keepends=True)[0])
    directory = broken_off("sft")
    code, err = told(capsys, directory, f"data.texts={changed}")
    assert code == 6
    assert "data.texts: its content differs from what " in err
    assert f"rlnlp resume {directory} resume.allow=data.texts" in err
    assert read_config(directory) == read_config(wholes("sft")), "what was refused is not the run's"
    changed.write_text(content)
    runs.go_on(directory, f"data.texts={changed}")
    assert runs.difference(runs.outcome(directory), runs.outcome(wholes("sft"))) == []


def test_a_change_far_below_a_group_is_a_change_too(broken_off, capsys):
    directory = broken_off("reinforce")
    code, err = told(capsys, directory, "reward.terms.length.weight=0.25")
    assert code == 6
    assert "reward.terms.length.weight 0.1 -> 0.25: the run would not be the one it was" in err
    code, err = told(capsys, directory, "model.fresh.width=64")
    assert code == 6
    assert "model.fresh.width 128 -> 64: this cannot change" in err


def test_code_of_the_user_s_is_found_wherever_a_setting_may_name_it():
    @dataclasses.dataclass
    class Holder:
        fn: str = setting("a function", code=True)
        other: str = setting("no code", default="x:y")
        inner: Any = setting("more of them", default=None)

    whole = Holder("a.py:f", inner={"m": Holder("b:g"), "l": [Holder("length"), Holder("c.py:h")]})
    assert dict(code_in(whole)) == {"fn": "a.py:f", "inner.m.fn": "b:g", "inner.l.1.fn": "c.py:h"}
    assert {key for key in declarations() if declarations()[key]["code"]} == {"reward.terms.<name>.fn"}


REWARD = "def kind(completions):\n    return [float('good' in text) for text in completions]\n"


@pytest.fixture
def with_own_reward(tmp_path, monkeypatch):
    """A run that used a function of the user's, broken off."""
    (tmp_path / "mine.py").write_text(REWARD)
    monkeypatch.chdir(tmp_path)
    asked = runs.words("reinforce", tmp_path, "+reward.terms.own={fn: mine.py:kind}", "algo.total_steps=3")
    whole = runs.run(runs.settings(asked), tmp_path / "own")
    return runs.broken_off(whole, tmp_path / "broken", 1), whole


def test_a_reward_function_of_the_user_s_must_be_named_again(with_own_reward, capsys):
    directory, whole = with_own_reward
    code, err = told(capsys, directory)
    assert code == 6
    assert err.endswith(f"  rlnlp resume {directory} reward.terms.own.fn=mine.py:kind\n")
    runs.go_on(directory, "reward.terms.own.fn=mine.py:kind")
    assert runs.difference(runs.outcome(directory), runs.outcome(whole)) == []


def test_a_reward_function_that_was_changed_is_refused_unless_allowed(with_own_reward, tmp_path, capsys):
    directory, _ = with_own_reward
    (tmp_path / "mine.py").write_text(REWARD.replace("good", "bad"))
    code, err = told(capsys, directory, "reward.terms.own.fn=mine.py:kind")
    assert code == 6
    assert "reward.terms.own.fn: its content differs from what " in err
    allow = "resume.allow=[reward.terms.own.fn]"
    assert told(capsys, directory, "reward.terms.own.fn=mine.py:kind", allow)[0] == 0


def test_a_secret_is_asked_for_again(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def kind(completions, api_key):\n    return [float(api_key == 'k')] * len(completions)\n"
    )
    monkeypatch.chdir(tmp_path)
    term = "+reward.terms.own={fn: mine.py:kind, args: {api_key: k}}"
    whole = runs.run(runs.settings(runs.words("reinforce", tmp_path, term, "algo.total_steps=3")), tmp_path / "own")
    directory = runs.broken_off(whole, tmp_path / "broken", 1)
    code, err = told(capsys, directory, "reward.terms.own.fn=mine.py:kind")
    assert code == 6
    assert f"rlnlp resume {directory} reward.terms.own.args.api_key=..." in err
    runs.go_on(directory, "reward.terms.own.fn=mine.py:kind", "reward.terms.own.args.api_key=k")
    assert runs.difference(runs.outcome(directory), runs.outcome(whole)) == []
    assert not [p for p in directory.rglob("*") if p.is_file() and b"api_key: k" in p.read_bytes()]


def test_another_machine_is_told_and_the_run_is_marked(broken_off, capsys):
    directory = broken_off("sft")
    then = json.loads((directory / "run.json").read_text())["fingerprint"]
    edited(directory, fingerprint=then | {"threads": 7, "cpu": "OTHER"})
    code, err = told(capsys, directory)
    assert code == 0
    assert f"cpu OTHER -> {then['cpu']}, threads 7 -> 1" in err
    assert json.loads((directory / "run.json").read_text())["bit_exact"] is False


def test_a_damaged_checkpoint_is_passed_over_and_named(wholes, broken_off, capsys):
    directory = broken_off("sft", 4)
    (directory / "checkpoints" / "step-00000004" / "policy/model.safetensors").write_bytes(b"")
    (directory / "run.json").write_text("{")
    code, err = told(capsys, directory)
    assert code == 0
    assert "damaged checkpoint skipped: step-00000004: policy/model.safetensors has 0 bytes" in err
    assert runs.difference(runs.outcome(directory), runs.outcome(wholes("sft"))) == []


def test_with_damaged_checkpoints_only_it_is_exit_6_and_nothing_is_touched(broken_off, capsys):
    directory = broken_off("sft", 2)
    for name in ("step-00000001", "step-00000002"):
        (directory / "checkpoints" / name / "state.json").write_text("{}")
    kept = {p: p.read_bytes() for p in directory.rglob("*") if p.is_file() and p.suffix in (".jsonl", ".safetensors")}
    code, err = told(capsys, directory)
    assert code == 6
    assert "no valid checkpoint in " in err
    assert "(2 found)" in err
    assert {p: p.read_bytes() for p in kept} == kept


def test_lines_that_were_changed_by_hand_are_kept_aside_and_the_run_goes_on(wholes, broken_off, capsys):
    directory = broken_off("sft")
    path = directory / "metrics.jsonl"
    edited_lines = "not json\n" + path.read_text()
    path.write_text(edited_lines)
    code, err = told(capsys, directory)
    assert code == 0
    (copy,) = directory.glob("metrics.damaged-*.jsonl")
    assert f"metrics.jsonl is not as the run wrote it; its content is kept as {copy.name}" in err
    assert copy.read_text() == edited_lines
    name = "policy/model.safetensors"
    assert (directory / name).read_bytes() == (wholes("sft") / name).read_bytes()


def test_the_real_command_takes_up_a_real_run(wholes, broken_off, tmp_path):
    directory = broken_off("reinforce", 4)
    code, _, err = rlnlp("resume", directory, cwd=tmp_path)
    assert code == 0, err
    assert "resuming after step 4\n" in err
    assert runs.difference(runs.outcome(directory), runs.outcome(wholes("reinforce"))) == []


def test_a_job_of_a_sweep_starts_goes_on_is_left_alone_or_is_refused(wholes, broken_off, tmp_path, capsys):
    place = wholes("sft").parent
    asked = runs.settings(runs.words("sft", place))
    with runs.without_pictures():
        for directory in (tmp_path / "new", broken_off("sft")):
            start_or_resume(asked, directory, "train", hidden=())
            assert runs.difference(runs.outcome(directory), runs.outcome(wholes("sft"))) == []
        capsys.readouterr()
        start_or_resume(asked, directory, "train", hidden=())
        assert "is complete" in capsys.readouterr().out
        other = runs.settings(runs.words("sft", place, "seed=5", "checkpoint.keep=1"))
        with pytest.raises(Failure, match=r"holds a run of other settings \(seed 0\)\nchoose another") as failure:
            start_or_resume(other, directory, "train", hidden=())
    assert failure.value.code == 6


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("hub_token=abc", "hub_token=***"),
        ("reward.terms.x.args.api_key=a b", "reward.terms.x.args.api_key=***"),
        ("x={fn: a, args: {password: p, words: [b]}}", "x={fn: a, args: {password: ***, words: [b]}}"),
        ("model.tokenizer=embedded", "model.tokenizer=embedded"),
        ("sampler.max_new_tokens=3", "sampler.max_new_tokens=3"),
    ],
)
def test_secrets_are_blotted_out_of_overrides(word, shown):
    assert without_secrets(word) == shown
