"""The embedded data, made anew: ``python -m rlnlp.data.embedded DIRECTORY [RUN]`` writes tokenizer and prompts.

The model is then fitted to the grammar's texts with ``rlnlp sft`` itself, and RUN, its run directory, named in a second
call. The model card says how.
"""

import json
import sys
from pathlib import Path

from rlnlp.data.grammar import corpus

START, END, PAD = "<|start|>", "<|end|>", "<|pad|>"
VOCABULARY, SEED = 3072, 0
TRAIN, HELDOUT = 2048, 512


def write_assets(place: Path) -> None:
    """Write ``tiny/tokenizer.json`` and its like, ``prompts.jsonl`` and ``heldout.jsonl`` below ``place``."""
    save_tokenizer(place / "tiny", corpus.texts(40_000, SEED))
    train, heldout = corpus.prompt_split(TRAIN, HELDOUT, SEED)
    for name, records in (("prompts", train), ("heldout", heldout)):
        lines = [json.dumps(record) + "\n" for record in records]
        (place / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def save_tokenizer(place: Path, texts: list[str]) -> None:
    """A byte-level BPE over ``texts``: frequent words are one token, and any other text can be written too."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    raw.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, raw.token_to_id(START))]
    )
    wrapped = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token=PAD, bos_token=START, eos_token=END)
    wrapped.save_pretrained(place)


def save_model(place: Path, policy: Path) -> None:
    """The weights of ``policy`` in bfloat16: half the bytes, and as good a start."""
    import torch
    from transformers import AutoModelForCausalLM

    lm = AutoModelForCausalLM.from_pretrained(policy, local_files_only=True, dtype=torch.bfloat16)
    lm.save_pretrained(place)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        write_assets(Path(sys.argv[1]))
    else:
        save_model(Path(sys.argv[1]) / "tiny", Path(sys.argv[2]) / "policy")
