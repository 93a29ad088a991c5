"""The scores of a reward model over a table of judged answers: features that are kept, held-out scores, the scale."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlnlp import build
from rlnlp.batching import AtOnce, pad_to, parts_at_once
from rlnlp.config.reward_model import PAIRS, RewardModelFit
from rlnlp.config.schema import RewardModelRun
from rlnlp.data.judged_batch import JudgedBatch, row_groups
from rlnlp.data.preference_table import PreferenceTable
from rlnlp.data.units import prompt_key
from rlnlp.errors import Exit, Failure
from rlnlp.evaluate.best import Result
from rlnlp.maths.preferences import Normalization, normalization_overall, normalization_within_prompts
from rlnlp.models.reward_files import save_reward_model
from rlnlp.models.reward_model import RewardModel, Rngs
from rlnlp.models.text_tokens import TextReader, TextTokens, text_batch
from rlnlp.processes.rows import alone, is_first, own_of, process_count, whole
from rlnlp.processes.sharding import full_state, is_sharded, whole_weights
from rlnlp.run.manifest import REWARD_MODEL
from rlnlp.run.run import Run

Scorer = Callable[[JudgedBatch, Rngs | None], Tensor]
Raw = Callable[[Sequence[int]], list[Tensor]]  # rows -> the members' raw scores of each, (M, K)
RESPONSES = 512  # of a model, that its scores are normalized on
OVERALL = "one response a prompt: scores are normalized by their standard deviation over all prompts, not within them"


class FeatureCache:
    """What a frozen trunk makes of each text of a table, computed when it is first asked for.

    As much of them as is ``at_once`` goes through the trunk together. ``spent`` are the seconds that it took so far.
    """

    def __init__(self, model: RewardModel, table: PreferenceTable, at_once: AtOnce) -> None:
        self.model, self.at_once = model, at_once
        self.known = torch.zeros(sum(len(row.texts) for row in table.rows), dtype=torch.bool)
        self.kept = torch.empty(0)
        self.lengths = torch.tensor([len(text) for row in table.rows for text in row.texts])
        self.spent = 0.0

    def __call__(self, batch: JudgedBatch) -> Tensor:
        """The features of the texts of a batch, (B, D)."""
        begun = time.monotonic()
        lacking = [i for i, number in enumerate(batch.numbers.tolist()) if not self.known[number]]
        sizes = [(1, len(batch.texts[i])) for i in lacking]
        for part in (lacking[of] for of in parts_at_once(sizes, *self.at_once)):
            texts = text_batch([batch.texts[i] for i in part], self.model.pad, self.model.device)
            found = self.model.features(texts)
            if not len(self.kept):
                self.kept = found.new_zeros(len(self.known), found.shape[1])
            self.kept[batch.numbers[part]] = found
            self.known[batch.numbers[part].cpu()] = True
        if lacking:
            self.kept[:1].cpu()  # a device that is asked to compute answers at once, and computes later
            self.spent += time.monotonic() - begun
        return self.kept[batch.numbers]

    def left(self) -> float:
        """The seconds that the features of all other texts take, by their tokens."""
        known = int(self.lengths[self.known].sum())
        return self.spent / known * int(self.lengths[~self.known].sum()) if known else 0.0


def scored_at_once(model: RewardModel, cache: FeatureCache | None, algo: RewardModelFit) -> AtOnce:
    """How much is scored together: as ``algo`` says, or as the model's size allows; kept features are small."""
    found = model.at_once(algo.micro_batch_size, algo.micro_batch_tokens)
    return found if cache is None else AtOnce(found.texts)


def scorer(model: RewardModel, cache: FeatureCache | None) -> Scorer:
    """``batch -> raw scores`` of the members, (M, B); with a ``cache`` only the heads are computed."""
    if cache is not None:
        return lambda batch, rngs: model.heads_on(cache(batch), rngs)
    return lambda batch, rngs: model(text_batch(batch.texts, model.pad, model.device), rngs)


@torch.no_grad()
def scores_of_rows(
    score: Scorer, batch: Callable[[Sequence[int]], JudgedBatch], table: PreferenceTable, rows: Sequence[int],
    texts: int, tokens: int | None = None,
) -> list[Tensor]:  # fmt: skip
    """The members' raw scores of the answers of each of ``rows``, (M, K) each; ``texts`` at once, of ``tokens``.

    Several processes share them.
    """
    found: dict[int, Tensor] = {}
    mine = own_of(rows)
    for group in row_groups(table, sorted(mine, key=lambda r: table.lengths[r]), texts, tokens):
        raw = score(batch(group), None).cpu()
        parts = raw.split([len(table.rows[r].texts) for r in group], dim=1)
        found |= dict(zip(group, parts, strict=True))
    if process_count() == 1 or not rows:
        return [found[r] for r in rows]
    counts = [len(table.rows[r].texts) for r in rows]
    widest = whole(torch.stack([pad_to(found[r], max(counts)) for r in mine]), len(rows))
    return [scores[:, :count] for scores, count in zip(widest, counts, strict=True)]


def reward_model_result(
    config: RewardModelRun, run: Run, model: RewardModel, reader: TextReader, table: PreferenceTable, raw: Raw,
    fresh: Callable[[], RewardModel],
) -> Result:  # fmt: skip
    """The reward model as what the run hands over: its scores are put on their scale before it is saved.

    ``fresh`` makes a model like it.
    """

    def save() -> None:
        normalize(config, run, model, reader, table, raw)
        whole_model = unsharded(model, fresh)
        if is_first() and (note := save_reward_model(run.directory / REWARD_MODEL, whole_model, reader)) is not None:
            run.log_message(note)

    return Result(REWARD_MODEL, model, model.device, lambda: None, save)


def unsharded(model: RewardModel, fresh: Callable[[], RewardModel]) -> RewardModel:
    """``model`` itself; of one in parts a ``fresh`` one with its weights, in the first process."""
    if not is_sharded(model):
        return model
    state = full_state(model)
    if not is_first():
        return model
    with alone():
        made = fresh()
    made.load_state_dict(state)
    return made


def normalize(
    config: RewardModelRun, run: Run, model: RewardModel, reader: TextReader, table: PreferenceTable, raw: Raw
) -> None:
    """Let the scores of ``algo.normalize_on`` have mean 0, and standard deviation 1 within prompts."""
    algo = config.algo
    if algo.normalize_on == PAIRS:
        scores = torch.cat(raw(table.train), dim=1)
        prompts = prompts_of(table, table.train)
    else:
        scores, prompts = scores_of_model(config, model, reader, table)
    several = len(set(prompts)) < len(prompts)
    if not several:
        run.log_message(OVERALL)
    numbers = torch.tensor(prompts)
    scales = [normalization(each, numbers, several) for each in scores.cpu()]
    model.normalize([scale.gain for scale in scales], [scale.bias for scale in scales])


def normalization(scores: Tensor, prompts: Tensor, several: bool) -> Normalization:
    """Gain and bias of a member; ``several``: a prompt has two scores or more."""
    if len(scores) < 2:
        return Normalization(1.0, -float(scores.mean()))
    return normalization_within_prompts(scores, prompts) if several else normalization_overall(scores)


def prompts_of(table: PreferenceTable, rows: Sequence[int]) -> list[int]:
    """The number of the prompt of each answer of ``rows``; answers without a prompt belong to their row."""
    numbers: dict[object, int] = {}
    found = []
    for r in rows:
        key = prompt_key(table.rows[r].row.prompt)
        number = numbers.setdefault(("row", r) if key is None else ("prompt", key), len(numbers))
        found += [number] * len(table.rows[r].texts)
    return found


def scores_of_model(
    config: RewardModelRun, model: RewardModel, reader: TextReader, table: PreferenceTable
) -> tuple[Tensor, list[int]]:
    """The members' raw scores of responses of the model ``algo.normalize_on``, (M, N), and their prompts' numbers.

    Two or more are drawn to each of at most 256 prompts of the training rows, ``RESPONSES`` or a few more in all.

    Raises:
        Failure: exit 3, if the rows have no prompts; exit 4, for a model that cannot be loaded.
    """
    prompts = list({prompt_key(row.prompt): row.prompt for row in (table.rows[r].row for r in table.train)}.values())
    asked = [prompt for prompt in prompts if prompt is not None][: RESPONSES // 2]
    if not asked:
        what = f"algo.normalize_on={config.algo.normalize_on}: the judged answers have no prompts to respond to"
        raise Failure(Exit.DATA, f"{what}\nuse algo.normalize_on=pairs")
    count = max(2, -(-RESPONSES // len(asked)))
    policy = build.sampled_model(config, config.algo.normalize_on)
    texts: list[TextTokens] = []
    for i, response in enumerate(policy.generate(asked, count)):
        texts.append(reader.tokens(asked[i // count], response["response"]))
    numbers = [i // count for i in range(len(texts))]
    at_once = model.at_once(config.algo.micro_batch_size, config.algo.micro_batch_tokens)
    with whole_weights(model):
        return model.raw_scores(texts, *at_once), numbers
