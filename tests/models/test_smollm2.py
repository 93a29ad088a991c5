"""A real chat model and real conversations: the tokens, the answers and the training are those that transformers has.

RLNLP_CHAT_MODEL names the folder of SmolLM2-135M-Instruct, RLNLP_CHAT_DATA that of MT-Bench's questions
(mt-bench/question.jsonl) and of Anthropic's dialogues (hh-rlhf-helpful-base, files with "chosen").
"""

import gzip
import json
import os
import re
import zipfile
from pathlib import Path

import pytest
import torch

from rlnlp import load
from rlnlp.models.chat import Chat
from rlnlp.models.load import load_tokenizer
from rlnlp.models.turns import assistant_tokens
from support import runs

MODEL, DATA = os.environ.get("RLNLP_CHAT_MODEL", ""), Path(os.environ.get("RLNLP_CHAT_DATA", ""))
QUESTIONS = 40
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not MODEL, reason="RLNLP_CHAT_MODEL names no folder of a chat model"),
    pytest.mark.skipif(not (DATA / "mt-bench").is_dir(), reason="RLNLP_CHAT_DATA names no folder with mt-bench"),
]


@pytest.fixture(scope="module")
def words():
    return load_tokenizer(MODEL, True)


@pytest.fixture(scope="module")
def asked():
    lines = (DATA / "mt-bench" / "question.jsonl").read_text(encoding="utf-8").splitlines()[:QUESTIONS]
    return [[{"role": "user", "content": json.loads(line)["turns"][0]}] for line in lines]


def dialogues():
    """Anthropic's dialogues as messages, with what each turn says."""
    for path in sorted((DATA / "hh-rlhf-helpful-base").rglob("*")):
        for text in lines_of(path):
            parts = re.split(r"\n\n(Human|Assistant): ?", text)[1:]
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
            if all(said.strip() for _, said in pairs):
                yield [{"role": {"Human": "user"}.get(who, "assistant"), "content": said} for who, said in pairs]


def lines_of(path):
    contents = []
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            contents = [archive.read(name) for name in archive.namelist() if name.endswith(".jsonl")]
    elif path.name.endswith(".jsonl.gz"):
        contents = [gzip.decompress(path.read_bytes())]
    elif path.suffix == ".jsonl":
        contents = [path.read_bytes()]
    return [json.loads(line)["chosen"] for content in contents for line in content.decode().splitlines()]


def test_the_tokens_of_conversations_are_those_of_apply_chat_template(words, asked):
    chat = Chat(words, words.raw.get_chat_template(), {})
    for messages in asked:
        whole = words.raw.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert chat.prompt(messages) == whole
    assert chat.end == words.raw.convert_tokens_to_ids("<|im_end|>")


def test_greedy_answers_are_those_of_transformers_and_end_with_the_turn(words, asked):
    policy = load(MODEL, ["sampler=greedy", "sampler.max_new_tokens=48", "device=cpu"])
    found = policy.generate(asked)
    end = words.raw.convert_tokens_to_ids("<|im_end|>")
    for messages, response in zip(asked, found, strict=True):
        ids = torch.tensor([words.raw.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)])
        out = policy.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=48, do_sample=False, eos_token_id=end
        )[0, ids.shape[1] :].tolist()
        assert response["response"] == words.raw.decode(out, skip_special_tokens=True)
        assert (response["ended"], response["tokens"]) == (out[-1] == end, len(out))
        assert response["messages"] == [*messages, {"role": "assistant", "content": response["response"]}]
    assert any(response["ended"] for response in found)


def test_the_human_s_turns_of_real_dialogues_are_masked_exactly(words):
    chat = Chat(words, words.raw.get_chat_template(), {})
    count = 0
    for messages in dialogues():
        if messages[-1]["role"] != "assistant":
            continue
        ids, learned = assistant_tokens(chat, messages, last_only=False)
        whole = words.raw.apply_chat_template(messages, return_dict=False)
        assert ids == whole[: len(ids)]
        assert learned == expected(words, messages, len(ids))
        count += 1
    assert count > 2000


def expected(words, messages, count):
    """Turn by turn: what is behind the header of an assistant's turn, its end included, without the line's end."""
    mask: list[bool] = []
    for i, turn in enumerate(messages):
        before = [] if i == 0 else words.raw.apply_chat_template(messages[:i], return_dict=False)
        after = words.raw.apply_chat_template(messages[: i + 1], return_dict=False)
        header = 0
        if turn["role"] == "assistant":
            asked = words.raw.apply_chat_template(messages[:i], add_generation_prompt=True, return_dict=False)
            header = len(asked) - len(before)
        own = len(after) - len(before)
        mask += [turn["role"] == "assistant" and header <= j < own - 1 for j in range(own)]
    return mask[:count]


@pytest.mark.parametrize("algo", ["reinforce", "ppo", "sft"])
def test_two_steps_of_every_algorithm_run_on_conversations(algo, asked, tmp_path):
    path = tmp_path / "asked.jsonl"
    answer = {"role": "assistant", "content": "I do not know."}
    rows = [{"messages": [*messages, answer] if algo == "sft" else messages} for messages in asked]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    key = "texts" if algo == "sft" else "prompts"
    reward = [] if algo == "sft" else ["~reward.terms.similarity"]
    settings = runs.settings([
        f"algo={algo}", f"model.path={MODEL}", f"data.{key}={path}", "algo.total_steps=2", "algo.batch_size=2",
        "heldout.size=2", "heldout.every=0", "sampler.max_new_tokens=12", "checkpoint.every=0", "device=cpu",
        "samples.every=1", *reward,
    ])  # fmt: skip
    directory = runs.run(settings, tmp_path / "run")
    assert len((directory / "metrics.jsonl").read_text().splitlines()) == 2
    sample = json.loads((directory / "samples.jsonl").read_text().splitlines()[0])
    assert sample["prompt"].startswith("User: ")
    assert sample["prompt"].endswith("\n\nAssistant: ")
    assert "<|im_end|>" not in sample["response"]
