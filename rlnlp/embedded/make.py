"""Make the embedded data: ``python -m rlnlp.embedded.make DIRECTORY`` writes the tokenizer and the data sets.

The model is then trained on the grammar's texts with ``rlnlp sft``, and ``... make DIRECTORY RUN`` writes the weights
of that run. The commands are in ``assets/README.md``.
"""

import json
import math
import sys
from collections import Counter
from pathlib import Path

from rlnlp.embedded.grammar import corpus

START, END, PAD = "<|start|>", "<|end|>", "<|pad|>"
SEED = 0
TRAIN, HELDOUT, PREFERENCES, COMMENTS = 2048, 512, 4000, 2000  # records
_RARE = -30.0  # log-probability of a single byte: less than that of any whole word


def write_assets(directory: Path) -> None:
    """Write the tokenizer into ``directory/embedded``, and the data sets into ``directory``."""
    save_tokenizer(directory / "embedded", corpus.texts(100_000, SEED))
    for name, records in data_sets().items():
        lines = [json.dumps(record) + "\n" for record in records]
        (directory / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def data_sets() -> dict[str, list[corpus.Record]]:
    """The records of each data set, by its file's name without the extension."""
    train, heldout = corpus.prompt_split(TRAIN, HELDOUT, SEED)
    preferences, moderation = corpus.preferences(PREFERENCES, SEED), corpus.moderation(COMMENTS, SEED)
    return {"prompts": train, "heldout": heldout, "preferences": preferences, "moderation": moderation}


def save_tokenizer(directory: Path, texts: list[str]) -> None:
    """Save a tokenizer in which each word of ``texts`` with its leading space is one token; other texts use bytes.

    A word of several tokens would be one that the model can misspell (unigram model: Kudo 2018, arXiv:1804.10959).
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    counts = Counter(word for text in texts for word, _ in words.pre_tokenize_str(text) if len(word) > 1)
    pieces = [(PAD, 0.0), (START, 0.0), (END, 0.0)]
    pieces += [(byte, _RARE) for byte in sorted(words.alphabet())]
    pieces += [(word, math.log(counts[word] / counts.total())) for word in sorted(counts)]
    raw = Tokenizer(models.Unigram(pieces, unk_id=None, byte_fallback=False))
    raw.pre_tokenizer = words
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, raw.token_to_id(START))]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=PAD, bos_token=START, eos_token=END)
    wrapped.save_pretrained(directory)


def save_model(directory: Path, policy: Path) -> None:
    """Save the weights of ``policy`` in bfloat16: half the bytes, and as good a starting point."""
    import torch
    from transformers import AutoModelForCausalLM

    lm = AutoModelForCausalLM.from_pretrained(policy, local_files_only=True, dtype=torch.bfloat16)
    lm.save_pretrained(directory)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write_assets(Path(sys.argv[1]))
    else:
        save_model(Path(sys.argv[1]) / "embedded", Path(sys.argv[2]) / "policy")
