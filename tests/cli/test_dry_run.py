"""``--dry-run``: a run in words, and nothing is made."""

import pytest

from rlnlp.cli.main import main
from support import small
from support.data import prompt_data


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """What the command prints of a dry run, as lines; it made nothing."""
    monkeypatch.chdir(tmp_path)
    small.write_prompts(tmp_path / "p.jsonl", 40)

    def command(*words):
        before = sorted(tmp_path.rglob("*"))
        assert main([*words, "--dry-run"]) == 0
        out, err = capsys.readouterr()
        assert (err, sorted(tmp_path.rglob("*"))) == ("", before)
        return out.splitlines()

    return command


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        (
            ["train", "hydra.run.dir=my run", "algo.total_steps=5"],
            ["prompts     embedded/review, at most 128 held out (557 to train on, 116 held out)",
             "schedule    5 steps of 64 prompts x 1 = 64 responses: 320 responses, at most 10,240 new tokens",
             "directory   my run"],
        ),
        (
            ["reinforce", "data.prompts=p.jsonl", "heldout.size=3"],
            ["algorithm   REINFORCE with a baseline and a KL penalty (reinforce)",
             "prompts     p.jsonl, at most 3 held out (37 to train on, 3 held out)"],
        ),
        (["ppo", "data.prompts=p.jsonl", "data.heldout=p.jsonl", "heldout.size=9"],
         ["prompts     p.jsonl, at most 9 held out from p.jsonl (40 to train on, 9 held out)"]),
        (["reinforce", "data.prompts=[p.jsonl,'p*.jsonl']", "data.columns={answer: topic}"],
         ["prompts     p.jsonl + p*.jsonl, at most 128 held out (80, 4 held out)"]),
        (["sft"], ["texts       embedded, at most 128 held out (59,872 to train on, 128 held out)"]),
        (["sft", "data.texts=embedded/randomwalks"],
         ["texts       embedded/randomwalks, at most 128 held out (900 to train on, 100 held out)"]),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_dry_run_says_what_would_be_done_on_what_and_where(words, lines, shown):
    out = shown(*words)
    assert [line for line in out if line in lines] == lines
    assert out[-1] == "nothing was run or made; without --dry-run it would begin now"
    assert out[0].startswith("algorithm   ")


def test_the_counts_are_those_of_the_table_that_a_run_makes(tmp_path, shown):
    from rlnlp.data.prompts import prompt_table
    from rlnlp.models.tokenizer import Tokenizer

    tokenizer = Tokenizer(small.tokenizer(), (small.END,), 0, (1,))
    table = prompt_table(prompt_data(str(tmp_path / "p.jsonl")), 128, 0, tokenizer, 64)
    counts = f"({len(table.train)} to train on, {len(table.heldout)} held out)"
    assert [line for line in shown("train", "data.prompts=p.jsonl") if counts in line]


def test_a_dry_sweep_shows_the_first_job_whole_and_of_the_others_what_differs(shown):
    out = shown("train", "-m", "experiment=exploration", "algo.total_steps=3", "hydra.sweep.dir=s")
    jobs = [line for line in out if line.startswith("job ")]
    assert jobs[0] == "job 0: sampler.temperature=0.7 algo.entropy_coef=0.0"
    assert (len(jobs), out[-1]) == (9, "9 jobs; nothing was run or made; without --dry-run it would begin now")
    second = out[out.index(jobs[1]) + 1 : out.index(jobs[2]) - 1]
    assert [line[:12].strip() for line in second] == ["directory"]
    assert [line for line in out if line.startswith("directory")] == [f"directory   s/{i}" for i in range(9)]


def test_the_directories_of_a_dry_sweep_are_in_one_place(shown):
    out = shown("reinforce", "-m", "seed=1,2")
    parents = {line.rpartition("/")[0] for line in out if line.startswith("directory")}
    assert len(parents) == 1
    assert parents.pop().startswith("directory   outputs/sweeps/2")
