"""``rlnlp generate`` with conversations: --system, messages in files, and --chat, a conversation in a terminal."""

import fcntl
import io
import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from contextlib import suppress

import pytest

import rlnlp
from rlnlp.cli.main import main
from rlnlp.commands.chat import answered, converse
from rlnlp.errors import Failure
from support import chat
from support.small import ROOT

DRAWN = ["device=cpu", "sampler.max_new_tokens=6"]
SECONDS = 60


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small model with a chat template."""
    return chat.save_model(tmp_path_factory.mktemp("chat"))


@pytest.fixture(scope="module")
def policy(model):
    return rlnlp.load(model, DRAWN)


def generate(capsys, *words):
    capsys.readouterr()
    code = main(["generate", *map(str, words), *DRAWN])
    return code, *capsys.readouterr()


def test_a_system_s_turn_makes_words_a_conversation_and_files_may_hold_messages(capsys, model, policy, tmp_path):
    (expected,) = policy.generate(chat.turns("Hi", system="be kind"))
    assert expected["prompt"] == "System: be kind\n\nUser: Hi\n\nAssistant: "
    assert expected["messages"][-1] == {"role": "assistant", "content": expected["response"]}
    code, out, err = generate(capsys, model, "Hi", "--system", "be kind", "--json")
    assert (code, json.loads(out), err) == (0, [{**expected, "model": str(model)}], "")
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"messages": chat.turns("Hi", system="be kind")}) + "\n")
    assert json.loads(generate(capsys, model, "--file", path, "--json")[1]) == [{**expected, "model": str(model)}]
    code, out, err = generate(capsys, model, "Hi <|end|>", "--json")
    assert (code, "messages" in json.loads(out)[0]) == (0, False)
    assert "1 of 1 text with words of control tokens (<|end|>): they are read as words" in err
    assert "plain texts are gone on with as they are" in err


def test_several_conversations_and_texts_are_answered_together(policy):
    given = [chat.turns("Hi"), "Hi", chat.turns("Hi", "Yes.", "So?")]
    found = policy.generate(given, n=2)
    assert [record["prompt"] for record in found[::2]] == [
        "User: Hi\n\nAssistant: ", "Hi", "User: Hi\n\nAssistant: Yes.\n\nUser: So?\n\nAssistant: ",
    ]  # fmt: skip
    assert ["messages" in record for record in found[::2]] == [True, False, True]
    with pytest.raises(Failure, match="'prompt' must end with a turn of the user") as failure:
        policy.generate(chat.turns("Hi", "Yes."))
    assert failure.value.code == 3


def test_a_response_ends_with_the_token_that_ends_a_turn(model):
    many = rlnlp.load(model, ["device=cpu", "sampler.max_new_tokens=40"])
    found = many.generate([chat.turns("Hi")] * 40)
    end = chat.chat().end
    ids = [many.tokenizer.encode(record["response"], add_special_tokens=False) for record in found]
    assert any(record["ended"] for record in found)
    assert all(end not in row for row in ids)
    assert all(record["tokens"] <= 40 for record in found)


def test_what_a_conversation_in_the_terminal_has_no_use_for_is_refused(capsys, model):
    for words, said in (
        (["Hi"], "leave out a prompt"), (["-n", "2", "--json"], "leave out -n, --json"), (["--file", "x"], "--file"),
    ):  # fmt: skip
        code, _, err = generate(capsys, model, "--chat", *words)
        assert code == 2
        assert said in err
    code, _, err = generate(capsys, "embedded", "--chat")
    assert (code, "the model has no chat template" in err) == (4, True)


class Script:
    """A policy that answers with given texts and shows each of them letter by letter."""

    def __init__(self, *answers: str, ended: bool = True) -> None:
        self.answers, self.asked, self.ended = list(answers), [], ended

    def answer(self, messages, hear):
        """The next text."""
        self.asked.append([turn["content"] for turn in messages])
        text = self.answers.pop(0)
        for i in range(1, len(text) + 1):
            hear(text[:i])
        hear(f"{text}\ufffd")
        return {"response": text, "ended": self.ended, "tokens": len(text)}


def test_each_turn_of_a_conversation_knows_those_before_it(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\n  \ntwo\n"))
    script = Script("first", "second")
    assert converse(script) == 0
    assert script.asked == [["one"], ["one", "first", "two"]]
    assert capsys.readouterr() == ("first\nsecond\n\n", "")


def test_an_answer_is_shown_as_it_is_drawn_harmless_to_the_terminal_and_once(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr("builtins.print", lambda *words, **_: shown.append("".join(words)))
    answered(Script("a\x1b[2Jé", ended=False), [])
    assert shown == ["a", "\\x1b", "[", "2", "J", "é", "", "", "(cut after 6 tokens: sampler.max_new_tokens)"]


def test_an_answer_is_what_its_tokens_say_and_a_full_context_is_told(policy):
    heard = []
    response = policy.answer(chat.turns("Hi"), heard.append)
    assert response["response"].startswith(heard[0].rstrip("\ufffd"))
    assert heard[-1].rstrip("\ufffd") in response["response"]
    assert policy.answer(chat.turns("Hi"), heard.append) == response, "the same draws for the same turn"
    with pytest.raises(Failure, match="fills the model's context of 256 tokens"):
        policy.answer(chat.turns("x" * 252), heard.append)


def read(terminal: int, until: bytes, begun: float) -> bytes:
    found = b""
    while until not in found:
        assert time.monotonic() - begun < SECONDS, found
        if select.select([terminal], [], [], 0.1)[0]:
            found += os.read(terminal, 4096)
    return found


def ended_by(key: bytes, terminal: int, child: subprocess.Popen[bytes]) -> int:
    """Press the key, and again if nothing comes of it: Python loses one that arrives just before it begins to read."""
    for _ in range(3):
        os.write(terminal, key)
        with suppress(subprocess.TimeoutExpired):
            return child.wait(SECONDS / 3)
    raise AssertionError(f"pressed {key!r} three times")


@pytest.mark.parametrize("key", [b"\x04", pytest.param(b"\x03", marks=pytest.mark.slow)])
def test_a_conversation_in_a_terminal_ends_with_ctrl_d_or_ctrl_c(key, model):
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "rlnlp", "generate", str(model), "--chat", *DRAWN]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TERM": "dumb"}
    begun = time.monotonic()
    child = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
    )  # fmt: skip
    os.close(theirs)
    try:
        read(ours, b"> ", begun)
        os.write(ours, "Hällo\n".encode())
        assert "Hällo".encode() in read(ours, b"\n> ", begun)
        assert ended_by(key, ours, child) == 0
    finally:
        child.kill()
        os.close(ours)
