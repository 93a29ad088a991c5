"""TRL's RewardTrainer on the pairs of one workload, by an interpreter with trl (1.16), as the bench runs it."""

import argparse
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pairs import PAIRS
from peer_trl import Clock, common
from workload import tokenizer


def arguments() -> argparse.Namespace:
    """What the bench asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workload", choices=sorted(PAIRS), required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--attention", required=True)
    parser.add_argument("--matmul", required=True)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--accuracy", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Train, and tell how long each step took."""
    a = arguments()
    os.environ |= {"ACCELERATE_MIXED_PRECISION": "bf16" if a.bf16 else "no"}
    warnings.filterwarnings("ignore")
    import torch
    import transformers
    import trl
    from datasets import Dataset
    from datasets.utils import logging as data_logging
    from trl import RewardConfig, RewardTrainer

    torch.set_num_threads(a.threads)
    torch.set_float32_matmul_precision(a.matmul)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    data_logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    clock, work = Clock(), PAIRS[a.workload]
    settings = common(a) | {"learning_rate": work.rate, "gradient_checkpointing": a.recompute}
    config = RewardConfig(
        **settings, per_device_train_batch_size=work.batch, per_device_eval_batch_size=work.batch, max_steps=a.steps,
        max_length=None, lr_scheduler_type="linear", center_rewards_coefficient=0.01,
        model_init_kwargs={"dtype": "float32", "attn_implementation": a.attention},
    )  # fmt: skip
    sets = {
        name: Dataset.from_list([json.loads(row) for row in (a.data / f"{name}.jsonl").read_text().splitlines()])
        for name in ("pairs", "heldout")
    }
    words = tokenizer(a.model)
    words.padding_side = "right"
    trainer = RewardTrainer(
        model=str(a.model), args=config, processing_class=words, train_dataset=sets["pairs"],
        eval_dataset=sets["heldout"], callbacks=[clock.callback()],
    )  # fmt: skip
    clock.ticks.append(time.perf_counter())
    trainer.train()
    live = trainer.accelerator.unwrap_model(trainer.model)
    said = {
        "version": trl.__version__,
        "seconds": [after - before for before, after in zip(clock.ticks, clock.ticks[1:], strict=False)],
        "accuracy": trainer.evaluate()["eval_accuracy"] if a.accuracy else None,
        "effective": {
            "mixed_precision": trainer.accelerator.mixed_precision, "parameters": str(live.dtype),
            "attention": live.config._attn_implementation, "gradient_checkpointing": live.is_gradient_checkpointing,
        },
    }  # fmt: skip
    print("JSON " + json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
