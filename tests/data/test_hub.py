"""Data sets of the hub, in a cache that the library datasets itself has made; no network."""

from importlib.util import find_spec

import pytest

from rlnlp.config.data import Reading
from rlnlp.config.hub import cached_subsets, hub_content, hub_name
from rlnlp.data.sources import preference_records, prompt_records, text_records
from rlnlp.errors import Exit, Failure
from rlnlp.run.manifest import data_id
from support.data import READING

HERE = pytest.mark.skipif(find_spec("datasets") is None, reason="needs datasets: pip install 'rlnlp[hub]'")
ROWS = {
    "train": [{"question": f"what is {i} ?", "text": f"it is {i} .", "chosen": "a", "rejected": "b"} for i in range(5)],
    "test": [{"question": "who is it ?", "text": "nobody .", "chosen": "c", "rejected": "d"}],
}


def reading(**more):
    return Reading(**{**READING, **more})


def refused(name, key="data.prompts", **more):
    with pytest.raises(Failure) as failure:
        prompt_records(key, name, reading(**more), "prompts.jsonl")
    assert len(str(failure.value).split("\n")) <= 3
    return failure.value.code, str(failure.value)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache with ``an-owner/ManyWords``, of one subset, and ``an-owner/two``, of two."""
    import datasets

    class Made(datasets.GeneratorBasedBuilder):
        def _info(self):
            return datasets.DatasetInfo(
                features=datasets.Features(dict.fromkeys(ROWS["test"][0], datasets.Value("string")))
            )

        def _split_generators(self, _):
            return [datasets.SplitGenerator(name=split, gen_kwargs={"rows": rows}) for split, rows in ROWS.items()]

        def _generate_examples(self, rows):
            yield from enumerate(rows)

    datasets.disable_progress_bars()
    place = tmp_path_factory.mktemp("hub")
    for name, subset in (("ManyWords", "default"), ("two", "easy"), ("two", "hard")):
        Made(
            cache_dir=str(place), dataset_name=name, repo_id=f"an-owner/{name}", config_name=subset, hash="0123abcd"
        ).download_and_prepare()
    return place


@pytest.fixture
def cached(cache, monkeypatch):
    import datasets

    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("hub:openai/gsm8k", ("openai/gsm8k", None)),
        ("hub:openai/gsm8k/main", ("openai/gsm8k", "main")),
        ("hub:gsm8k", None),
        ("hub:a/../b", None),
        ("hub:a/b/c/d", None),
        ("hub: a/b", None),
    ],
)
def test_a_name_has_an_owner_a_name_and_perhaps_a_subset(name, parts):
    assert hub_name(name) == parts


def test_without_a_copy_nothing_is_fetched_and_the_words_say_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    code, text = refused("hub:gsm8k")
    assert (code, text) == (
        Exit.CONFIG, "data.prompts: hub:gsm8k: a data set of the hub is hub:owner/name, or hub:owner/name/subset",
    )  # fmt: skip
    code, text = refused("hub:an-owner/none")
    assert code == Exit.DATA
    if find_spec("datasets") is None:
        assert text.endswith("needs the library datasets\ninstall it: pip install 'rlnlp[hub]'")
    else:
        assert text.endswith("is not in the local cache of the hub\nset data.allow_download=true to fetch it")
    assert hub_content("hub:an-owner/none") == data_id("hub:an-owner/none") == "hub:an-owner/none"


@HERE
@pytest.mark.slow
def test_prompts_texts_and_pairs_come_from_the_named_split_and_columns(cached):
    name, columns = "hub:an-owner/ManyWords", {"prompt": "question"}
    assert cached_subsets("an-owner/ManyWords") == ["default"]
    found = prompt_records("data.prompts", name, reading(columns=columns), "prompts.jsonl")
    assert found.total == 5
    assert [record["prompt"] for _, record in found.records] == [row["question"] for row in ROWS["train"]]
    assert found.records[4][0] == "an-owner/ManyWords:5"
    held = prompt_records("data.heldout", name, reading(columns=columns), "heldout.jsonl")
    assert [record["prompt"] for _, record in held.records] == ["who is it ?"]
    part = text_records("data.texts", [name, name], reading(split="train[1:3]"))
    assert [record["text"] for _, record in part.records] == ["it is 1 .", "it is 2 ."] * 2
    pairs = preference_records("data.preferences", name, reading(split="test"), filed=True)
    assert pairs.records[0][1]["chosen"] == "c"
    assert pairs.records[0][1]["file"] == "ManyWords"


@HERE
@pytest.mark.slow
def test_what_is_not_in_a_copy_is_told_with_what_is(cached):
    code, text = refused("hub:an-owner/ManyWords", split="trian")
    assert code == Exit.CONFIG
    assert "has no split 'trian'" in text
    assert "data.split=train" in text
    assert "data.heldout_split=" in refused("hub:an-owner/ManyWords", "data.heldout", heldout_split="tset")[1]
    code, text = refused("hub:an-owner/two")
    assert (code, text.split("\n")[1]) == (Exit.CONFIG, "choose one: hub:an-owner/two/easy, hub:an-owner/two/hard")
    code, text = refused("hub:an-owner/two/odd")
    assert (code, "(here are: easy, hard)" in text) == (Exit.DATA, True)
    found = prompt_records("data.prompts", "hub:an-owner/two/hard", reading(columns={"prompt": "question"}), "x", 10)
    assert (len(found.records), found.total) == (5, 5)
    assert "cannot be read" in refused("hub:an-owner/two/hard", split="train[a:b]")[1]


@HERE
@pytest.mark.slow
def test_another_revision_is_other_content(cached, cache):
    before = data_id("hub:an-owner/two/hard"), data_id("hub:an-owner/two/easy")
    (folder,) = cache.glob("an-owner___two/hard/*/0123abcd")
    folder.rename(folder.with_name("4567ef"))
    after = data_id("hub:an-owner/two/hard"), data_id("hub:an-owner/two/easy")
    folder.with_name("4567ef").rename(folder)
    assert before[0] != after[0]
    assert before[1] == after[1]
    assert len({*before, *after}) == 3
