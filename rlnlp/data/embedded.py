"""The embedded data, made anew: ``python -m rlnlp.data.embedded DIRECTORY [RUN]`` writes tokenizer and prompts.

The model is then fitted to the grammar's texts with ``rlnlp sft`` itself, and RUN, its run directory, named in a second
call. The model card says how.
"""

import json
import sys
from pathlib import Path

from rlnlp.data.grammar import corpus

START, END, PAD = "<|start|>", "<|end|>", "<|pad|>"
VOCABULARY, SEED = 4096, 0
TRAIN, HELDOUT, PREFERENCES, COMMENTS = 2048, 512, 4000, 2000


def write_assets(place: Path) -> None:
    """Write the tokenizer in ``tiny/``, and prompts, held-out prompts, preferences and comments below ``place``."""
    save_tokenizer(place / "tiny", corpus.texts(40_000, SEED))
    for name, records in data_sets().items():
        lines = [json.dumps(record) + "\n" for record in records]
        (place / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def data_sets() -> dict[str, list[corpus.Record]]:
    """The records of each embedded file, by its name without the ending."""
    train, heldout = corpus.prompt_split(TRAIN, HELDOUT, SEED)
    preferences, moderation = corpus.preferences(PREFERENCES, SEED), corpus.moderation(COMMENTS, SEED)
    return {"prompts": train, "heldout": heldout, "preferences": preferences, "moderation": moderation}


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
