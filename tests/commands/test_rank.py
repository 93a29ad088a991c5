"""``rlnlp rank``: texts in as words, a file or lines; their scores out, the best first."""

import io
import json
import shutil
import sys

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlnlp.cli.main import main
from rlnlp.config.parse import parse
from rlnlp.config.schema import RUNS
from rlnlp.run.manifest import config_text
from support import chat, reward_models, runs, small

TEXTS = ["the film is good", "bad", "i loved it and the food was not cold", "the room", "it was slow !"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, model_dir):
    """A run of reward-model with a linear head."""
    return reward_models.save(tmp_path_factory.mktemp("run"), model_dir)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """One whose chat template is its own."""
    model = chat.save_model(tmp_path_factory.mktemp("chat"), None)
    return reward_models.save(tmp_path_factory.mktemp("spoken"), model, template=chat.CHATML, longest=200)


@pytest.fixture
def rank(capsys):
    """The command in this process: (exit status, stdout, stderr)."""

    def ranked(*words):
        capsys.readouterr()
        code = main(["rank", *map(str, words)])
        return code, *capsys.readouterr()

    return ranked


@pytest.fixture
def records(rank):
    """The records that a command of good words prints."""

    def ranked(*words):
        code, out, err = rank(*words, "--json", "device=cpu")
        assert (code, err) == (0, "")
        return json.loads(out)

    return ranked


@torch.no_grad()
def by_transformers(run, *texts):
    """The logit that transformers gives each text with one end token behind it, and the bias that it lacks."""
    folder = run / "reward_model"
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [torch.tensor([[*tokenizer(text).input_ids, tokenizer.eos_token_id]]) for text in texts]
    return [float(model(row).logits[0, 0]) + model.config.rlnlp_score_bias for row in rows]


def texts_of(found):
    return [record["text"] for record in found]


def test_texts_are_ranked_by_their_scores_which_are_those_of_transformers_and_the_bias(run, records):
    found, wanted = records(run, *TEXTS), by_transformers(run, *TEXTS)
    assert texts_of(found) == [TEXTS[i] for i in sorted(range(5), key=lambda i: -wanted[i])]
    assert [each["score"] for each in found] == pytest.approx(sorted(wanted, reverse=True), abs=1e-5)
    assert {*map(frozenset, found)} == {frozenset({"text", "score"})}
    assert len({round(value, 3) for value in wanted}) == 5, "the texts should differ, or nothing is tested"
    assert records(run / "reward_model", *TEXTS) == found


def test_equal_scores_keep_the_order_of_the_input_and_a_repeated_text_has_its_line_each_time(run, records, rank):
    unknown = ["aaa", "the film", "ccc", "bbb", "the film", "ccc"]  # words that are one token to the model
    found = records(run, *unknown)
    assert [text for text in texts_of(found) if text != "the film"] == ["aaa", "ccc", "bbb", "ccc"]
    scores = {record["text"]: record["score"] for record in found}
    assert scores["aaa"] == scores["ccc"] == scores["bbb"] != scores["the film"]
    _, out, err = rank(run, *unknown, "device=cpu")
    assert err == ""
    assert out == "".join(f"{record['score']:8.3f}  {record['text']}\n" for record in found)


def test_a_prompt_stands_in_front_of_every_text(run, records, rank):
    found = records(run, "--prompt", "the film is", " good", " bad")
    wanted = by_transformers(run, "the film is good", "the film is bad")
    scores = {each["text"]: each["score"] for each in found}
    assert [scores[" good"], scores[" bad"]] == pytest.approx(wanted, abs=1e-5)
    assert [each["prompt"] for each in found] == ["the film is"] * 2
    _, out, _ = rank(run, "--prompt", "the film is", " good", "device=cpu")
    assert out == f"the film is\n{wanted[0]:8.3f}  good\n"


RECORDS = [
    ({"text": "the film is good"}, None, "the film is good"),
    ({"prompt": "the film", "completion": " is good"}, "the film", " is good"),
    ({"prompt": "the film", "response": " is good", "score": 0.3, "model": "x"}, "the film", " is good"),
    ({"prompt": "the film", "text": " is good", "score": 0.3}, "the film", " is good"),
    ({"prompt": None, "text": "the film is good", "completion": None}, None, "the film is good"),
]


@pytest.mark.parametrize(("record", "prompt", "text"), RECORDS)
def test_a_record_of_a_file_may_be_in_each_of_these_forms(record, prompt, text, run, records, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    (found,) = records(run, "--file", tmp_path / "a.jsonl")
    assert (found.get("prompt"), found["text"]) == (prompt, text)
    assert found["score"] == pytest.approx(by_transformers(run, "the film is good")[0], abs=1e-5)


def test_a_file_may_be_lines_or_a_table_and_what_was_printed_is_ranked_alike(run, records, rank, tmp_path):
    wanted = records(run, *TEXTS)
    (tmp_path / "a.txt").write_text("\n\n".join(TEXTS))
    (tmp_path / "a.csv").write_bytes("Antwort;n\n".encode("cp1252") + "".join(f"{t};1\n" for t in TEXTS).encode())
    assert records(run, "--file", tmp_path / "a.txt") == wanted
    assert records(run, "--file", tmp_path / "a.csv", "data.columns={text: Antwort}", "data.encoding=cp1252") == wanted
    (tmp_path / "a.json").write_text(json.dumps(records(run, "--prompt", "the", *TEXTS)))
    again = records(run, "--file", tmp_path / "a.json")
    assert again == json.loads((tmp_path / "a.json").read_text())


def test_texts_to_several_prompts_are_printed_below_each_and_ranked_over_all_in_json(run, rank, records, tmp_path):
    asked = [{"prompt": p, "completion": f" {a}"} for a in ("good", "bad", "cold") for p in ("the film", "a room")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in asked))
    found = records(run, "--file", tmp_path / "a.jsonl")
    assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
    blocks = rank(run, "--file", tmp_path / "a.jsonl")[1].split("\n\n")
    assert [block.split("\n")[0] for block in blocks] == ["the film", "a room"]
    for block, prompt in zip(blocks, ("the film", "a room"), strict=True):
        rows = [each for each in found if each["prompt"] == prompt]
        assert block.rstrip().split("\n")[1:] == [f"{row['score']:8.3f}  {row['text'].strip()}" for row in rows]


def test_a_conversation_is_shown_by_the_reward_model_s_own_template(spoken, records, tmp_path):
    turns = chat.turns("the film ?", "it is good", "and the food ?", "bad")
    same = [
        {"messages": turns},
        {"prompt": turns[:-1], "completion": "bad"},
        {
            "conversations": [
                {"from": "human" if i % 2 == 0 else "gpt", "value": t["content"]} for i, t in enumerate(turns)
            ]
        },
        {"prompt": "as people read it", "response": "bad", "messages": turns},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in same))
    found = records(spoken, "--file", tmp_path / "a.jsonl")
    words = chat.spelling(chat.CHATML)
    text = words.apply_chat_template(turns, tokenize=False)
    ids = words.encode(text.removesuffix("\n"), add_special_tokens=False)
    folder = spoken / "reward_model"
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        wanted = float(model(torch.tensor([[*ids, words.eos_token_id]])).logits) + model.config.rlnlp_score_bias
    assert [each["score"] for each in found] == pytest.approx([wanted] * 4, abs=1e-5)
    assert all((each["prompt"], each["text"]) == (turns[:-1], "bad") for each in found)


def test_a_model_without_a_template_is_given_no_conversation(run, rank, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": chat.turns("the film ?", "good")}) + "\n")
    code, out, err = rank(run, "--file", tmp_path / "a.jsonl")
    assert (code, out) == (4, "")
    assert "the reward model has no chat template, and the texts are conversations" in err


def test_lines_of_standard_input_are_texts(run, records, rank, monkeypatch):
    def pipe(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    pipe(b"the film = good\n\n bad \nbad\n")
    assert sorted(texts_of(records(run))) == ["bad", "bad", "the film = good"]
    pipe(b" \n")
    assert rank(run)[0] == 3
    pipe(b"\xff\xfe")
    assert rank(run)[0] == 3


def test_an_mlp_and_a_model_of_others_score_too(tmp_path, model_dir, records):
    mlp = reward_models.save(tmp_path / "mlp", model_dir, head="mlp")
    assert len({round(each["score"], 5) for each in records(mlp, *TEXTS)}) == 5
    other = reward_models.save_foreign(tmp_path / "other")
    model = AutoModelForSequenceClassification.from_pretrained(other, attn_implementation="eager")
    row = [*small.tokenizer()("the film").input_ids, small.END]
    with torch.no_grad():
        wanted = float(model(torch.tensor([row])).logits)
    assert records(other, "the film")[0]["score"] == pytest.approx(wanted, abs=1e-5)


def test_what_is_cut_is_told_and_control_characters_are_not_printed(run, rank):
    code, out, err = rank(run, "good " * 60, "bad\x1b[2J\ncold", "device=cpu")
    assert code == 0
    assert f"1 text of more than {reward_models.LONGEST} tokens: only a part is read" in err
    assert "\x1b" not in out
    assert "bad\\x1b[2J\n" in out


def faulty(folder, model_dir):
    """Words that are refused, the exit status, and what is told."""
    (folder / "good.jsonl").write_text('{"prompt": "the", "completion": "film"}\n')
    (folder / "bad.jsonl").write_text('{"chosen": "the", "rejected": "film"}\n{"text": 3}\n{"text": "good"}\n')
    (folder / "open.jsonl").write_text(json.dumps({"messages": chat.turns("a", "b", "c")}) + "\n")
    config = parse(RUNS["reinforce"], runs.settings(["algo=reinforce"]))
    for name in ("policy-run", "empty-run"):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text("{}")
        (folder / name / "config.yaml").write_text(config_text(config))
    (folder / "policy-run" / "policy").symlink_to(model_dir)
    yield ["./nowhere", "a"], 4, "the reward model './nowhere' not found (no such directory)"
    yield [model_dir, "a"], 4, "is no reward model but a language model (LlamaForCausalLM)"
    yield ["embedded", "a"], 4, "is no reward model but a language model"
    yield ["policy-run", "a"], 6, "'policy-run' is of a run of reinforce and has no reward_model/"
    yield ["empty-run", "a"], 6, "'empty-run' is of a run of reinforce and has no reward_model/"
    yield ["empty-run/checkpoints/step-1", "a"], 6, "'empty-run/checkpoints/step-1' is of a run of reinforce and has"
    yield ["RM/checkpoints/step-1", "a"], 6, "is no model by itself; the reward model of its run is in RM"
    yield ["RM", "a", "--file", "good.jsonl"], 2, "give texts as words or with --file, not both"
    yield ["RM", "--file", "good.jsonl", "--prompt", "the"], 2, "--prompt is the prompt of all, and good.jsonl:1 has"
    yield ["RM", "--file", "none.jsonl"], 3, "--file: no such file: none.jsonl"
    yield ["RM", "--file", "bad.jsonl"], 3, "2 bad lines in bad.jsonl\n  bad.jsonl:1: nothing to score: want 'text',"
    yield ["RM", "--file", "open.jsonl"], 3, "open.jsonl:1: the last turn is not the assistant's"
    yield ["RM", "\n\nHuman: a\n\nAssistant: b\n\nHuman: c"], 3, "the last turn is not the assistant's"
    yield ["RM", "a", "data.template=none"], 2, "data.template: a reward model shows conversations by its own chat"
    yield ["RM", "a", "device.nam=cpu"], 2, "no setting 'device.nam'; did you mean 'device.name=cpu'?"
    yield ["RM", "prompt=the", "a"], 2, "'prompt=the' looks like a setting; type: --prompt the"
    yield ["RM", "--jsn", "a"], 2, "no flag '--jsn'; did you mean '--json'?"
    yield ["device=cpu"], 2, "name a reward model: rlnlp rank RUN TEXT ..."


def test_what_is_wrong_is_told_before_torch_is_needed(run, model_dir, tmp_path, rank, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rlnlp.commands.ranking", None)  # an import of it would fail
    reward_models.as_run(shutil.copytree(run, tmp_path / "RM"))
    for words, code, text in faulty(tmp_path, model_dir):
        status, out, err = rank(*words)
        assert (status, out) == (code, ""), words
        assert text in err
        assert 1 <= err.count("\n") <= 3


def test_a_run_with_a_reward_model_says_so_where_a_policy_is_asked_of_it(run, tmp_path, capsys):
    here = reward_models.as_run(shutil.copytree(run, tmp_path / "RM"))
    for words, code, text in (
        (
            ["generate", here, "a"],
            6,
            f"{here} holds a reward model and no policy; it scores texts: rlnlp rank",
        ),
        (
            ["train", f"model.path={here}"],
            4,
            f"model.path '{here}' is no model: {here} holds a reward model",
        ),
        (["evaluate", here, "--judge", here], 2, f"to have it judge another run: rlnlp evaluate RUN --judge {here}"),
    ):
        assert main([*map(str, words)]) == code
        assert text in capsys.readouterr().err


def test_a_model_with_two_labels_is_exit_4(tmp_path, rank):
    code, out, err = rank(reward_models.save_foreign(tmp_path / "two", labels=2), "a")
    assert (code, out) == (4, "")
    assert "has 2 labels: a score is one number" in err
