"""Every family that transformers knows for causal language models works or is refused; the guide's table says which."""

import re
import shutil

import pytest
import transformers

from rlnlp.commands.guide import PAGES
from support import families, family_cells

VERSION = "5.23"  # of transformers, which the table was measured with
FAULT = re.compile(r"exit|(?<!generate )differs")  # what no cell may say
FEW = (  # one for each kind of cache, of position and of refusal
    "bloom", "opt", "roberta", "gemma2", "mixtral", "deepseek_v3", "lfm2_moe", "qwen3_next", "mamba", "gpt_neo", "bart",
    "xlnet",
)  # fmt: skip


def table():
    """What the guide says of each family."""
    found = {}
    for line in (PAGES / "models.md").read_text(encoding="utf-8").split("## Families")[1].splitlines():
        row = re.fullmatch(r"\| (.+) \| `(.+)` \|", line)
        found |= dict.fromkeys(row[2].split("`, `"), row[1]) if row else {}
    return found


SAID = table()


@pytest.mark.skipif(not transformers.__version__.startswith(f"{VERSION}."), reason=f"of transformers {VERSION}")
def test_the_table_of_the_guide_has_each_family_once():
    assert set(SAID) == set(families.FAMILIES)
    text = (PAGES / "models.md").read_text(encoding="utf-8").split("## Families")[1]
    assert all(text.count(f"`{family}`") == 1 for family in SAID)
    assert not [said for said in SAID.values() if FAULT.search(said)]


def check(family, place):
    got = family_cells.summary(family_cells.measured(family, place))
    shutil.rmtree(place)  # some are large, and there are many
    assert not FAULT.search(got)
    assert got == SAID[family]


@pytest.mark.slow
@pytest.mark.parametrize("family", FEW)
def test_one_family_of_each_kind_is_as_the_guide_says(family, tmp_path):
    check(family, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("family", families.FAMILIES)
def test_each_family_is_as_the_guide_says(family, tmp_path):
    check(family, tmp_path)
