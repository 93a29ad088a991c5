"""One trainer of TRL on one workload, by an interpreter with trl (1.9 for PPO), as the benches run it: prints JSON."""

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from workload import WORKLOADS, Workload, distinct_words, token_ids, tokenizer

RATE, KL_COEF, EPOCHS = 3e-6, 0.05, 4


def arguments() -> argparse.Namespace:
    """What the bench asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("algo", choices=["ppo", "rloo"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--attention", required=True)
    parser.add_argument("--matmul", required=True)
    parser.add_argument("--bf16", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Train, and tell how long each step took."""
    a = arguments()
    os.environ |= {"ACCELERATE_MIXED_PRECISION": "bf16" if a.bf16 else "no", "TRL_EXPERIMENTAL_SILENCE": "1"}
    warnings.filterwarnings("ignore")
    import torch
    import transformers
    import trl

    torch.set_num_threads(a.threads)
    torch.set_float32_matmul_precision(a.matmul)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    clock = Clock()
    work = WORKLOADS[a.workload]
    trainer = {"ppo": ppo, "rloo": rloo}[a.algo](a, work, clock)
    clock.ticks.append(time.perf_counter())
    trainer.train()
    live = trainer.accelerator.unwrap_model(trainer.model)
    policy = live.policy if a.algo == "ppo" else live
    said = {
        "version": trl.__version__,
        "seconds": [after - before for before, after in zip(clock.ticks, clock.ticks[1:], strict=False)],
        "tokens": statistics.mean(clock.lengths),
        "megabytes": torch.cuda.max_memory_allocated() / 2**20 if a.device == "cuda" else None,
        "effective": {
            "mixed_precision": trainer.accelerator.mixed_precision, "parameters": str(policy.dtype),
            "attention": policy.config._attn_implementation, "gradient_checkpointing": policy.is_gradient_checkpointing,
        },
    }  # fmt: skip
    print("JSON " + json.dumps(said), flush=True)


class Clock:
    """When each step ended, and how long the responses were."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.lengths: list[float] = []

    def callback(self):
        """What a trainer calls at the end of a step."""
        from transformers import TrainerCallback

        clock = self

        class Tick(TrainerCallback):
            def on_step_end(self, *seen, **named):
                clock.ticks.append(time.perf_counter())

        return Tick()

    def counting(self, policy):
        """``policy``, whose answers are measured."""
        generate = policy.generate

        def counted(**named):
            answer = generate(**named)
            tokens = answer if hasattr(answer, "shape") else answer.sequences
            self.lengths.append(tokens.shape[1] - named["input_ids"].shape[1])
            return answer

        policy.generate = counted
        return policy


def ppo(a: argparse.Namespace, work: Workload, clock: Clock):
    """PPO with four models, one minibatch per epoch."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    words, loaded = tokenizer(a.folder / "policy"), {"dtype": "float32", "attn_implementation": a.attention}
    policy, reference = (AutoModelForCausalLM.from_pretrained(a.folder / "policy", **loaded) for _ in range(2))
    judge, critic = (
        AutoModelForSequenceClassification.from_pretrained(a.folder / "reward", num_labels=1, **loaded)
        for _ in range(2)
    )
    config = PPOConfig(
        **common(a), per_device_train_batch_size=work.batch, num_mini_batches=1, num_ppo_epochs=EPOCHS,
        total_episodes=work.batch * a.steps, response_length=work.new, kl_coef=KL_COEF, temperature=1.0,
        local_rollout_forward_batch_size=work.batch, num_sample_generations=0, stop_token=None,
    )  # fmt: skip
    return PPOTrainer(
        args=config, processing_class=words, model=clock.counting(policy), ref_model=reference, reward_model=judge,
        value_model=critic, train_dataset=Dataset.from_dict({"input_ids": token_ids(a.folder)}),
        callbacks=[clock.callback()],
    )  # fmt: skip


def rloo(a: argparse.Namespace, work: Workload, clock: Clock):
    """REINFORCE with a leave-one-out baseline, one update per rollout."""
    from datasets import Dataset
    from trl import RLOOConfig, RLOOTrainer

    words = tokenizer(a.folder / "policy")
    prompts = [words.decode(ids) for ids in token_ids(a.folder)]
    config = RLOOConfig(
        **common(a), per_device_train_batch_size=work.batch, num_generations=work.group, max_steps=a.steps,
        max_completion_length=work.new, generation_kwargs={"min_new_tokens": work.new}, beta=KL_COEF, temperature=1.0,
        top_k=0, top_p=1.0, num_iterations=1, steps_per_generation=1,
        model_init_kwargs={"dtype": "float32", "attn_implementation": a.attention},  # of policy and reference
    )  # fmt: skip
    trainer = RLOOTrainer(
        model=str(a.folder / "policy"), args=config, reward_funcs=distinct_words, processing_class=words,
        train_dataset=Dataset.from_dict({"prompt": prompts}), callbacks=[clock.callback()],
    )  # fmt: skip
    clock.counting(trainer.model)
    return trainer


def common(a: argparse.Namespace) -> dict:
    """What both trainers are told: nothing saved, logged or shown."""
    return {
        "output_dir": str(Path(tempfile.gettempdir()) / "rlnlp-bench-trl"), "report_to": "none", "save_strategy": "no",
        "logging_strategy": "no", "disable_tqdm": True, "use_cpu": a.device == "cpu", "bf16": a.bf16, "seed": 0,
        "gradient_checkpointing": False, "learning_rate": RATE, "gradient_accumulation_steps": 1,
    }  # fmt: skip


if __name__ == "__main__":
    main()
