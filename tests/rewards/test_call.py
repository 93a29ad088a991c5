"""How a function is called: async ones, what is told of an error, and that no data stands in for a response."""

import asyncio

import pytest

from rlnlp.rewards.call import Batch, call_function
from rlnlp.rewards.terms import text_term
from rlnlp.types import Texts
from support.rewards import fails, three_texts

BATCH = Batch({"completions": ["one", "two three", ""]}, [1, 2, 1], [0, 1, 2])


def test_an_async_function_is_waited_for_always_in_the_same_loop(rollout):
    loops = []

    async def later(completions):
        loops.append(asyncio.get_running_loop())
        return await asyncio.gather(*(asyncio.sleep(0, len(text)) for text in completions))

    term = text_term("t", later, {}, three_texts)
    assert term(rollout).tolist() == term(rollout).tolist() == [3, 9, 0]
    assert loops[0] is loops[1]


def test_an_async_function_works_where_a_loop_is_running_already(rollout):
    async def later(completions):
        return [1, 2, 3]

    async def notebook():
        return text_term("t", later, {}, three_texts)(rollout).tolist()

    assert asyncio.run(notebook()) == [1, 2, 3]


def scored(text):
    return 1 / (len(text) - 9)


def each(completions):
    return [scored(text) for text in completions]


async def each_later(completions):
    await asyncio.sleep(0)
    return each(completions)


def none_of_them(completions):
    raise ValueError("\x1b[31mred")


@pytest.mark.parametrize(
    ("fn", "line", "given"),
    [
        (each, scored.__code__.co_firstlineno + 1, "given 'two three'"),
        (each_later, scored.__code__.co_firstlineno + 1, "given 'two three'"),
        (none_of_them, none_of_them.__code__.co_firstlineno + 1, "given 3 completions, the first 'one'"),
    ],
)
def test_an_error_is_told_with_file_line_and_the_text_that_was_given(fn, line, given):
    message = fails(7, "reward term 't' raised", call_function, "t", fn, BATCH, {})
    assert message.split("\n")[1] == f"{__file__}:{line}, {given}"
    assert "\x1b" not in message


def test_a_function_that_cannot_be_called_has_no_line_and_the_text_is_told():
    message = fails(7, "missing 1 required", call_function, "t", lambda completions, topic: [], BATCH, {})
    assert message.split("\n")[1] == "given 3 completions, the first 'one'"


def test_what_the_policy_wrote_is_given_whatever_the_data_calls_its_columns(rollout):
    texts = Texts(["p"] * 3, ["a", "b", "c"], [None] * 3, {"completions": ["data"] * 3, "prompts": ["data"] * 3})
    seen = []

    def f(prompts, completions):
        seen.extend([prompts, completions])
        return [0, 0, 0]

    text_term("t", f, {}, lambda _: texts)(rollout)
    assert seen == [["p"] * 3, ["a", "b", "c"]]


def test_an_argument_cannot_stand_in_for_what_the_policy_wrote():
    what = r"reward\.terms\.t\.args: 'completions' is what rlnlp gives"
    fails(2, what, text_term, "t", lambda completions: [], {"completions": ["x"]}, three_texts)
