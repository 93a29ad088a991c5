"""Rows of judged answers as people have them, good, odd and broken: what each must give."""

from dataclasses import dataclass, field
from typing import Any

from rlnlp.data import answers, judged
from rlnlp.data.judged import Pair

ASKED = "\n\nHuman: hi\n\nAssistant: yes?\n\nHuman: the film?\n\nAssistant:"
USER, GOOD, BAD = ({"role": r, "content": c} for r, c in (("user", "hi"), ("assistant", "good"), ("assistant", "bad")))
SYSTEM, MORE = {"role": "system", "content": "be kind"}, {"role": "user", "content": "and?"}
PAIR = (Pair(0, 1),)


@dataclass(frozen=True)
class Case:
    """A row with the settings it is read with, and its prompt, answers and pairs, or why it is left out or refused."""

    name: str
    record: dict[str, Any]
    gives: Any
    settings: dict[str, Any] = field(default_factory=dict)


def two(chosen, rejected, **more):
    return {"chosen": chosen, "rejected": rejected, **more}


def label(preference, **more):
    return {"text1": "a", "text2": "b", "preference": preference, **more}


def several(**more):
    return {"prompt": "p", "responses": ["a", "b", "c"], **more}


def values(**labels):
    return {"values": labels}


USABLE = [
    Case("prompt beside texts", two("good", "bad", prompt="film?"), ("film?", ["good", "bad"], PAIR)),
    Case("no prompt", two("good", "bad"), (None, ["good", "bad"], PAIR)),
    Case("null prompt", two("good", "bad", prompt=None), (None, ["good", "bad"], PAIR)),
    Case("empty prompt of a table", two("good", "bad", prompt=""), (None, ["good", "bad"], PAIR)),
    Case("an answer that begins with its prompt", two("I see", "I do", prompt="I"), ("I", ["I see", "I do"], PAIR)),
    Case("dialogues", two(f"{ASKED} good", f"{ASKED} bad"), (ASKED, [" good", " bad"], PAIR)),
    Case("dialogues without a blank line in front", two(f"{ASKED[2:]} good", f"{ASKED[2:]} bad"),
         (ASKED[2:], [" good", " bad"], PAIR)),
    Case("dialogues beside their prompt", two(f"{ASKED} good", f"{ASKED} bad", prompt=ASKED),
         (ASKED, [" good", " bad"], PAIR)),
    Case("dialogues beside a prompt without the mark of the answer",
         two("Human: hi\n\nAssistant: good", "Human: hi\n\nAssistant: bad", prompt="Human: hi"),
         ("Human: hi\n\nAssistant:", [" good", " bad"], PAIR)),
    Case("a dialogue as the prompt", two(" good", " bad", prompt=ASKED), (ASKED, [" good", " bad"], PAIR)),
    Case("dialogues asked for", two(f"{ASKED} good", f"{ASKED} bad", prompt="write"),
         ("write", [f"{ASKED} good", f"{ASKED} bad"], PAIR)),
    Case("texts that name a human", two("Human: hi", "Human: ho"), (None, ["Human: hi", "Human: ho"], PAIR)),
    Case("the mark of a turn inside a line", two("a Assistant: b", "a Assistant: c"),
         (None, ["a Assistant: b", "a Assistant: c"], PAIR)),
    Case("conversations", two([SYSTEM, USER, GOOD], [SYSTEM, USER, BAD]), ([SYSTEM, USER], [GOOD, BAD], PAIR)),
    Case("answers as messages", two([GOOD], [BAD], prompt=[USER]), ([USER], [GOOD, BAD], PAIR)),
    Case("conversations beside their prompt", two([USER, GOOD], [USER, BAD], prompt=[USER]),
         ([USER], [GOOD, BAD], PAIR)),
    Case("conversations beside their prompt as text", two([USER, GOOD], [USER, BAD], prompt="hi"),
         ([USER], [GOOD, BAD], PAIR)),
    Case("messages behind a text", two([GOOD], [BAD], prompt="hi"), ([USER], [GOOD, BAD], PAIR)),
    Case("texts behind messages", two("good", "bad", prompt=[USER]), ([USER], [GOOD, BAD], PAIR)),
    Case("answers of several turns", two([GOOD, MORE, GOOD], [GOOD, MORE, BAD], prompt=[USER]),
         ([USER, GOOD, MORE], [GOOD, BAD], PAIR)),
    Case("messages of sharegpt", two([{"from": "human", "value": "hi"}, {"from": "gpt", "value": "good"}],
         [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "bad"}]), ([USER], [GOOD, BAD], PAIR)),
    Case("two answers of the assistant on end", two([USER, GOOD, GOOD], [USER, GOOD, BAD]),
         ([USER, GOOD], [GOOD, BAD], PAIR)),
    Case("the first is preferred", label(0), (None, ["a", "b"], PAIR)),
    Case("the second is preferred", label(1), (None, ["a", "b"], (Pair(1, 0),))),
    Case("a tie", label(0.5), (None, ["a", "b"], (Pair(0, 1, 0.5),))),
    Case("the label of a table", label("1", prompt="p"), ("p", ["a", "b"], (Pair(1, 0),))),
    Case("a tie of a table", label(" .5 "), (None, ["a", "b"], (Pair(0, 1, 0.5),))),
    Case("a label in words", label("a2"), (None, ["a", "b"], (Pair(1, 0),)), values(a1=0, a2=1)),
    Case("a label that is a number of something else", label(1), (None, ["a", "b"], PAIR), values(**{"1": 0, "2": 1})),
    Case("a fraction that is such a number", label(2.0), (None, ["a", "b"], (Pair(1, 0),)),
         values(**{"1": 0, "2": 1})),
    Case("a label that is true", label(True), (None, ["a", "b"], PAIR), values(true=0, false=1)),
    Case("a margin", label(1, margin=2), (None, ["a", "b"], (Pair(1, 0, 1.0, 2.0),))),
    Case("a margin of a table", two("a", "b", margin="0.5"), (None, ["a", "b"], (Pair(0, 1, 1.0, 0.5),))),
    Case("no margin in a cell", two("a", "b", margin="", weight=""), (None, ["a", "b"], PAIR)),
    Case("ratings", several(ratings=[1, 3, 3]), ("p", ["a", "b", "c"], (Pair(1, 0), Pair(2, 0), Pair(1, 2, 0.5)))),
    Case("ranks", several(ranking=[2, 3, 1]), ("p", ["a", "b", "c"], (Pair(0, 1), Pair(2, 0), Pair(2, 1)))),
    Case("equal ranks", several(ranking=[1, 1, 3]), ("p", ["a", "b", "c"], (Pair(0, 1, 0.5), Pair(0, 2), Pair(1, 2)))),
    Case("several to a conversation", {"prompt": [USER], "responses": ["good", "bad"], "ratings": [0.5, -1]},
         ([USER], [GOOD, BAD], PAIR)),
    Case("several dialogues", {"responses": [f"{ASKED} a", f"{ASKED} b"], "ratings": [1, 2]},
         (ASKED, [" a", " b"], (Pair(1, 0),))),
    Case("several of which two are the same", {"prompt": "p", "responses": ["a", "a", "b"], "ratings": [3, 1, 2]},
         ("p", ["a", "a", "b"], (Pair(0, 2), Pair(2, 1)))),
    Case("one answer where one is enough", {"prompt": "p", "responses": ["a"], "ratings": [3]}, ("p", ["a"], ()),
         {"fewest": 1}),
]  # fmt: skip
LEFT_OUT = [
    Case("dialogues that part early", two(f"{ASKED} a", f"{ASKED} a\n\nHuman: so?\n\nAssistant: b"), answers.DIFFER),
    Case("one more turn of the assistant", two(f"{ASKED} a\n\nAssistant: c", f"{ASKED} b"), answers.DIFFER),
    Case("a dialogue and a text", two(f"{ASKED} a", "b"), answers.DIFFER),
    Case("one dialogue of another prompt", two(f"{ASKED} a", "Human: x\n\nAssistant: b", prompt=ASKED), answers.DIFFER),
    Case("conversations that part early", two([USER, GOOD, MORE, BAD], [USER, BAD]), answers.DIFFER),
    Case("conversations with other systems", two([SYSTEM, USER, GOOD], [USER, BAD]), answers.DIFFER),
    Case("conversations that end with the user", two([USER, GOOD, MORE], [USER, GOOD, USER]), answers.UNANSWERED),
    Case("a dialogue that ends with the human", two(f"{ASKED} a\n\nHuman: so?", f"{ASKED} b"), answers.UNANSWERED),
    Case("identical texts", two("a", "a", prompt="p"), answers.IDENTICAL),
    Case("identical dialogues", two(f"{ASKED} a", f"{ASKED} a"), answers.IDENTICAL),
    Case("identical conversations", two([USER, GOOD], [USER, GOOD]), answers.IDENTICAL),
    Case("identical dialogues without an answer", two(ASKED, ASKED), answers.IDENTICAL),
    Case("a tie of identical texts", {"text1": "a", "text2": "a", "preference": 0.5}, answers.IDENTICAL),
    Case("several that are all the same", {"responses": ["a", "a"], "ratings": [1, 2]}, answers.IDENTICAL),
    Case("an empty answer", two("a", "", prompt="p"), judged.EMPTY),
    Case("an answer of spaces", two(" \n", "b"), judged.EMPTY),
    Case("a dialogue without its answer", two(f"{ASKED} a", ASKED), judged.EMPTY),
    Case("a message that says nothing", two([USER, GOOD], [USER, {**BAD, "content": ""}]), judged.EMPTY),
    Case("one of several is empty", several(ratings=[1, 2, 3]) | {"responses": ["a", "", "c"]}, judged.EMPTY),
    Case("one answer", {"prompt": "p", "responses": ["a"], "ratings": [3]}, judged.ALONE),
]  # fmt: skip
BROKEN = [
    Case("nothing", {}, "no fields 'chosen' and 'rejected', 'text1', 'text2' and 'preference', or 'responses' and"),
    Case("half a pair", {"chosen": "a"}, "(it has: chosen)"),
    Case("null", two("a", None), "(it has: chosen)"),
    Case("a number", two("a", 3), "'rejected' must be text, got int"),
    Case("a prompt that is a number", two("a", "b", prompt=3), "'prompt' must be text, got int"),
    Case("half a character", two("a", "\ud800"), "'rejected' has half a surrogate pair"),
    Case("a text and messages", two("a", [USER, BAD]), "some answers are texts and some are lists of messages"),
    Case("no messages", two([], [USER, BAD]), "'chosen' is a conversation without a turn"),
    Case("a speaker nobody knows", two([USER, GOOD], [{"role": "tool", "content": "x"}]), "'rejected', turn 1: role"),
    Case("no label", {"text1": "a", "text2": "b"}, "no field 'preference' (it has: text1, text2)"),
    Case("a label in words without values", label("a2"), "'preference' must be 0, 1 or .5, got 'a2'"),
    Case("a label that values lack", label("equal"), "got 'equal'", values(a1=0, a2=1)),
    Case("a label beyond", label(2), "'preference' must be 0, 1 or .5, got '2'"),
    Case("a label that is no number", label("nan"), "got 'nan'"),
    Case("a label that is false", label(False), "got 'false'"),
    Case("a value beyond", label("x"), "got 'x'", values(x=3)),
    Case("no ratings", several(), "'responses' need 'ratings' (higher is better) or a 'ranking' (1 is the best)"),
    Case("too few ratings", several(ratings=[1, 2]), "'ratings' must be a list of 3 numbers"),
    Case("a rating in words", several(ratings=[1, 2, "good"]), "'ratings' must be a number, got 'good'"),
    Case("an infinite rating", several(ratings=[1, 2, float("inf")]), "'ratings' must be a number, got inf"),
    Case("a rating that is true", several(ratings=[1, 2, True]), "'ratings' must be a number, got True"),
    Case("positions instead of ranks", several(ranking=[2, 0, 1]), "'ranking' must have the rank of each response"),
    Case("half a rank", several(ranking=[1, 1.5, 3]), "'ranking' must have the rank of each response"),
    Case("responses that are one text", {"responses": "a", "ratings": [1]}, "'responses' must be a list of answers"),
    Case("a margin of several", several(ratings=[1, 2, 3], margin=1), "'margin' is for two answers"),
    Case("a margin below nothing", two("a", "b", margin=-1), "'margin' must not be below 0, got -1"),
    Case("a margin in words", two("a", "b", margin="much"), "'margin' must be a number, got 'much'"),
    Case("a margin of a tie", label(0.5, margin=1), "'margin' of a tie must be 0, got 1"),
    Case("no weight", two("a", "b", weight=0), "'weight' must be more than 0, got 0"),
    Case("an annotator that is a list", two("a", "b", annotator=["x"]), "'annotator' must be text or a number"),
    Case("no group", two("a", "b"), "no 'topic' to split by (it has: chosen, rejected)", {"group": "topic"}),
    Case("an empty group", two("a", "b", topic=" "), "no 'topic' to split by", {"group": "topic"}),
]  # fmt: skip
