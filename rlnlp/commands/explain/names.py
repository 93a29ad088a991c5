"""What a setting is called elsewhere. Where a library has no such setting, or it means something else: nothing."""

NONE = "-"
ROLLOUT = "actor_rollout_ref.rollout"
ACTOR = "actor_rollout_ref.actor"
ELSEWHERE: dict[str, tuple[str, str]] = {  # key: (TRL, verl); older or algorithm-bound names after a comma
    "seed": ("seed", "data.seed"),
    "checkpoint.every": ("save_steps", "trainer.save_freq"),
    "checkpoint.keep": ("save_total_limit", "trainer.max_actor_ckpt_to_keep"),
    "heldout.every": ("eval_steps", "trainer.test_freq"),
    "samples.show": ("num_completions_to_print", NONE),
    "algo.total_steps": ("max_steps, total_episodes", "trainer.total_training_steps"),
    "algo.batch_size": ("batch_size", "data.train_batch_size"),
    "algo.num_generations": ("num_generations", f"{ROLLOUT}.n"),
    "algo.micro_batch_size": ("per_device_train_batch_size", f"{ACTOR}.ppo_micro_batch_size_per_gpu"),
    "algo.learning_rate": ("learning_rate", f"{ACTOR}.optim.lr"),
    "algo.lr_schedule": ("lr_scheduler_type", f"{ACTOR}.optim.lr_scheduler_type"),
    "algo.optimizer": ("optim", f"{ACTOR}.optim.optimizer"),
    "algo.warmup_steps": ("warmup_steps", f"{ACTOR}.optim.lr_warmup_steps"),
    "algo.max_grad_norm": ("max_grad_norm", f"{ACTOR}.grad_clip"),
    "algo.weight_decay": ("weight_decay", f"{ACTOR}.optim.weight_decay"),
    "algo.baseline": (NONE, "algorithm.adv_estimator"),
    "algo.normalize_advantages": ("scale_rewards", "algorithm.norm_adv_by_std_in_grpo"),
    "algo.kl_coef": ("beta, kl_coef", "algorithm.kl_ctrl.kl_coef"),
    "algo.entropy_coef": (NONE, f"{ACTOR}.entropy_coeff"),
    "algo.missing_eos_penalty": ("missing_eos_penalty", NONE),
    "algo.ppo_epochs": ("num_ppo_epochs, num_iterations", f"{ACTOR}.ppo_epochs"),
    "algo.mini_batch_size": ("mini_batch_size", f"{ACTOR}.ppo_mini_batch_size"),
    "algo.cliprange": ("cliprange, epsilon", f"{ACTOR}.clip_ratio_low"),
    "algo.cliprange_high": ("epsilon_high", f"{ACTOR}.clip_ratio_high"),
    "algo.cliprange_value": ("cliprange_value", "critic.cliprange_value"),
    "algo.vf_coef": ("vf_coef", NONE),
    "algo.gamma": ("gamma", "algorithm.gamma"),
    "algo.lam": ("lam", "algorithm.lam"),
    "algo.kl_estimator": ("kl_estimator", "algorithm.kl_penalty"),
    "algo.kl_target": (NONE, "algorithm.kl_ctrl.target_kl"),
    "algo.kl_horizon": (NONE, "algorithm.kl_ctrl.horizon"),
    "algo.whiten_rewards": ("whiten_rewards", NONE),
    "algo.critic_path": ("value_model", "critic.model.path"),
    "algo.critic_learning_rate": (NONE, "critic.optim.lr"),
    "algo.critic_warmup_steps": (NONE, "trainer.critic_warmup"),
    "model.gradient_checkpointing": ("gradient_checkpointing", "actor_rollout_ref.model.enable_gradient_checkpointing"),
    "device.dtype": ("bf16", f"{ACTOR}.fsdp_config.mixed_precision.param_dtype"),
    "algo.loss_reduction": ("loss_type", f"{ACTOR}.loss_agg_mode"),
    "model.path": ("model_name_or_path", "actor_rollout_ref.model.path"),
    "model.tokenizer": (NONE, "actor_rollout_ref.model.tokenizer_path"),
    "data.prompts": ("dataset_name", "data.train_files"),
    "data.texts": ("dataset_name", "data.train_files"),
    "data.heldout": (NONE, "data.val_files"),
    "sampler.temperature": ("temperature", f"{ROLLOUT}.temperature"),
    "sampler.top_k": ("top_k", f"{ROLLOUT}.top_k"),
    "sampler.top_p": ("top_p", f"{ROLLOUT}.top_p"),
    "sampler.max_new_tokens": ("max_completion_length, response_length", "data.max_response_length"),
    "reward.terms.<name>.fn": ("reward_funcs", "custom_reward_function.path"),
    "reward.terms.<name>.weight": ("reward_weights", NONE),
    "device.name": (NONE, "trainer.device"),
}


def elsewhere(key: str) -> tuple[str, str]:
    """The names of ``key`` in TRL and verl, ``-`` where there is none."""
    return ELSEWHERE.get(key, (NONE, NONE))


def named_elsewhere(word: str) -> list[str]:
    """Our keys for a name of TRL or verl; the last parts of a dotted name are enough (``rollout.n``)."""
    return [key for key, both in ELSEWHERE.items() if any(_is(word, name) for name in ", ".join(both).split(", "))]


def _is(word: str, name: str) -> bool:
    return name != NONE and (name == word or name.endswith(f".{word}"))
