r"""The reward ``exact-answer``: how numbers are read, against hand-written texts; rows without one; a run."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rlnlp.commands.preflight import checked_config
from rlnlp.errors import Failure
from rlnlp.rewards.text.exact_answer import answer, exact_answer
from support import runs, small
from support.inside import rlnlp

GSM8K = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 48+24 = <<48+24=72>>72 altogether.\n#### 72"
DIGITS = [str(i) for i in range(10)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        # behind the last ####
        (GSM8K, 72), ("#### 42", 42), ("####42", 42), ("it is 7\n#### 1,000\n", 1000), ("#### $1,234.50", "1234.5"),
        ("####-5", -5), ("#### -$5", -5), ("#### $-5", -5), ("#### **42**", 42), ("#### 42 apples, not 7", 42),
        ("#### 8 apples\n#### 9 apples", 9), ("#### 1/3", "1/3"), ("#### 4\nthen \\boxed{5} and 6", 4),
        ("#### Step 1\nthere are 7", 7), ("#### 4\n#### Conclusion", 4), ("#### 18.\n", 18),
        # in the last box
        (r"\boxed{42}", 42), (r"so \boxed{\frac{1}{2}} of 3", "1/2"), (r"\boxed{-\frac12}", "-1/2"),
        (r"\boxed{\$1{,}000}", 1000), (r"\boxed{1,\!000\text{ cm}}", 1000), (r"\boxed{x=\dfrac{3}{4}} 9", "3/4"),
        (r"\boxed{3} or \boxed{4}.", 4), (r"\boxed{} is 6", 6), (r"\boxed{5", 5),
        # the last number
        ("the answer is 42.", 42), ("5 - 3 = 2", 2), ("x = -3", -3), ("x = −3", -3), ("(3)-2", 2), ("x-3", 3),
        ("from 10-12", 12), ("- 4 apples", 4), ("1, 2, 3", 3), ("1,000,000 people", 1000000), ("1,2345", 2345),
        ("3.50", "7/2"), ("is .5.", "1/2"), ("it is...5", 5), ("3/4", "3/4"), ("6/8", "3/4"), ("1 1/2 cups", "3/2"),
        ("12/60 = $0.20.", "1/5"), ("50%", 50), (r"50\%", 50), ("100€", 100), ("£ 5", 5), ("2e3", 2000),
        ("1.5e-2", "3/200"), ("H2O takes 5, see B12", 5), ("答案是42", 42), ("**$42**", 42), ("+7", 7),
        # none
        ("", None), ("none", None), ("v1.2.3", None), ("5/0", None), ("9" * 5000, None), ("####", None),
    ],
)  # fmt: skip
def test_the_answer_is_the_number_behind_the_last_mark_else_in_the_last_box_else_the_last_one(text, number):
    assert answer(text) == (None if number is None else Fraction(number))


@pytest.mark.parametrize(
    ("text", "number"),
    [("#### 42", 42), (r"\boxed{42}", 42), ("the answer is 42", None), ("#### Step 1\nthere are 7", None)],
)
def test_strict_reads_no_number_without_a_mark_or_a_box(text, number):
    assert answer(text, "strict") == number
    assert exact_answer([text], ["#### 42"], "strict") == [float(number == 42)]


def test_values_are_1_for_the_reference_s_number_however_it_is_written_else_0():
    said = ["#### 1000.50", "$1,000.5", "1000.51", "no idea", "-1,000.50", "#### 1000.5 dollars"]
    assert exact_answer(said, ["#### $1,000.50"] * 6) == [1, 1, 0, 0, 0, 1]
    assert exact_answer([r"\boxed{\frac{3}{4}}", "0.75", "75%", "1"], ["0.75", "3/4", "75", "one: 1"]) == [1, 1, 1, 1]


@given(st.integers(-(10**12), 10**12), st.integers(0, 6))
def test_every_decimal_is_read_back_in_every_notation(whole, places):
    number = Fraction(whole, 10**places)
    sign, plain = "-" if whole < 0 else "", f"{abs(whole) // 10**places:,}"
    decimals = f".{abs(whole) % 10**places:0{places}d}" if places else ""
    written = [f"{sign}{plain}{decimals}", f"{sign}{plain.replace(',', '')}{decimals}"]
    for each in [*written, f"{sign}${plain}{decimals}", f"{sign}{abs(whole)}/{10**places}"]:
        for text in (f"#### {each}\n", f"\\boxed{{{each}}}", f"2 is not it; it is {each}.", f"{each} %"):
            assert answer(text) == number
    assert answer(f"\\boxed{{{sign}\\frac{{{abs(whole)}}}{{{10**places}}}}}") == number


@given(st.text("0123456789,./-+$%#\\{} ebox\n", max_size=60))
def test_no_text_of_marks_and_digits_is_more_than_right_or_wrong(text):
    assert exact_answer([text], ["1"]) in ([0.0], [1.0])


def refused(tmp_path, rows, *words):
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(Failure) as failure:
        checked_config(runs.settings(["reward=exact-answer", f"data.prompts={tmp_path}/sums.jsonl", *words]))
    return failure.value.code, str(failure.value).split("\n")


def test_a_row_without_an_answer_is_exit_3_with_its_line(tmp_path):
    rows = [{"question": "1+1", "answer": "#### 2"}, {"question": "how", "answer": "many"}, {"question": "?"}]
    code, (what, advice) = refused(tmp_path, rows, "data=gsm8k", "data.system=null")
    assert (code, what.split(": ")[1]) == (3, "sums.jsonl:2, sums.jsonl:3")
    assert "needs a number as the 'reference' of every prompt" in what
    assert "data.columns={reference: answer}" in advice


def test_of_many_rows_without_an_answer_five_are_named_and_the_others_counted(tmp_path):
    code, (what, _) = refused(tmp_path, [{"prompt": f"{i}", "reference": "x"} for i in range(8)])
    assert code == 3
    assert what.endswith("sums.jsonl:5 (+3 more)")


def test_a_term_that_needs_any_reference_names_the_lines_too(tmp_path):
    rows = [{"prompt": "a", "reference": "b"}, {"prompt": "c"}]
    code, (what, _) = refused(tmp_path, rows, "reward=classic")
    assert (code, what.split(": ")[1]) == (3, "sums.jsonl:2")


def arithmetic_model(place):
    """A small model with random weights whose words are those of sums."""
    words = ["<pad>", "<s>", "</s>", "<unk>", "plus", "is", "####", *DIGITS]
    raw = RawTokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    small.lm(len(words)).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def test_a_run_on_questions_and_answers_measures_and_raises_the_pass_rate(tmp_path):
    model = arithmetic_model(tmp_path / "model")
    rows = [{"question": f"{i} plus {5 - i} is", "answer": f"{i} + {5 - i} = 5\n#### 5"} for i in range(6)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with runs.without_pictures():
        code, _, err = rlnlp(
            "train", "algo=reinforce", "data=gsm8k", "data.system=null", "data.prompts=sums.jsonl",
            "reward=exact-answer", f"model.path={model}", "sampler.max_new_tokens=3", "algo.batch_size=6",
            "algo.num_generations=16", "algo.total_steps=25", "algo.learning_rate=1e-2", "algo.kl_coef=0",
            "device=cpu", "heldout.size=48", "heldout.every=0", "hydra.run.dir=run", cwd=tmp_path,
        )  # fmt: skip
    assert code == 0, err
    result = json.loads((tmp_path / "run" / "run.json").read_text())["result"]
    before, after = (result[when]["terms"]["exact-answer"] for when in ("before", "after"))
    assert before < 0.4
    assert after > 0.8
    samples = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert samples
    assert all(each["terms"]["exact-answer"] == float(answer(each["response"]) == 5) for each in samples)
