"""The settings of each algorithm, group `algo`. The values are in conf/algo_NAME.yaml."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlnlp.config.setting import ACTOR, ROLLOUT, Problem, setting

DRAW = 4.0  # forward passes that drawing a response costs, about; 3 to 5 on a CPU


@dataclass(frozen=True)
class Optimization:
    """What every algorithm's optimizer needs."""

    total_steps: int = setting(
        "length of the run", "steps", ge=1,
        resume="free",  # to be allowed where the learning rate falls towards the last step: config/changes.py
        trl="max_steps, total_episodes", verl="trainer.total_training_steps",
    )  # fmt: skip
    batch_size: int = setting(
        "prompts (texts, for sft; judged rows, for reward-model) per step", ge=1,
        trl="batch_size", verl="data.train_batch_size",
    )  # fmt: skip
    micro_batch_size: int = setting(
        "responses in memory at once; changes no result", "responses", ge=1,
        trl="per_device_train_batch_size", verl=f"{ACTOR}.ppo_micro_batch_size_per_gpu",
    )  # fmt: skip
    micro_batch_tokens: int | None = setting(
        "tokens in memory at once, padding included; null means any; changes no result", "tokens", ge=1,
        verl=f"{ACTOR}.ppo_max_token_len_per_gpu",
    )  # fmt: skip
    learning_rate: float | None = setting(
        "peak learning rate; null means by the size of the model", ge=0, trl="learning_rate", verl=f"{ACTOR}.optim.lr"
    )
    optimizer: Literal["adamw", "adamw-8bit", "muon"] = setting(
        "adamw-8bit: moments of 8 bits; muon: orthogonalized steps for inner matrices, AdamW for the rest",
        resume="never", trl="optim", verl=f"{ACTOR}.optim.optimizer",
    )  # fmt: skip
    lr_schedule: Literal["constant", "linear", "cosine"] = setting(
        "how the learning rate falls, to 0 at the end or not at all",
        trl="lr_scheduler_type", verl=f"{ACTOR}.optim.lr_scheduler_type",
    )  # fmt: skip
    warmup_steps: int = setting(
        "the learning rate rises linearly from 0 over these", "steps", ge=0,
        trl="warmup_steps", verl=f"{ACTOR}.optim.lr_warmup_steps",
    )  # fmt: skip
    max_grad_norm: float = setting(
        "gradient-norm clipping threshold", gt=0, trl="max_grad_norm", verl=f"{ACTOR}.grad_clip"
    )
    weight_decay: float = setting(
        "fraction of the learning rate by which matrices shrink each step", ge=0,
        trl="weight_decay", verl=f"{ACTOR}.optim.weight_decay",
    )  # fmt: skip

    @property
    def peak_rate(self) -> float:
        """The learning rate, once the size of the model is known."""
        assert self.learning_rate is not None, "decided when the model is loaded"
        return self.learning_rate

    @property
    def responses(self) -> int:
        """Responses (texts, for sft) of a step."""
        return self.batch_size

    @property
    def relative_cost(self) -> float:
        """The cost of learning from a response over that of measuring one: in forward passes, a backward is two."""
        return 3.0

    @property
    def further_steps(self) -> int:
        """Steps of further fits, after those of the run."""
        return 0

    def problems(self) -> Iterator[Problem]:
        """A warm-up longer than the run."""
        if self.warmup_steps > self.total_steps:
            yield "warmup_steps", f"must be <= algo.total_steps {self.total_steps}, got {self.warmup_steps}"


@dataclass(frozen=True)
class Sft(Optimization):
    """Supervised fine-tuning: make given texts likely."""

    name: Literal["sft"] = setting("the algorithm", resume="never")
    loss_temperature: float = setting(
        "the loss divides the logits by it; above 1 the model is surer than its texts", gt=0
    )


@dataclass(frozen=True)
class OnPolicy(Optimization):
    """What every algorithm needs that learns from its own responses."""

    num_generations: int = setting("responses per prompt", ge=1, trl="num_generations", verl=f"{ROLLOUT}.n")
    kl_coef: float = setting(
        "KL penalty coefficient (beta), in units of the reward per nat", ge=0,
        trl="beta, kl_coef", verl="algorithm.kl_ctrl.kl_coef",
    )  # fmt: skip
    entropy_coef: float = setting(
        "entropy bonus coefficient, per nat of a token's entropy", ge=0, verl=f"{ACTOR}.entropy_coeff"
    )
    missing_eos_penalty: float = setting(
        "taken off the score of a response that never reached the end token", ge=0, trl="missing_eos_penalty"
    )
    loss_reduction: Literal["sequences", "tokens"] = setting(
        "the loss is divided by the number of these in the update", trl="loss_type", verl=f"{ACTOR}.loss_agg_mode"
    )

    @property
    def responses(self) -> int:
        """Responses of a rollout."""
        return self.batch_size * self.num_generations

    @property
    def relative_cost(self) -> float:
        """Measured are drawing and the passes of policy and reference; learning adds a backward pass."""
        return (DRAW + 4) / (DRAW + 2)


@dataclass(frozen=True)
class Reinforce(OnPolicy):
    """REINFORCE with a baseline and a KL penalty."""

    name: Literal["reinforce"] = setting("the algorithm", resume="never")
    baseline: Literal["none", "batch", "ema", "leave-one-out", "greedy"] = setting(
        "what a return is compared with", resume="never", verl="algorithm.adv_estimator"
    )
    ema_decay: float = setting("fraction of the old mean in baseline=ema", ge=0, lt=1)
    normalize_advantages: Literal["none", "group", "batch"] = setting(
        "divide by the standard deviation of the returns of the prompt (group, as GRPO) or of the batch",
        trl="scale_rewards", verl="algorithm.norm_adv_by_std_in_grpo",
    )  # fmt: skip

    def problems(self) -> Iterator[Problem]:
        """Group statistics over groups of one."""
        yield from super().problems()
        leave_one_out, by_group = self.baseline == "leave-one-out", self.normalize_advantages == "group"
        if self.num_generations < 2 and (leave_one_out or by_group):
            why = "algo.baseline=leave-one-out" if leave_one_out else "algo.normalize_advantages=group"
            yield "num_generations", f"must be >= 2 with {why}, got {self.num_generations}"


@dataclass(frozen=True)
class Ppo(OnPolicy):
    """Proximal policy optimization with a critic."""

    name: Literal["ppo"] = setting("the algorithm", resume="never")
    ppo_epochs: int = setting(
        "passes over a rollout", ge=1, trl="num_ppo_epochs, num_iterations", verl=f"{ACTOR}.ppo_epochs"
    )
    mini_batch_size: int | None = setting(
        "responses per update; null means the whole rollout", "responses", ge=1,
        trl="mini_batch_size", verl=f"{ACTOR}.ppo_mini_batch_size",
    )  # fmt: skip
    cliprange: float = setting(
        "the probability ratio counts down to 1 less this", gt=0, lt=1,
        trl="cliprange, epsilon", verl=f"{ACTOR}.clip_ratio_low",
    )  # fmt: skip
    cliprange_high: float = setting(
        "the probability ratio counts up to 1 plus this", gt=0, trl="epsilon_high", verl=f"{ACTOR}.clip_ratio_high"
    )
    target_kl: float | None = setting("a rollout's updates stop at this approx_kl; null means never", "nats", gt=0)
    gamma: float = setting("discount per token", ge=0, le=1, trl="gamma", verl="algorithm.gamma")
    lam: float = setting(
        "lambda of the advantage estimate: 0 trusts the critic, 1 the returns", ge=0, le=1,
        trl="lam", verl="algorithm.lam",
    )  # fmt: skip
    kl_estimator: Literal["k1", "k2", "k3"] = setting(
        "the KL of a token in the reward", trl="kl_estimator", verl="algorithm.kl_penalty"
    )
    kl_target: float | None = setting(
        "kl_coef follows this KL per response; null means a fixed kl_coef", "nats", gt=0,
        resume="never", verl="algorithm.kl_ctrl.target_kl",
    )  # fmt: skip
    kl_horizon: float = setting(
        "responses over which kl_coef adapts", "responses", gt=0, verl="algorithm.kl_ctrl.horizon"
    )
    whiten_rewards: bool = setting(
        "divide the rewards of a rollout by their standard deviation; the mean stays", trl="whiten_rewards"
    )
    critic: Literal["shared", "separate", "adapter"] = setting(
        "a value head on the policy, a model of its own, or a second adapter of the policy's base", resume="never"
    )
    critic_path: str | None = setting(
        "what a separate critic starts from: null means the policy, or a reward model",
        resume="never", trl="value_model", verl="critic.model.path",
    )  # fmt: skip
    critic_learning_rate: float | None = setting(
        "learning rate of the critic, or of its head; null means by the size of the policy",
        ge=0,
        verl="critic.optim.lr",
    )
    critic_warmup_steps: int = setting(
        "in the first steps only the critic learns", "steps", ge=0, verl="trainer.critic_warmup"
    )
    vf_coef: float = setting(
        "weight of the value loss beside the policy loss, for a shared critic", ge=0, trl="vf_coef"
    )
    cliprange_value: float = setting("value clip range", gt=0, trl="cliprange_value", verl="critic.cliprange_value")

    @property
    def relative_cost(self) -> float:
        """Measured are drawing and the passes of policy and reference; learning adds the critic, and the epochs."""
        models = 1 if self.critic == "shared" else 2
        return (DRAW + 3 + 3 * models * self.ppo_epochs) / (DRAW + 2)

    @property
    def minibatch(self) -> int:
        """Responses of an update."""
        return self.responses if self.mini_batch_size is None else self.mini_batch_size

    def problems(self) -> Iterator[Problem]:
        """Updates that do not fit the rollout; settings of the critic that is not there."""
        yield from super().problems()
        if self.responses % self.minibatch:
            fit = [n for n in range(1, self.responses + 1) if self.responses % n == 0]
            below = [n for n in fit if n < self.minibatch][-1:]
            near = " or ".join(str(n) for n in below + [n for n in fit if n > self.minibatch][:1])
            whole = f"must divide the {self.responses} responses of a step (batch_size x num_generations)"
            yield "mini_batch_size", f"{whole}: {near}, got {self.minibatch}"
        if self.critic != "separate" and self.critic_path is not None:
            kind = "an adapter" if self.critic == "adapter" else "a shared critic"
            yield "critic_path", f"needs algo.critic=separate: {kind} has no model of its own"
        if self.critic_warmup_steps >= self.total_steps:
            yield (
                "critic_warmup_steps",
                f"must be < algo.total_steps {self.total_steps}, got {self.critic_warmup_steps}",
            )
