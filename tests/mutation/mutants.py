"""Known mistakes put into a copy of the program one at a time: the tests must notice each.

To run: ``cd tests; python -m mutation.mutants``.

Most are bugs that published trainers have had. A pattern must occur exactly once, so that a change of the program
cannot turn a mutant into nothing without a word.
"""

import argparse
import gc
import multiprocessing
import os
import queue
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from mutation import (
    adapter_mutants,
    chat_mutants,
    check_mutants,
    compare_mutants,
    data_mutants,
    early_mutants,
    ending_mutants,
    evaluate_mutants,
    example_mutants,
    face_mutants,
    feedback_mutants,
    fit_mutants,
    long_mutants,
    memory_mutants,
    model_mutants,
    page_mutants,
    page_server_mutants,
    pair_mutants,
    people_mutants,
    plugins_mutants,
    ppo_mutants,
    preference_mutants,
    process_mutants,
    ptx_mutants,
    rates_mutants,
    reward_model_mutants,
    reward_mutants,
    round_report_mutants,
    rounds_mutants,
    sharing_mutants,
    stages_mutants,
    statistics_mutants,
    sweep_mutants,
    terminal_mutants,
    tracking_mutants,
    trust_mutants,
    use_mutants,
    words_mutants,
)

ROOT = Path(__file__).resolve().parent.parent.parent
IMPORTED = [  # before any mutant: nothing of the program itself
    "torch", "transformers.models.llama.modeling_llama", "transformers.models.gpt2.modeling_gpt2",
    "transformers.tokenization_utils_tokenizers", "hypothesis.strategies", "hypothesis.internal.conjecture.engine",
    "hydra.main", "hydra.compose", "rich.live", "rich.progress",
]  # fmt: skip
COPIED = ("rlnlp", "conf", "tests", "pyproject.toml")
MASKED, KL, ADVANTAGES, LOSSES, STATISTICS, REWARDS, TOKEN_STATISTICS = (
    f"maths/test_{n}" for n in ("masked", "kl", "advantages", "losses", "statistics", "rewards", "token_statistics")
)
DISTRIBUTION, TYPES, SAMPLING, POLICY = (
    "maths/test_distribution",
    "test_types",
    "rollout/test_sampling",
    "models/test_policy",
)
CHECKPOINT, RESUME, SIGNALS, STORAGE, NUMBERS, SWEEP = (
    f"{n}"
    for n in (
        "run/test_checkpoint",
        "commands/test_resume",
        "run/test_signals",
        "run/test_storage",
        "run/test_nonfinite",
        "cli/test_sweep_failures",
    )
)
MIGRATE = "config/test_migrate"
BEST, MEASURING, ORDER = "run/test_best", "config/test_measuring", "data/test_order"
GRADIENT, OPTIM = "algos/test_gradient", "algos/test_optim"
OBEYED = f"{SIGNALS}::test_a_step_that_takes_too_long_is_not_finished"
FINISHED = f"{SIGNALS}::test_the_step_is_finished_and_saved_in_every_phase_and_the_run_resumes_from_there"
AGAIN = f"{RESUME}::test_a_run_taken_up_after_any_step_ends_with_the_same_bytes"


@dataclass(frozen=True)
class Mutant:
    """One mistake: its name, the file below rlnlp/, what stands there, what is put there, the tests to run."""

    name: str
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]


def _mutants(file, *tests_and_changes):
    tests = tuple(t for t in tests_and_changes if isinstance(t, str))
    changes = (t for t in tests_and_changes if not isinstance(t, str))
    return [Mutant(name, file, right, wrong, tuple(own) or tests) for name, right, wrong, *own in changes]


GROUPS_OF = (
    ppo_mutants, ending_mutants, face_mutants, early_mutants, rates_mutants, reward_mutants, words_mutants,
    sweep_mutants, data_mutants, model_mutants, chat_mutants, check_mutants, compare_mutants, statistics_mutants,
    page_mutants, evaluate_mutants, pair_mutants, preference_mutants, feedback_mutants, page_server_mutants,
    reward_model_mutants, use_mutants, fit_mutants, memory_mutants, trust_mutants, terminal_mutants,
    rounds_mutants, ptx_mutants, round_report_mutants, example_mutants, people_mutants, stages_mutants, sharing_mutants,
    tracking_mutants, plugins_mutants,
    adapter_mutants, long_mutants, process_mutants,
)  # fmt: skip
MUTANTS = [
    *_mutants(
        "maths/masked.py", MASKED, REWARDS,
        ("a sum is divided by the part's own count", ".sum() / total", ".sum() / mask.sum()"),
        ("the mean counts padding", "reduce(x, mask, mask.sum())", "reduce(x, mask, mask.numel())"),
        ("padding is read", "loss.masked_fill(~mask, 0).sum()", "(loss * mask).sum()"),
        ("shapes may broadcast", "if loss.shape != mask.shape:", "if loss.dim() != mask.dim():"),
        ("the last position ignores holes",
         "positions.expand_as(mask).masked_fill(~mask, -1).amax(1)", "mask.sum(1) - 1"),
    ),
    *_mutants(
        "maths/kl.py", KL,
        ("k1 inverted", "return logprobs - ref_logprobs", "return ref_logprobs - logprobs"),
    ),
    *_mutants(
        "maths/rewards.py", REWARDS,
        ("the KL penalty is a bonus", "rewards - kl_coef", "rewards + kl_coef"),
        ("a hole is charged for its KL", "(rewards - kl_coef * kl.detach()).masked_fill(~mask, 0)",
         "rewards - kl_coef * kl.detach()"),
        ("a gradient passes through the penalty", "kl.detach()", "kl"),
        ("the score stands on the last column", "last_true(mask).unsqueeze(1)",
         "last_true(mask).unsqueeze(1) * 0 + mask.shape[1] - 1"),
    ),
    *_mutants(
        "maths/distribution.py", DISTRIBUTION, POLICY,
        ("the temperature is left out of drawing", "    logits = _tempered(logits, distribution)",
         "    logits = logits.float()"),
        ("the temperature is left out of scoring", "return _tempered(logits, distribution)", "return logits.float()"),
        ("the taken token has no temperature", "_tempered(logits, distribution).gather", "logits.gather"),
        ("a taken token at the border is ruled out",
         "return kept.scatter(-1, index, _tempered(logits, distribution).gather(-1, index))", "return kept"),
        ("half precision stays half", "logits.float() if logits.dtype", "logits if logits.dtype"),
        ("top-p drops the token that crosses", "probability.cumsum(-1) - probability >= distribution.top_p",
         "probability.cumsum(-1) > distribution.top_p"),
        ("top-p goes on when p is reached", "probability >= distribution.top_p", "probability > distribution.top_p"),
        ("top-p forgets the order", ".scatter(-1, order, beyond)", ".logical_or(beyond)"),
        ("top-k keeps one more", "logits.topk(distribution.top_k, dim=-1)",
         "logits.topk(distribution.top_k + 1, dim=-1)"),
        ("top-k parts what is equally likely", "logits < logits.topk(distribution.top_k, dim=-1).values[..., -1:]",
         "torch.ones_like(logits, dtype=torch.bool).scatter(-1, logits.topk(distribution.top_k).indices, False)"),
        ("greedy decoding draws", "if distribution.top_k == 1:", "if False:"),
        ("the minimum length is one longer", "(position < distribution.min_new_tokens)",
         "(position <= distribution.min_new_tokens)"),
        ("a token of probability 0 can be drawn", "right=True", "right=False"),
        ("tokens outside the filter may have a mass", "BANNED = -1e30", "BANNED = -10.0"),
    ),
    *_mutants(
        "maths/token_statistics.py", TOKEN_STATISTICS,
        ("the entropy has the wrong sign", "= log_z[rows] - centered.mul_(mass)",
         "= -log_z[rows] - centered.mul_(mass)"),
        ("a common offset costs digits", ".squeeze(1) - top - log_z, entropy", ".squeeze(1) - (top + log_z), entropy"),
        ("an impossible token spoils the entropy", ".unsqueeze(1)).clamp_(min=LOWEST)", ".unsqueeze(1))"),
        ("an impossible token spoils the entropy's gradient", "clamp(min=LOWEST) if ctx.impossible",
         "clamp(min=LOWEST) if False"),
        ("only the first rows are counted", "yield slice(start, start + size)", "yield slice(0, size)"),
        ("the entropy's gradient forgets the entropy", "(finite + entropy[rows].unsqueeze(1))", "finite"),
        ("the entropy has no gradient", "through_entropy = bool(by_entropy.any())", "through_entropy = False"),
        ("the taken token has no gradient of its own",
         "gradient.scatter_add_(1, tokens.unsqueeze(1), by_logprob.unsqueeze(1))", "pass"),
    ),
    *_mutants(
        "maths/advantages.py", ADVANTAGES,
        ("the baseline includes the sample", "(r.sum(1, keepdim=True) - r) / (group - 1)",
         "r.mean(1, keepdim=True).expand_as(r)"),
        ("the others are divided by all", "- r) / (group - 1)", "- r) / group"),
        ("the group's standard deviation is unbiased", "correction=0", "correction=1"),
        ("equal groups by an epsilon",
         "normalized.masked_fill(equal_groups(returns, group).unsqueeze(1), 0).reshape(-1)",
         "(groups(advantages, group) / (std + 1e-8)).reshape(-1)"),
        ("groups are interleaved", "x.view(-1, group)", "x.view(group, -1).T"),
    ),
    *_mutants(
        "maths/losses.py", LOSSES,
        ("the loss has the wrong sign", "-advantages.detach() * logprobs", "advantages.detach() * logprobs"),
        ("a gradient passes through the advantage", "-advantages.detach()", "-advantages"),
    ),
    *_mutants(
        "maths/statistics.py", STATISTICS,
        ("the interval has the population's standard deviation", "x.double().std()", "x.double().std(correction=0)"),
        ("the interval has n degrees of freedom", "stdtrit(n - 1,", "stdtrit(n,"),
        ("the interval is one-sided", "(1 + level) / 2)", "level)"),
        ("the mean's error is the sample's", "/ math.sqrt(n)", "/ 1"),
    ),
    *_mutants(
        "maths/shapes.py", TYPES,
        ("shapes may differ", "for t in tensors.values()}) > 1", "for t in tensors.values()}) > 2"),
    ),
    *_mutants(
        "types.py", TYPES,
        ("copies of a prompt are interleaved", ".repeat_interleave(times)", ".repeat(times)"),
        ("a nested batch is not cut", "return take(value, rows)", "return value"),
    ),
    *_mutants(
        "rollout/sampling.py", SAMPLING,
        ("the end token is left out of the mask", "mask[rows, t] = alive\n",
         "mask[rows, t] = alive & ~torch.isin(token, end)\n"),
        ("tokens after the end stay in", "alive = alive & ~last", "alive = ~last"),
        ("the numbers of another row", "uniforms[rows, t]", "uniforms[: len(rows), t]"),
        ("the cache loses other rows", "decoder.keep(keep)", "decoder.keep(keep.flip(0))"),
        ("all stop with the first", "if not bool(alive.any()):", "if not bool(alive.all()):"),
        ("the place starts at one", "torch.full_like(rows, t)", "torch.full_like(rows, t + 1)"),
        ("logits are not looked at", "finite(decoder(inputs, attention), t, rows)", "decoder(inputs, attention)"),
        ("padding is attended to", "attention, inputs, decoder = prompts.mask",
         "attention, inputs, decoder = prompts.mask | True"),
    ),
    *_mutants(
        "models/calling.py", POLICY,
        ("positions ignore left padding", "(attention.long().cumsum(1) - 1).clamp(min=0)",
         "torch.arange(attention.shape[1]).expand_as(attention)"),
    ),
    *_mutants(
        "models/reading.py", POLICY,
        ("log-probabilities are shifted by one", "torch.arange(read.shape[1] - width, read.shape[1]",
         "torch.arange(read.shape[1] - width - 1, read.shape[1] - 1"),
        ("padding is attended to when scoring", "attention = read.long() if",
         "attention = torch.ones_like(read).long() if"),
    ),
    *_mutants(
        "models/policy.py", POLICY,
        ("a hole counts as chosen", "logprobs.masked_fill(~rollout.mask, 0)",
         "logprobs.masked_fill(~rollout.attention[:, -rollout.mask.shape[1] :], 0)"),
        ("a user's turn counts towards the least length", "(rollout.mask.long().cumsum(1) - 1).clamp(min=0)",
         "torch.arange(rollout.mask.shape[1]).expand(rollout.mask.shape)"),
        ("dropout stays on", "lm.eval()", "lm"),
        ("the reference follows the policy", "copy.deepcopy(self).requires_grad_(False)", "copy.copy(self)"),
        ("an old answer is remembered", "last[0][0] is not rollout", "False"),
    ),
    *_mutants(
        "models/fast.py", POLICY,
        ("another rollout's pass is learned from", "if kept and rows is rollout", "if kept"),
        ("a pass is learned from again and again", "kept.pop() if", "kept[-1] if"),
        ("a pass without a graph is learned from", "[output] if has_graph(output) else []", "[output]"),
        ("a pass is never learned from", "[output] if has_graph(output) else []", "[]"),
    ),
    *_mutants(
        "batching.py", POLICY,
        ("rows come back in the order of their length", "torch.cat(parts)[torch.cat(rows).argsort()]",
         "torch.cat(parts)"),
    ),
    *_mutants(
        "algos/sft.py", "algos/test_sft",
        ("texts are fitted at temperature 1", "Distribution(algo.loss_temperature, 0,", "Distribution(1.0, 0,"),
    ),
    *_mutants(
        "algos/reinforce.py", GRADIENT,
        ("entropy is a price", "- algo.entropy_coef * out.entropy", "+ algo.entropy_coef * out.entropy"),
        ("the return forgets the penalty", "kl, rollout.mask, algo.kl_coef).sum(1)\n        advantages",
         "kl, rollout.mask, 0.0).sum(1)\n        advantages"),
        ("the advantage is the return", "returns - baseline(rollout.prompts, returns)", "returns"),
        ("groups are never normalized", 'if algo.normalize_advantages != "none":', "if False:"),
    ),
    *_mutants(
        "algos/update.py", GRADIENT, "algos/test_ppo_gradient",
        ("mean of micro-batch means", "reduce(losses.loss, losses.mask, total)",
         "reduce(losses.loss, losses.mask, losses.mask.sum()) * len(losses.mask) / len(mask)"),
        ("sequences and tokens are swapped", 'reduction == "sequences"', 'reduction == "tokens"'),
        ("only the first micro-batch counts", "for part in parts:", "for part in list(parts)[:1]:"),
        ("figures are sums", "total / tokens for name", "total for name"),
    ),
    *_mutants(
        "algos/baselines.py", OPTIM,
        ("the greedy value goes to another prompt", "return_of(rollout).repeat_interleave(group)",
         "return_of(rollout).repeat(group)"),
        ("the greedy response is of another prompt", "torch.arange(0, len(returns), group)",
         "torch.arange(len(returns) // group)"),
        ("the moving mean starts at 0", "self.sum / self.weight if", "self.sum if"),
        ("the moving mean holds no state", 'self.sum, self.weight = state["sum"], state["weight"]', "pass"),
    ),
    *_mutants(
        "algos/optim.py", OPTIM,
        ("the clip is never applied", "clip(parameters, algo.max_grad_norm, norm)",
         'clip(parameters, float("inf"), norm)'),
        ("a broken loss has a gradient", "loss.isfinite(), torch.ones_like(loss), math.nan", "loss == loss, 1.0, 1.0"),
        ("a broken gradient is taken", "if not bool(norm.isfinite()):", "if False:"),
        ("the schedule is a step ahead", "(step - 1 - algo.warmup_steps)", "(step - algo.warmup_steps)"),
        ("the warm-up is a step short", "/ (algo.warmup_steps + 1)", "/ algo.warmup_steps"),
        ("the schedule is not used", 'optimizer.defaults["lr"] * rate_fraction(algo, step)',
         'optimizer.defaults["lr"]'),
        ("gradients pile up", "optimizer.zero_grad(set_to_none=True)", "pass"),
        ("vectors decay too", 'if p.ndim < 2], "weight_decay": 0.0',
         'if p.ndim < 2], "weight_decay": algo.weight_decay'),
    ),
    *_mutants(
        "run/disk.py",
        ("a part of a file is taken for the whole", "rest = rest[written:]", "rest = rest[len(rest) :]",
         f"{STORAGE}::test_a_line_that_does_not_fit_leaves_none_of_itself"),
        ("a file is not on the disk when it has its name", "write_all(handle, data)\n        os.fsync(handle)",
         "write_all(handle, data)", f"{CHECKPOINT}::test_each_file_is_on_the_disk_before_the_checkpoint_has_its_name"),
        ("a folder's names are not on the disk", "    sync(target.parent)", "    pass",
         f"{CHECKPOINT}::test_each_file_is_on_the_disk_before_the_checkpoint_has_its_name"),
    ),
    *_mutants(
        "run/checkpoint.py", CHECKPOINT,
        ("a damaged checkpoint is loaded", "        if fault is None:", "        if True:"),
        ("a damaged one counts as kept", "p.name in verified or next(faults(p), None) is None", "True"),
        ("what others put there is cleared away", "if LEFTOVER.fullmatch(path.name):",
         "if path.name.startswith(STAGED):"),
        ("what was saved after a step stays", "if step_of(path) > step and", "if False and", BEST),
    ),
    *_mutants(
        "run/checksums.py", CHECKPOINT,
        ("a flipped bit is not looked for", "elif file_sha256(path) != digest:", "elif False:"),
        ("a manifest may say anything",
         "text != manifest_text(step, files) or (not below and directory.name != name_of(step))", "False"),
    ),
    *_mutants(
        "run/parts.py", CHECKPOINT,
        ("the optimizer starts anew", 'load_state_dict({"state": state,', 'load_state_dict({"state": {},'),
        ("parts with a state of JSON start anew", "        part.load_state_dict(plain)", "        pass"),
        ("old settings come back with the state", '"param_groups": part.state_dict()["param_groups"]})',
         '"param_groups": [{**g, "lr": 0.3} for g in part.state_dict()["param_groups"]]})'),
        ("a half-made update is saved", "if self._versions != list(_versions(self.parts)):", "if False:", OBEYED),
        ("the baseline of a broken-off step is saved", "self.parts[name].load_state_dict(state)", "pass", OBEYED),
    ),
    *_mutants(
        "run/jsonl.py", STORAGE,
        ("a torn line stays", "                os.ftruncate(self._handle, self._size)", "                pass",
         f"{STORAGE}::test_a_line_that_does_not_fit_leaves_none_of_itself"),
        ("lines of lost steps stay", 'later = last is not None and row["step"] > last', "later = False",
         f"{STORAGE}::test_lines_after_a_step_and_a_torn_one_are_removed"),
    ),
    *_mutants(
        "run/progress.py", NUMBERS,
        ("the counts start anew", 'state["totals"], state["best"]', 'self.totals, state["best"]', AGAIN),
        ("the run may be built from something else", "        if then == now:", "        if True:",
         f"{RESUME}::test_other_data_in_the_same_file_are_refused_unless_allowed"),
        ("lines that were changed are taken", "if not self.files[name].starts_with(state[name]):", "if False:",
         f"{RESUME}::test_lines_that_were_changed_by_hand_are_kept_aside_and_the_run_goes_on"),
        ("lines are not on the disk", "            file.sync()", "            pass",
         f"{STORAGE}::test_the_lines_are_on_the_disk_before_the_checkpoint_that_counts_them"),
        ("the best goes", "self.keep, self.best_step, self._verified)", "self.keep, None, self._verified)",
         f"{STORAGE}::test_two_valid_checkpoints_and_the_best_stay"),
        ("the best is not saved where nothing is due", "if due or self.best_step == self.done:", "if due:", BEST),
        ("patience starts anew", 'self.since_best = state["since_best"]', "pass", BEST),
        ("patience is not given back", "            self.since_best += 1", "            self.since_best = 99",
         f"{BEST}::test_training_ends_when_nothing_is_better_for_so_many_measurements"),
        ("broken weights are saved", "if (name := broken_weight(parts)) is not None:", "if name := None:"),
        ("skipped steps are not counted on", "self.consecutive_skips = 0 if finite else self.consecutive_skips + 1",
         "self.consecutive_skips = 0"),
    ),
    *_mutants(
        "evaluate/best.py", BEST,
        ("the result is what chose it", "return views.reporting() if run.config.chosen_by_heldout else views.whole()",
         "return views.whole()"),
        ("the best is compared with itself", "gain(of_best, of_last)", "gain(of_best, of_best)",
         f"{BEST}::test_policy_is_the_best_or_the_last_as_it_is_asked_for_and_the_report_says_which"),
        ("policy/ is never the best", 'if run.config.checkpoint.result == "best":', "if False:"),
    ),
    *_mutants(
        "config/measuring.py", MEASURING,
        ("measurements may cost what they like", "* size <= budget * cost", "<= budget * cost"),
        ("what is asked for is not measured", "needed or (", "("),
    ),
    *_mutants(
        "data/order.py", ORDER,
        ("all that is held out chooses", "if keys[i] not in choosing]", "]"),
        ("what is equal is taken apart", "keys[i] in choosing], [", "i in chosen], ["),
    ),
    *_mutants(
        "run/nonfinite.py", NUMBERS,
        ("a broken gradient spoils the next step", "    clear_gradients(parts)\n", "    pass\n"),
    ),
    *_mutants(
        "run/run.py", FINISHED,
        ("a save is interrupted", "with self.signals.deferred():\n                self.signals.end_step()",
         "if True:\n                self.signals.end_step()"),
    ),
    *_mutants(
        "run/ending.py", "run/test_ending",
        ("a stopped run saves nothing", "        progress.save_last_step()", "        pass", OBEYED),
        ("a signal is a failure", 'return "interrupted" if waits or code in SIGNALED else "failed", code',
         'return "failed", code'),
        ("the phase names no setting", "LESS_MEMORY.get(phase,", 'LESS_MEMORY.get("",'),
    ),
    *_mutants(
        "run/signals.py", SIGNALS,
        ("a signal in a save is lost", "        self.check()\n\n    def defer", "\n    def defer", FINISHED),
        ("a step is never finished", "rest is not None and rest <=", "rest is not None and rest <= 0 *", FINISHED),
        ("every step is finished", "and rest <= PATIENCE[signal.Signals(number)]:", ":", OBEYED),
        ("a step that hangs is waited for", "self._to_watch.get(timeout=patience)", "self._to_watch.get()",
         f"{SIGNALS}::test_a_step_that_hangs_after_all_is_left_when_the_time_is_over"),
        ("a second signal waits for the step", "        elif self._finishing:", "        elif False:",
         f"{SIGNALS}::test_a_second_signal_in_the_step_stops_at_once_in_good_order"),
        ("a second interrupt waits", "if number == signal.SIGINT:\n            if sys", "if False:\n            if sys",
         f"{SIGNALS}::test_a_second_interrupt_ends_at_once_and_the_last_checkpoint_is_valid"),
    ),
    *_mutants(
        "run/handlers.py", f"{SIGNALS}::test_ignored_signals_stay_ignored",
        ("ignored signals are obeyed", "is not signal.SIG_IGN", "is not None"),
    ),
    *_mutants(
        "run/lock.py", f"{STORAGE}::test_the_lock_names_its_owner",
        ("two may own a directory", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"),
    ),
    *_mutants(
        "run/manifest.py", f"{RESUME}::test_a_reward_function_of_the_user_s_must_be_named_again",
        ("a directory names code", "for key, value in code_in(config)]", "for key, value in []]"),
    ),
    *_mutants(
        "commands/resume.py",
        ("changed settings are taken", "    check_unchanged(directory)", "    pass",
         f"{RESUME}::test_settings_that_were_changed_in_the_directory_are_refused"),
        ("a sweep goes on with other settings", "    if other:", "    if False:",
         f"{RESUME}::test_a_job_of_a_sweep_starts_goes_on_is_left_alone_or_is_refused"),
    ),
    *_mutants(
        "config/changes.py",
        ("every change is allowed", "    if asked:", "    if False:",
         f"{RESUME}::test_a_setting_that_changes_the_steps_to_come_must_be_allowed_by_name"),
        ("what cannot change changes", "    if lost:", "    if False:",
         f"{RESUME}::test_a_setting_that_cannot_change_is_refused_even_if_allowed"),
        ("code in a map is not found", "isinstance(config, dict | list)", "isinstance(config, list)",
         f"{RESUME}::test_code_of_the_user_s_is_found_wherever_a_setting_may_name_it"),
    ),
    *_mutants(
        "config/choices.py",
        ("a change far below a group changes the old settings too", "copy.deepcopy(dict(base))", "dict(base)",
         f"{RESUME}::test_a_change_far_below_a_group_is_a_change_too"),
    ),
    *_mutants(
        "config/migrate.py", f"{MIGRATE}::test_a_step_reaches_its_dataclass_wherever_it_is_in_the_schema",
        ("old settings in a map stay", "{name: migrated(inner[0], value, version) for", "{name: value for"),
        ("a step is taken again", "if step.version > version and", "if"),
    ),
    *_mutants(
        "errors.py", f"{NUMBERS}::test_every_kind_of_memory_error_is_known_and_no_other",
        ("memory that runs out is a bug", '"DefaultCPUAllocator" in text or ', ""),
    ),
    *_mutants(
        "cli/job.py", SWEEP,
        ("a stopped sweep goes on", "            raise self.stopped", "            pass",
         f"{SWEEP}::test_a_signal_stops_the_job_and_the_sweep_and_says_how_to_go_on"),
        ("a sweep's file keeps secrets", '(self.sweep / "multirun.yaml").unlink(missing_ok=True)', "pass",
         f"{SWEEP}::test_a_secret_stands_in_no_file_of_a_run_or_a_sweep"),
    ),
    *(m for group in GROUPS_OF
      for file, tests, changes in group.GROUPS
      for m in _mutants(file, *tests, *changes)),
]  # fmt: skip


class FirstFailure:
    """Told by pytest of each report: the test that fails first, as a word that runs it again."""

    def __init__(self) -> None:
        self.test: str | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the first."""
        if report.failed and self.test is None:
            self.test = report.nodeid


def run(tree: Path, tests: tuple[str, ...]) -> str | None:
    """The first of ``tests`` that fails in ``tree``, or None. Ends the use of this process: what it imported stays.

    Raises:
        RuntimeError: the tests did not run, or not on the program in ``tree``.
    """
    if "rlnlp" in sys.modules:
        raise RuntimeError("this process has imported a program already: no test would see a mutant")
    sys.dont_write_bytecode = True  # two mutants of one second and one size would share their bytecode
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins that are imported already make pytest complain
    os.chdir(tree)
    sys.path.insert(0, str(tree))
    gc.freeze()  # pytest collects garbage at its end: not among the hundred thousands of things that were imported
    slow_too = ["-m", ""] if all("::" in test for test in tests) else []
    first = FirstFailure()
    with tempfile.TemporaryFile("w+") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *slow_too, *tests], plugins=[first])
        sys.stdout.flush()
        said.seek(0)
        text = said.read()
    if code not in (0, 1) or (code == 1) != bool(first.test):
        raise RuntimeError(f"the tests did not run:\n{text[-3000:]}")
    return first.test


def path_of(test: str) -> str:
    """``x/test_y`` or ``x/test_y::test_z`` as pytest takes it."""
    name, colons, one = test.partition("::")
    return f"tests/{name}.py{colons}{one}"


def killer(tree: Path, mutant: Mutant) -> str | None:
    """The test that notices ``mutant``, or None if it survives. The tree is as before afterwards."""
    file = tree / "rlnlp" / mutant.file
    text = file.read_text()
    if text.count(mutant.right) != 1:
        raise ValueError(
            f"'{mutant.name}': its pattern occurs {text.count(mutant.right)} times in {mutant.file}, not once"
        )
    file.write_text(text.replace(mutant.right, mutant.wrong))
    try:
        return run(tree, tuple(map(path_of, mutant.tests)))
    finally:
        file.write_text(text)


def copy_of(place: Path) -> Path:
    """The program and its tests below ``place``."""
    place.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    return place


def judge(trees: "queue.Queue[Path]", mutant: Mutant) -> str | None:
    """``killer`` in a tree that nobody else uses."""
    tree = trees.get()
    try:
        return killer(tree, mutant)
    finally:
        trees.put(tree)


def survivors(word: str = "", workers: int = 2, apart: int = 1) -> list[str]:
    """The names of the mutants that no test notices, among every ``apart``-th of those with ``word`` in name or file.

    Raises:
        RuntimeError: a test that killed a mutant fails on the program as it is too: that was no kill.
    """
    chosen = [m for m in MUTANTS if word in m.name or word in m.file][::apart]
    os.environ["OMP_NUM_THREADS"] = "1"
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(IMPORTED)
    alive, killers = [], set()
    with (
        tempfile.TemporaryDirectory() as place,
        fork.Manager() as manager,
        ProcessPoolExecutor(workers, mp_context=fork, max_tasks_per_child=1) as pool,  # they may have children
    ):
        trees = manager.Queue()
        for i in range(workers):
            trees.put(copy_of(Path(place) / str(i)))
        waiting = [(mutant, pool.submit(judge, trees, mutant)) for mutant in chosen]
        for mutant, answer in waiting:
            test = answer.result(timeout=600)
            print(f"{'KILLED  ' if test else 'SURVIVED'} {mutant.file:22} {mutant.name} | {test or ''}", flush=True)
            if test:
                killers.add(test)
            else:
                alive.append(mutant.name)
        if killers and (failing := pool.submit(run, copy_of(Path(place) / "whole"), tuple(sorted(killers))).result()):
            raise RuntimeError(f"{failing} fails without any mutant")
    print(f"{len(chosen) - len(alive)} of {len(chosen)} killed")
    return alive


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", metavar="WORD", help="only mutants with WORD in their name or file")
    parser.add_argument("--apart", type=int, default=1, metavar="N", help="only every N-th of them")
    asked = parser.parse_args()
    sys.exit(1 if survivors(asked.k, apart=asked.apart) else 0)
