"""Every setting is read somewhere in the package."""

import re

import pytest

from config.reads import Site, owners, read_at
from rlnlp.config.hints import ALGORITHM
from support.small import ROOT

OWNERS = owners()


@pytest.mark.parametrize("key", [key for key in OWNERS if key == "algo.name" or not ALGORITHM.fullmatch(key)])
def test_every_setting_is_read_somewhere(key):
    assert read_at(key, OWNERS[key])


def test_what_a_setting_is_read_by_is_what_the_source_says():
    for key, declared in OWNERS.items():
        for site in read_at(key, declared):
            near = (ROOT / site.file).read_text().splitlines()[site.line - 1 : site.line + 3]
            assert re.search(rf"\b{key.rpartition('.')[2]}\b", "\n".join(near)), (key, site)
    found = {str(site).partition(":")[0] for site in read_at("checkpoint.every", OWNERS["checkpoint.every"])}
    assert found == {"rlnlp/run/run.py"}, "two other groups have an 'every' of their own"
    sites = map(str, read_at("sampler.top_k", OWNERS["sampler.top_k"]))
    assert any(re.fullmatch(r"rlnlp/build\.py:\d+ distribution", site) for site in sites)
    assert len(read_at("seed", OWNERS["seed"])) > 3
    assert str(Site("a.py", 3, "f")) == "a.py:3 f"
