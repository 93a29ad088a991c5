"""What is measured of a family: whether each way of using it gives what it must, or is refused with exit 4."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from rlnlp import build
from rlnlp.config.model import Device, Fresh, Lora, Model
from rlnlp.errors import Failure
from rlnlp.maths.distribution import Distribution
from rlnlp.rollout.sampling import sample
from support import families, runs, small

CELLS = ("greedy", "padding", "ppo separate", "ppo shared", "reinforce", "resume", "reload")
PROMPTS = [[1, 9, 11, 13, 20], [1, 8], [1, 10, 6]]
LONGEST = 6
LIMITS = (  # what a note of the check has in it, and the words of the table
    ("cannot be used for sampling", "sampled without a cache"),
    ("keeps all its rows", "rows that have ended stay in the batch"),
)
GREEDY = Distribution(1.0, 1, 1.0, 0, (small.END,))


def measured(family: str, place: Path) -> dict[str, str]:
    """``works`` or what was found, by cell; one cell ``made`` or ``check`` if that is as far as it goes."""
    runs.words("reinforce", place)  # makes the data, and a model that is not wanted
    shutil.rmtree(place / "model")
    try:
        families.save(family, place / "model")
    except Exception as error:
        return {"made": f"no small model: {type(error).__name__}: {' '.join(str(error).split())[:120]}"}
    try:
        loaded = language(place / "model")
    except Failure as failure:
        return {"check": refusal(failure)}
    shutil.rmtree(place / "run", ignore_errors=True)
    notes = "; ".join(loaded.notes)
    return {
        "greedy": cell(lambda: greedy(loaded)),
        "padding": cell(lambda: padding(loaded)),
        "ppo separate": cell(lambda: trained(place, "ppo", "algo.critic=separate")),
        "ppo shared": cell(lambda: trained(place, "ppo", "algo.critic=shared")),
        "reinforce": cell(lambda: trained(place, "reinforce", directory=place / "run")),
        "resume": cell(lambda: resumed(place)),
        "reload": cell(lambda: reloaded(place)),
        **({"notes": notes} if notes else {}),
    }


def language(path: Path) -> build.Language:
    """The model in ``path`` as a run loads it."""
    model = Model(
        str(path),
        None,
        False,
        Fresh(1, 8, 1, 8),
        False,
        "same",
        Lora(None, 32.0, "all-linear", False),
        False,
        "float32",
    )
    return build.language(model, Device("cpu", 1, "auto", "none", "float32"), 0)


def refusal(failure: Failure) -> str:
    """The exit code and the finding's name of a failure."""
    text = str(failure)
    finding = text.partition("cannot be used (")[2].partition(")")[0]
    return f"refused: {finding}" if finding and failure.code == 4 else f"exit {int(failure.code)}: {text[:160]}"


def cell(call: Callable[[], bool | str]) -> str:
    """``works`` if ``call`` returns True; what else it says."""
    try:
        said = call()
        return said if isinstance(said, str) else "works" if said else "differs"
    except Failure as failure:
        return refusal(failure)
    except Exception as error:
        return f"exit 1: {type(error).__name__}: {' '.join(str(error).split())[:160]}"


def drawn(loaded: build.Language, *prompts: list[int]) -> list[list[int]]:
    """The likeliest response to each prompt."""
    uniforms = torch.full((len(prompts), LONGEST), 0.5, dtype=torch.float64)
    rollout = sample(loaded.policy, small.prompts(*prompts), uniforms, GREEDY, pad=0)
    return [row[mask].tolist() for row, mask in zip(rollout.responses, rollout.mask, strict=True)]


def greedy(loaded: build.Language) -> bool | str:
    """The responses are those that ``generate`` of transformers gives to each prompt by itself.

    Where they are not, but are the likeliest tokens of the model's own full passes, it is ``generate`` that differs.
    """
    asked = {"do_sample": False, "max_new_tokens": LONGEST, "eos_token_id": small.END, "pad_token_id": 0}
    asked |= {"num_beams": 1, "repetition_penalty": 1.0}
    for prompt, got in zip(PROMPTS, drawn(loaded, *PROMPTS), strict=True):
        ids = torch.tensor([prompt])
        try:
            want = loaded.policy.lm.generate(ids, attention_mask=torch.ones_like(ids), **asked)[
                0, len(prompt) :
            ].tolist()
        except Exception:
            want = []
        if got != want:
            return (
                ("works, generate fails" if not want else "works, generate differs")
                if got == likeliest(loaded, prompt)
                else False
            )
    return True


@torch.no_grad()
def likeliest(loaded: build.Language, prompt: list[int]) -> list[int]:
    """The likeliest tokens one after the other, each from a pass over all before it, without cache and padding."""
    ids = list(prompt)
    while len(ids) < len(prompt) + LONGEST and ids[-1] != small.END:
        logits = loaded.policy.call(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        ids.append(int(logits[: loaded.policy.drawable].argmax()))
    return ids[len(prompt) :]


def padding(loaded: build.Language) -> bool:
    """A prompt's response and its log-probabilities are the same alone and beside others."""
    return drawn(loaded, *PROMPTS) == [drawn(loaded, prompt)[0] for prompt in PROMPTS]


def trained(place: Path, algo: str, *more: str, directory: Path | None = None) -> bool:
    """Two steps of training, all of whose figures are finite."""
    target = directory or place / f"{algo}-{'-'.join(more)}"
    words = runs.words(
        algo, place, "algo.total_steps=2", "heldout.size=1", "samples.every=0", "heldout.every=0",
        "checkpoint.result=last", "checkpoint.keep_models=0", "algo.learning_rate=1e-4", "sampler.max_new_tokens=4",
        *more,
    )  # fmt: skip
    runs.run(runs.settings(words), target)
    rows = [json.loads(line) for line in (target / "metrics.jsonl").read_text().splitlines()]
    return len(rows) == 2 and not any("skipped" in row for row in rows)


def resumed(place: Path) -> bool:
    """A run that was broken off after its first step ends with the bytes of the whole one."""
    whole, part = place / "run", place / "broken"
    shutil.copytree(whole, part)
    for gone in (part / "policy", part / "checkpoints" / "step-00000002"):
        shutil.rmtree(gone)
    facts = json.loads((part / "run.json").read_text())
    (part / "run.json").write_text(json.dumps(facts | {"status": "running", "exit_code": None, "result": {}}))
    runs.go_on(part)
    names = ("metrics.jsonl", "policy/model.safetensors")
    return all((whole / name).read_bytes() == (part / name).read_bytes() for name in names)


def reloaded(place: Path) -> bool:
    """The saved policy loads with the weights of the last checkpoint, and passes the check."""
    loaded = language(place / "run" / "policy")
    last = language(place / "run" / "checkpoints" / "step-00000002" / "policy")
    pairs = zip(loaded.policy.state_dict().items(), last.policy.state_dict().items(), strict=True)
    return all(name == other and torch.equal(one, two) for (name, one), (other, two) in pairs)


def summary(cells: dict[str, str]) -> str:
    """The cells of a family in a few words, those of a row of the guide's table."""
    if "made" in cells:
        return "not tried: no small model can be made by sizes alone"
    if "check" in cells:
        loads = "cannot be loaded" not in cells["check"]
        return cells["check"] if loads else "refused: a saved model cannot be loaded"
    others = {name: said for name, said in cells.items() if name not in ("notes", "greedy") and said != "works"}
    odd = [f"{n} refused" if s.startswith(("exit 4", "refused")) else f"{n} {s}" for n, s in others.items()]
    said = cells.get("notes", "")
    limits = [words for part, words in LIMITS if part in said]
    if cells["greedy"] != "works":
        odd.insert(0, cells["greedy"].removeprefix("works, ") if "works, " in cells["greedy"] else "greedy differs")
    return "; ".join(["works", *limits, *odd])
