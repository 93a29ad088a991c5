"""``rlnlp rank --by``: how often texts of one kind score higher than those of each other kind."""

import json

import pytest

from rlnlp.cli.main import main
from rlnlp.config.choices import choice
from rlnlp.config.data import Reading
from rlnlp.data.candidates import file_candidates, file_labels
from rlnlp.models.locate import ASSETS
from support import reward_models

TEXTS = [
    ("the film is good", "calm"), ("i loved it", "calm"), ("the room was not cold", "calm"), ("bad", "rude"),
    ("it was slow !", "rude"), ("the food is bad", "rude"), ("the room", "odd"), ("the the the", "odd"),
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of reward-model that has learned nothing: its reward model is as it starts, on another scale."""
    folder = reward_models.save(tmp_path_factory.mktemp("run"), ASSETS / "embedded", longest=128, seed=0)
    return reward_models.as_run(folder)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "tone": tone, "n": 3}) + "\n" for text, tone in TEXTS))
    return path


@pytest.fixture
def rank(capsys):
    """The command in this process: (exit status, stdout, stderr)."""

    def ranked(*words):
        capsys.readouterr()
        code = main(["rank", *map(str, words), "device=cpu"])
        return code, *capsys.readouterr()

    return ranked


def test_each_kind_is_counted_against_the_one_that_is_asked_about(rank, run, file):
    """By the scores that rank prints; a reward model that has not learned is as the untrained one."""
    scores = {each["text"]: each["score"] for each in json.loads(rank(run, "--file", file, "--json")[1])}
    code, out, err = rank(run, "--file", file, "--by", "tone=calm", "--json")
    assert (code, err) == (0, "")
    odd, rude = json.loads(out)
    assert [(each["label"], each["texts"]) for each in (odd, rude)] == [("odd", 2), ("rude", 3)]
    own = [scores[text] for text, tone in TEXTS if tone == "calm"]
    assert len({*scores.values()}) == len(TEXTS), "the texts should differ, or nothing is tested"
    for found in (odd, rude):
        others = [scores[text] for text, tone in TEXTS if tone == found["label"]]
        wanted = sum(a > b for a in own for b in others) / (len(own) * len(others))
        assert found["after"]["value"] == pytest.approx(wanted, abs=1e-9)
        assert found["before"] == found["after"]
        assert found["after"]["interval"][0] <= wanted <= found["after"]["interval"][1]


def test_of_a_run_there_is_a_table_with_the_untrained_head_and_a_picture_of_any_other_model_a_table(rank, run, file):
    code, out, _ = rank(run, "--file", file, "--by", "tone=calm")
    assert code == 0
    assert out.splitlines()[0] == "how often a text of calm (3 texts) scores higher than one of"
    assert out.splitlines()[1].split("  ")[-1].strip() == "trained"
    assert "untrained head" in out
    assert [line.split()[:2] for line in out.splitlines()[2:4]] == [["odd", "2"], ["rude", "3"]]
    assert (run / "rank.png").read_bytes().startswith(b"\x89PNG")
    assert f"{run / 'rank.png'}" in out
    (run / "rank.png").unlink()
    code, out, _ = rank(run / "reward_model", "--file", file, "--by", "tone=calm")
    assert code == 0
    assert "untrained" not in out
    assert "how often" in out.splitlines()[1]
    assert not list(run.rglob("rank.png"))


@pytest.mark.parametrize(
    ("by", "code", "told"),
    [
        ("tone", 2, "write COLUMN=VALUE, as in --by category=harmless"),
        ("tone=clam", 2, "no text has it; the texts have calm, odd, rude; did you mean 'tone=calm'?"),
        ("n=3", 2, "all texts have it, there is nothing to compare with"),
        ("kind=calm", 3, "no text or number in 'kind' (it has: text, tone, n)"),
    ],
)
def test_what_cannot_be_compared_is_told(rank, run, file, by, code, told):
    found, _, err = rank(run, "--file", file, "--by", by)
    assert found == code, err
    assert told in err
    assert err.count("\n") <= (3 if code == 2 else 10)


def test_kinds_need_a_file(rank, run):
    code, _, err = rank(run, "a text", "--by", "tone=calm")
    assert code == 2
    assert "--by needs --file" in err


def test_the_comments_of_the_package_have_a_name_and_categories():
    values = {name: value for name, value in choice("data", "default").items() if name in Reading.__dataclass_fields__}
    reading = Reading(**values)
    found = file_candidates("--file", "embedded/moderation", reading, None)
    labels = file_labels("--file", "embedded/moderation", reading, "category")
    assert len(found) == len(labels) == 2000
    assert {*labels} == {"harmless", "adult", "hate", "misinformation", "spam", "violence"}
