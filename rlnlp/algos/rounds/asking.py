"""What people are asked in a round: which responses they compare and rate, and what they have said so far."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlnlp.algos.rounds.draws import responses
from rlnlp.algos.rounds.model import RoundModel
from rlnlp.algos.setup import OnPolicySetup
from rlnlp.config.annotator import Annotator
from rlnlp.config.rlhf import Rlhf
from rlnlp.data.answers import Answer, words
from rlnlp.data.order import rows_of_step
from rlnlp.data.preference_table import PreferenceTable, table_of
from rlnlp.data.preferences import judgements_of
from rlnlp.errors import Exit, Failure, counted, one_line
from rlnlp.feedback.pairs import Standing, comparisons, judged_rows
from rlnlp.feedback.recency import recency_weights
from rlnlp.feedback.records import RATED, NewItem, content_sha256
from rlnlp.feedback.selection import at_random, by_disagreement, candidates
from rlnlp.feedback.told import ToldStore
from rlnlp.models.chat import Prompt
from rlnlp.processes.rows import told
from rlnlp.rewards.model.learned import Asked
from rlnlp.run.run import Run

SET = "data.feedback"


class Asking:
    """Puts questions into the feedback set of a run, and reads what was answered. ``shared``: others may use it too."""

    def __init__(
        self,
        store: ToldStore,
        setup: OnPolicySetup,
        model: RoundModel,
        algo: Rlhf,
        annotator: Annotator,
        run: Run,
        shared: bool,
    ) -> None:
        self.store, self.setup, self.model = store, setup, model
        self.algo, self.annotator, self.run = algo, annotator, run
        self.id, self.shared = told(lambda: str(run.facts["id"])), shared

    def compare(self, round: int) -> int:
        """Ask which of two responses of the present policy is better, as often as the settings say; how often that is.

        In the first round less often, if judgements are there that other runs or people brought.

        Raises:
            Failure: exit 3, if there are no two different responses to a prompt.
        """
        table, algo = self.setup.table, self.algo
        numbers = rows_of_step(len(table.train), algo.prompts_per_round, round, self.run.seed).tolist()
        rows = [table.train[i] for i in dict.fromkeys(numbers)]
        rng = self.run.rng(f"round-{round}:asking")
        drawn = responses(table, rows, self.setup.collect, algo.num_generations, rng, self.setup.policy.device)
        pairs = candidates([[words(_answer(each)) for each in found] for _, found in drawn])
        there = sum(item.run != self.id for item, _ in self.compared()) if round == 1 else 0
        count = max(0, self.annotator.comparisons_per_round - there // self.annotator.overlap)
        if algo.selection == "disagreement" and round > 1:
            scores = [self.model.member_scores(found).double().cpu().numpy() for _, found in drawn]
            chosen = by_disagreement(pairs, scores, count)
        else:
            chosen = at_random(pairs, count, rng)
        if not chosen and count:
            few = counted(len(rows), "prompt")
            raise Failure(
                Exit.DATA, f"round {round}: the policy gives one response only to each of {few}\n"
                "raise sampler.temperature, or algo.num_generations",
            )  # fmt: skip
        asked = [(drawn[c.prompt][0], [drawn[c.prompt][1][i] for i in (c.first, c.second)]) for c in chosen]
        self._add(round, asked, self.annotator.overlap)
        return len(asked)

    def rate(self, round: int, asked: Sequence[Asked]) -> None:
        """Ask how good single responses are, on a scale of 1 to 10."""
        self._add(round, [(prompt, [(prompt, answer)]) for prompt, answer in asked], 1)

    def _add(self, round: int, asked: Sequence[tuple[Prompt | None, Sequence[Asked]]], overlap: int) -> None:
        """The name of an item is its content: the same run asks the same, and nothing twice.

        In a set that runs share each has items of its own.
        """
        own = self.id if self.shared else ""
        step = self.run.progress.done
        seen: Counter[str] = Counter()
        items = []
        for prompt, found in asked:
            answers = tuple(_answer(each) for each in found)
            sha256 = content_sha256(prompt, answers)
            seen[sha256] += 1
            uid = f"{own}{round}:{len(answers)}:{sha256[:24]}:{seen[sha256]}"
            items.append(NewItem(prompt, answers, self.id, step, round, overlap, uid))
        self.store.add(items)

    def compared(self) -> list[Standing]:
        """All comparisons that count, by item and annotator; without those of annotators that are left out."""
        return self._counting(comparisons(self.store.standing()))

    def ratings(self, round: int) -> list[int]:
        """What the responses of a round were rated by those who are not left out."""
        return [
            int(one.verdict.rating or 0) for item, one in self._counting(self.store.standing())
            if one.verdict.kind == RATED and item.run == self.id and item.round == round and item.repeat_of is None
        ]  # fmt: skip

    def table(self, used: Sequence[Standing], round: int) -> PreferenceTable:
        """The judgements ``used`` as the reward model reads them, newer rounds weighing more if the settings say so.

        Raises:
            Failure: exit 3, if there is none that tells responses apart.
        """
        used = self._counting(used)  # a resumed run may leave out somebody else
        rows = judged_rows(used, self._names(), self.annotator.weights, self.store.path.name)
        if not rows:
            raise Failure(Exit.DATA, f"{SET}: nothing was judged that the reward model could learn from")
        weights = recency_weights([self._round_of(each, round) for each in used], self.algo.decay)
        weighed = [replace(row, weight=row.weight * float(w)) for row, w in zip(rows, weights, strict=True) if w > 0]
        return table_of(SET, judgements_of(SET, self.store.path.name, weighed), self.model.reader)

    def _counting(self, standing: Sequence[Standing]) -> list[Standing]:
        """Those of annotators that are not left out."""
        names, weights = self._names(), self.annotator.weights
        return [each for each in standing if weights.get(names[each[1].annotator], 1.0) > 0]

    def _round_of(self, each: Standing, present: int) -> int:
        """The round of a judgement; those of other runs are as old as the first."""
        item = each[0]
        return min(item.round, present) if item.run == self.id else 1

    def _names(self) -> dict[int, str]:
        return {one.id: one.name for one in self.store.annotators()}


def taken_up(store: ToldStore, used: Sequence[Mapping[str, Any]]) -> list[Standing]:
    """The judgements that ``used`` identifies, in its order, whatever was said of their items since.

    Raises:
        Failure: exit 3, if one of them is no longer there.
    """
    items = {item.id: item for item in store.items()}
    known = {(one.item, one.annotator, one.revision): one for one in store.judgements()}
    found = []
    for each in used:
        item, one = items.get(each["item"]), known.get((each["item"], each["annotator"], each["revision"]))
        if item is None or one is None or item.sha256 != each["sha256"]:
            what = f"{one_line(str(store.path))} lacks judgement {each['revision']} of item {each['item']}"
            raise Failure(Exit.DATA, f"{SET}: {what}, which this round learns from\nrestore the file")
        found.append((item, one))
    return found


def _answer(asked: Asked) -> Answer:
    """An answer as a feedback set keeps it: a text, or one message."""
    answer = asked[1]
    return answer[-1] if isinstance(answer, list) else answer
