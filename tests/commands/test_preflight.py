"""Whatever files and settings alone tell of a run is told before anything heavy is imported, all of it at once."""

import json
import subprocess
import sys

import pytest
from safetensors.torch import save_file

from rlnlp.cli.main import main
from rlnlp.commands.preflight import checked_config
from rlnlp.errors import Failure
from support import runs, small

FN = "def f(completions, topic, *, word='x'): return [0.0] * len(completions)\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A place with a user's function, and data with and without what it needs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FN)
    small.write_prompts(tmp_path / "p.jsonl", 20)
    (tmp_path / "bare.jsonl").write_text('{"prompt": "the film"}\n')
    model = tmp_path / "short"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"n_positions": 16}))
    (model / "tokenizer_config.json").write_text("{}")
    save_file({}, model / "model.safetensors")
    return tmp_path


def told(*words):
    with pytest.raises(Failure) as failure:
        checked_config(runs.settings(list(words)))
    return failure.value.code, str(failure.value).split("\n")


ONE = [
    (["model.path=./nowhere"], 4, "model.path './nowhere' not found (no such directory)"),
    (["model.tokenizer=./nowhere"], 4, "model.tokenizer './nowhere' not found (no such directory)"),
    (["algo.critic_path=./nowhere"], 4, "algo.critic_path './nowhere' not found (no such directory)"),
    (["data.prompts=./no.jsonl"], 3, "data.prompts: no such file: ./no.jsonl"),
    (["data.heldout=./no.jsonl"], 3, "data.heldout: no such file: ./no.jsonl"),
    (["data.prompts=embedded/nowhere"], 2, "data.prompts must be embedded, or embedded/DOMAIN with one of "),
    (["algo=sft", "data.texts=./no.jsonl"], 3, "data.texts: no such file: ./no.jsonl"),
    (["algo=sft", "data.texts=p.jsonl"], 3, "data.texts: p.jsonl: no field 'text' (it has: prompt, reference, topic)"),
    (["data.prompts=bare.jsonl", "reward=classic"], 3, "reward.terms.similarity needs a 'reference' for every prompt"),
    (
        ["data.prompts=p.jsonl", "data.heldout=bare.jsonl", "reward.terms.similarity.weight=0.3"], 3,
        "reward.terms.similarity needs a 'reference'",
    ),
    (["sampler.max_new_tokens=128"], 2, "sampler.max_new_tokens 128 fills the model's context of 128 tokens; lower it"),
    (["model.path=short"], 2, "sampler.max_new_tokens 32 fills the model's context of 16 tokens; lower it"),
    (["model=fresh", "model.fresh.context=32"], 2, "sampler.max_new_tokens 32 fills the model's context of 32 tokens"),
    (["device.name=gpu:1"], 2, "device.name must be auto, cpu, cuda, cuda:N or mps, got 'gpu:1'; write cuda:1"),
    (["reward.terms.length.args.low=x"], 2, "reward.terms.length.args.low must be a whole number, got 'x'"),
    (["+reward.terms.x={fn: pattern, args: {regex: '('}}"], 2, "reward.terms.x.args.regex is wrong at character 0"),
    (["+reward.terms.x={fn: keywords}"], 2, "reward.terms.x.args.words is missing"),
    (["+reward.terms.x={fn: keywords, args: {word: [a]}}"], 2, "no setting 'reward.terms.x.args.word'"),
    (["+reward.terms.x={fn: classifier}"], 2, "reward.terms.x.args.path is missing"),
    (["+reward.terms.x={fn: classifier, args: {path: ./no}}"], 4, "reward.terms.x.args.path './no' not found"),
    (["+reward.terms.x={fn: classifier, args: {path: ./no, of: all}}"], 2, "reward.terms.x.args.of must be one of "),
    (["+reward.terms.x={fn: coherence, args: {batch_size: 0}}"], 2, "reward.terms.x.args.batch_size must be >= 1"),
    (["+reward.terms.x={fn: no.py:f}"], 2, "reward.terms.x.fn: no such file: no.py"),
    (["+reward.terms.x={fn: mine.py:g}"], 2, "reward.terms.x.fn: mine.py has no function 'g'"),
    (["+reward.terms.x={fn: mine.py:f, args: {wrd: 1}}"], 2, "reward.terms.x.args: no argument 'wrd'"),
    (["+reward.terms.x={fn: mine.py:f}"], 3, "reward term 'x' needs 'topic'; it is neither in reward.terms.x.args nor"),
    (["data.prompts=[]"], 2, "data.prompts names nothing"),
    (["data.prompts=[p.jsonl,3]"], 2, "data.prompts[1] must be text"),
    (["data.encoding=utf8x"], 2, "data.encoding must be an encoding that Python knows"),
    (["data.encoding=rot13"], 2, "data.encoding must be an encoding that Python knows"),
    (["+data.columns={a: b, c: b}"], 2, "data.columns gives 'b' two names"),
    (["data.too_long=skip"], 2, "data.too_long must be one of refuse, drop, cut, got 'skip'"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "line"), ONE, ids=[words[-1] for words, *_ in ONE])
def test_each_fault_is_told_with_its_own_exit_code(words, code, line, place):
    got, lines = told(*words)
    assert (got, lines[0][: len(line)]) == (code, line)
    assert len(lines) <= 2


def test_what_is_sound_passes(place):
    checked_config(runs.settings(["+reward.terms.x={fn: mine.py:f, args: {word: y}}", "data.prompts=p.jsonl"]))
    checked_config(runs.settings(["+reward.terms.x={fn: mine.py:f, args: {topic: y}}"]))
    for algo in runs.ALGORITHMS:
        checked_config(runs.settings(runs.words(algo, place)))


def test_faults_of_every_kind_are_told_together_with_wrong_settings(place):
    words = [word for words, *_ in (ONE[0], ONE[3], ONE[13], ONE[14], ONE[22]) for word in words]
    code, lines = told(*words, "algo.learning_rate=-1")
    assert code == 2
    assert lines[0] == "algo.learning_rate must be >= 0, got -1"
    assert lines[1:] == [
        "model.path './nowhere' not found (no such directory)",
        "data.prompts: no such file: ./no.jsonl",
        "device.name must be auto, cpu, cuda, cuda:N or mps, got 'gpu:1'; write cuda:1",
        "reward.terms.length.args.low must be a whole number, got 'x'",
        "reward.terms.x.fn: no such file: no.py",
    ]


def test_files_of_a_group_with_a_wrong_setting_wait_for_it(place):
    code, lines = told("data.prompts=./no.jsonl", "model.path=./nowhere", "model.allow_download=maybe")
    assert (code, lines) == (
        2, ["model.allow_download must be true or false, got 'maybe'", "data.prompts: no such file: ./no.jsonl"],
    )  # fmt: skip


def test_of_a_file_that_is_too_large_the_columns_are_not_known(place, monkeypatch):
    words = ["data.prompts=p.jsonl", "+reward.terms.x={fn: mine.py:f}"]
    without = [json.dumps({"prompt": "the film"}) for _ in range(20)]
    (place / "p.jsonl").write_text("\n".join(without) + "\n")
    assert told(*words)[0] == 3
    monkeypatch.setattr("rlnlp.commands.preflight.MOST", 100)
    checked_config(runs.settings(words))


def test_a_run_and_a_sweep_that_cannot_begin_leave_nothing_and_import_nothing_heavy(place):
    words = [word for words, *_ in (ONE[0], ONE[3], ONE[24]) for word in words]
    text = "import sys\nfrom rlnlp.cli.main import main\ncodes = [main(words) for words in {}]\n"
    text += "print(*codes, *{{'torch', 'transformers', 'matplotlib'}} & set(sys.modules))"
    text += "\nfrom rlnlp.device import find_device\nimport torch\ntorch.cuda.device_count = lambda: 0\n"
    text += "print(*[main(words) for words in {}])"
    early = [["train", *words], ["train", "-m", "seed=1,2", *words], ["ppo", "--dry-run", *words]]
    cuda = [["train", "device=cuda"], ["train", "-m", "device=cpu,cuda"], ["sft", "device.name=cuda:3", "--dry-run"]]
    before = sorted(place.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", text.format(early, cuda)], cwd=place, env={"PYTHONPATH": str(small.ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "2 2 2\n2 2 2\n", done.stderr
    assert done.stderr.count("device 'cuda' is not there (0 of cuda)") == 2
    assert [path for path in sorted(place.rglob("*")) if "__pycache__" not in path.parts] == before


def test_every_job_of_a_sweep_is_checked_before_the_first_begins(place, capsys):
    assert main(["train", "-m", "seed=1,x", "data.prompts=p.jsonl,./no.jsonl", "algo.total_steps=1"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "rlnlp train: job 1 (seed=1 data.prompts=./no.jsonl): data.prompts: no such file: ./no.jsonl",
        "  job 2 (seed=x data.prompts=p.jsonl): seed must be a whole number, got 'x'",
        "  job 3 (seed=x data.prompts=./no.jsonl): seed must be a whole number, got 'x'",
        "  job 3 (seed=x data.prompts=./no.jsonl): data.prompts: no such file: ./no.jsonl",
    ]
    assert not (place / "outputs").exists()


def test_what_is_wrong_with_every_job_is_told_once_and_of_many_the_first(place, capsys, monkeypatch):
    monkeypatch.setattr("rlnlp.cli.jobs.MOST_TOLD", 2)
    assert main(["train", "-m", "seed=1,2", "model.path=./nowhere"]) == 4
    assert capsys.readouterr().err == "rlnlp train: model.path './nowhere' not found (no such directory)\n"
    assert main(["train", "-m", "seed=-1,-2,-3,-4"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "rlnlp train: job 0 (seed=-1): seed must be >= 0, got -1"
    assert (len(lines), lines[-1]) == (3, "  and 2 more of 4 jobs")
