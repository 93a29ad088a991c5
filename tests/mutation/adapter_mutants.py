"""Mistakes in adapters: what they add, what they share, what is kept of them, and how fast they learn."""

LORA, RATES, RUNS = "models/test_lora", "config/test_rates", "algos/test_adapter_runs"
GROUPS = [
    ("models/lora.py", (), [
        ("the product is not scaled", "addmm_(narrow, b.t(), alpha=scale)", "addmm_(narrow, b.t())",
         f"{LORA}::test_a_layer_gives_w_x_plus_alpha_over_rank_b_a_x"),
        ("the gradient of B is not scaled", "(grad.t() @ narrow).mul_(ctx.scale)", "grad.t() @ narrow",
         f"{LORA}::test_gradients_are_those_of_autograd_on_merged_weights"),
        ("the product gives its input no gradient", "(grad @ weight).addmm_(of_narrow, a)", "(grad @ weight)",
         f"{LORA}::test_gradients_are_those_of_autograd_on_merged_weights"),
        ("the scale is not divided by the rank", "Product(a, b, alpha / rank)", "Product(a, b, alpha)",
         f"{LORA}::test_a_layer_gives_w_x_plus_alpha_over_rank_b_a_x"),
        ("the last adapter stays in use", "            self.current = before", "            pass",
         f"{LORA}::test_policy_and_critic_are_two_adapters_of_one_base"),
        ("a layer is recomputed with another adapter", "nullcontext(), self.using(self.current)",
         "nullcontext(), nullcontext()",
         f"{LORA}::test_layers_that_are_recomputed_use_the_adapter_of_their_first_pass"),
        ("weights are cast in each pass", "if self.cast is None or self.cast.dtype != dtype:", "if True:",
         f"{LORA}::test_in_bfloat16_the_base_is_cast_once_and_gives_the_same"),
        ("the end of a name means all layers of that name", "return ends if meant == set(layers) else sorted(layers)",
         "return ends", f"{LORA}::test_layers_are_named_by_the_end_of_their_names"),
    ]),
    ("models/policy.py", (), [
        ("the base learns too", "        self.lm.requires_grad_(False)\n", "        self.lm.eval()\n",
         f"{LORA}::test_only_the_adapter_learns_and_the_reference_is_the_base_without_a_copy"),
        ("the reference learns along", "start.adapter = copy.deepcopy(self.adapter).requires_grad_(False)",
         "start.adapter = self.adapter",
         f"{LORA}::test_the_reference_of_an_adapter_that_has_learned_is_as_it_was_at_the_start"),
    ]),
    ("models/critic.py", (), [
        ("the critic has the policy's adapter", "self.adapters.using(self.adapter)", "policy.adapted()",
         f"{LORA}::test_policy_and_critic_are_two_adapters_of_one_base"),
        ("a separate critic starts without the adapter", "        merge(trunk, policy.adapter)", "        pass",
         f"{LORA}::test_an_adapter_critic_has_the_values_of_a_whole_copy_and_a_separate_one_starts_where_the_policy_is"),
    ]),
    ("models/adapter_weights.py", (), [
        ("any base will do", 'record.get("sha256") != content_of(model)', "False",
         f"{LORA}::test_an_adapter_of_a_base_that_has_changed_is_refused"),
        ("an adapter of another scale learns on", "(adapter.rank, adapter.alpha) != (lora.rank, lora.alpha)",
         "adapter.rank != lora.rank", f"{LORA}::test_an_adapter_of_another_kind_is_not_learned_on"),
    ]),
    ("models/adapter_files.py", (f"{LORA}::test_what_peft_alone_can_load_is_left_to_it",), [
        ("what is not known changes nothing", "        and not any(others)\n", ""),
    ]),
    ("models/save.py", (f"{LORA}::test_merged_weights_are_a_whole_model_that_needs_no_base",), [
        ("adapters are never merged", "if policy.adapter is not None and not model.lora.merge:",
         "if policy.adapter is not None:"),
    ]),
    ("config/rates.py", (f"{RATES}::test_an_adapter_has_ten_times_the_rate_of_its_base",), [
        ("an adapter has the rate of its base", "* (ADAPTER if by_adapter else 1)", "* 1"),
        ("a critic of all weights has the rate of an adapter",
         'and (not of_critic or vars(algo)["critic"] != "separate")', ""),
        ("the reward model has the rate of an adapter", 'adapter and name == "policy"', "adapter",
         f"{RATES}::test_of_rounds_the_policy_is_the_adapter_and_the_reward_model_is_not"),
    ]),
    ("config/schema.py", (f"{RUNS}::test_what_does_not_work_with_an_adapter_is_refused_before_anything_is_loaded",), [
        ("a critic may be an adapter of nothing", 'if algo.critic == "adapter" and not model.lora.on:', "if False:"),
    ]),
]  # fmt: skip
