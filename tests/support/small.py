"""Small real things for tests: a language model of a few thousand weights, its tokenizer, prompts, the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import models, pre_tokenizers, processors
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rlnlp.maths.distribution import Distribution
from rlnlp.models.policy import Policy
from rlnlp.types import Prompts

ROOT = Path(__file__).resolve().parent.parent.parent
WORDS = [
    "the",
    "a",
    "film",
    "food",
    "room",
    "is",
    "was",
    "very",
    "not",
    "good",
    "great",
    "bad",
    "awful",
    "okay",
    "i",
    "we",
    "loved",
    "hated",
    "it",
    ".",
    "!",
    "and",
    "but",
    "slow",
    "cold",
]
SPECIAL = ["<pad>", "<s>", "</s>"]  # ids 0, 1, 2
END = 2


def lm(
    vocabulary: int,
    width: int = 32,
    layers: int = 2,
    seed: int = 0,
    spread: float = 0.5,
    tied: bool = True,
    context: int = 64,
) -> LlamaForCausalLM:
    """A Llama with random weights; ``spread`` is their deviation, so that its distribution is far from flat."""
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=2, max_position_embeddings=context, initializer_range=spread, bos_token_id=1,
        eos_token_id=END, pad_token_id=None, tie_word_embeddings=tied, attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def gpt2() -> GPT2LMHeadModel:
    """A model with learned positions, where rotary ones would forgive a moved prompt; and with dropout left on."""
    config = GPT2Config(
        vocab_size=16, n_positions=64, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5, attn_pdrop=0.5,
        embd_pdrop=0.5, resid_pdrop=0.5, bos_token_id=1, eos_token_id=END, attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(9)
        return GPT2LMHeadModel(config).train()


def policy(vocabulary: int = 16, **kwargs) -> Policy:
    """A small policy."""
    return Policy(lm(vocabulary, **kwargs))


def plain(temperature: float = 1.0, end: int = END) -> Distribution:
    """The unrestricted distribution."""
    return Distribution(temperature, 0, 1.0, 0, (end,))


def prompts(*rows: list[int], pad: int = 0) -> Prompts:
    """Token lists of any lengths as a left-padded batch."""
    width = max(map(len, rows))
    tokens = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[False] * (width - len(row)) + [True] * len(row) for row in rows])
    return Prompts(tokens, mask, torch.arange(len(rows)))


def tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer with its own start token."""
    raw = RawTokenizer(models.WordLevel({w: i for i, w in enumerate([*SPECIAL, "<unk>", *WORDS])}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def save_model(place: Path) -> Path:
    """A small model and its tokenizer on disk."""
    words = tokenizer()
    lm(len(words)).save_pretrained(place)
    words.save_pretrained(place)
    return place


def write_prompts(path: Path, count: int) -> Path:
    """``count`` distinct prompts with a reference and a column ``topic``."""
    rows = [
        {
            "prompt": f"the {WORDS[2 + i % 3]} is {WORDS[7 + i % 7]} {WORDS[i % len(WORDS)]}",
            "reference": "very good !",
            "topic": WORDS[2 + i % 3],
        }
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rlnlp(*words, cwd: Path, stdin: str | None = None, env: dict[str, str] | None = None, timeout: float = 120):
    """The real command in a process of its own: (exit status, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, "-m", "rlnlp", *map(str, words)],
        cwd=cwd, input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **(env or {})},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr
