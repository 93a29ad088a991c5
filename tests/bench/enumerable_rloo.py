"""RLOO of TRL and our REINFORCE on a language whose every text can be listed: the share of the possible gain.

``python tests/bench/enumerable_rloo.py --peer-python PYTHON``. Same start, reward, KL price, learning rate and number
of samples; the objective is the exact one, and the optimum is known in closed form (tests/enumerable.py).
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]
SAMPLES, RATE, KL_COEF = 256, 3e-3, 0.5  # samples per step


def main() -> None:
    """Both on each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has trl and datasets")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--side", choices=["both", "trl", "ours"], default="both")
    a = parser.parse_args()
    for seed in map(int, a.seeds.split(",")):
        if a.side == "both":
            told = {side: said(a, side, seed) for side in ("trl", "ours")}
            print(f"seed {seed}, {a.steps * SAMPLES} samples: " + ", ".join(f"{s} {g:.4f}" for s, g in told.items()))
        else:
            print(json.dumps({"trl": trl, "ours": ours}[a.side](seed, a.steps)))


def said(a: argparse.Namespace, side: str, seed: int) -> float:
    """The share of one side, from a process of its own."""
    python = a.peer_python if side == "trl" else sys.executable
    words = [python, __file__, "--side", side, "--steps", str(a.steps), "--seeds", str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.splitlines()[-1])


def ours(seed: int, steps: int) -> float:
    """As in the test of the project."""
    from algos.test_enumerable import gained

    return gained(seed, total_steps=steps, num_generations=SAMPLES, learning_rate=RATE, kl_coef=KL_COEF)


def trl(seed: int, steps: int) -> float:
    """RLOOTrainer with the same settings, trained in place."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "ACCELERATE_MIXED_PRECISION": "no", "TRL_EXPERIMENTAL_SILENCE": "1"}
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    from trl import RLOOConfig, RLOOTrainer

    from support import enumerable

    torch.set_num_threads(1)
    language = enumerable.language(seed, KL_COEF)
    worth = {
        enumerable.key(row, mask): float(value)
        for row, mask, value in zip(
            language.texts.responses, language.texts.mask, language.rewards.tolist(), strict=True
        )
    }
    raw = Tokenizer(models.WordLevel({f"t{i}": i for i in range(enumerable.VOCABULARY)}, unk_token="t0"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    end = f"t{enumerable.START}"
    words = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="t0", eos_token=end, padding_side="left")
    config = RLOOConfig(
        output_dir=tempfile.mkdtemp(), report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
        use_cpu=True, bf16=False, seed=seed, gradient_checkpointing=False, learning_rate=RATE, weight_decay=0.0,
        lr_scheduler_type="linear", warmup_steps=0, max_grad_norm=1.0, per_device_train_batch_size=SAMPLES,
        gradient_accumulation_steps=1, num_generations=SAMPLES, max_steps=steps, beta=KL_COEF, temperature=1.0,
        max_completion_length=enumerable.LONGEST, top_k=0, top_p=1.0, num_iterations=1, steps_per_generation=1,
        model_init_kwargs={"dtype": "float32", "attn_implementation": "eager"},
    )  # fmt: skip

    def reward(completion_ids, **named):
        return [worth[tuple(ids)] for ids in completion_ids]

    start = tempfile.mkdtemp()
    language.policy.lm.save_pretrained(start)
    trainer = RLOOTrainer(
        model=start, args=config, reward_funcs=reward, processing_class=words,
        train_dataset=Dataset.from_dict({"prompt": [end] * steps}),
    )  # fmt: skip
    trainer.train()
    language.policy.lm.load_state_dict(trainer.model.state_dict())
    return language.gained()


if __name__ == "__main__":
    main()
