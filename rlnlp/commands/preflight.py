"""What files and settings alone tell of a run, before torch is imported and before a directory is made: all faults."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, get_type_hints

from rlnlp.commands.default_terms import left_out, usable_config
from rlnlp.commands.preflight_rounds import round_faults
from rlnlp.config.algos import Optimization, Ppo
from rlnlp.config.choices import default_choice
from rlnlp.config.data import PreferenceData, PromptData, TextData
from rlnlp.config.measuring import with_measurements
from rlnlp.config.model import Model, Sampler
from rlnlp.config.observing import Heldout
from rlnlp.config.parse import nearest, parse
from rlnlp.config.reward import COLUMNS, REWARDS, RewardTerm
from rlnlp.config.rlhf import Rlhf
from rlnlp.config.schema import RUNS, RewardRun
from rlnlp.data.formats import Record
from rlnlp.data.records import Located
from rlnlp.data.sources import FIELDS, check_context_length, data_sources
from rlnlp.errors import Exit, Failure, one_line
from rlnlp.models.chat import check_template
from rlnlp.models.locate import context_length, locate_critic, locate_tokenizer, locate_weights
from rlnlp.rewards.arguments import MODELS, check_references, text_arguments
from rlnlp.rewards.sources import check_model_arguments, user_parameters
from rlnlp.run.tracking.tracker import check_installed

AnyData = PromptData | TextData | PreferenceData
MOST = 20 * 2**20  # bytes; of a larger data file only the beginning is checked here, and the rest when it is read


def parse_run_config(settings: Any) -> Any:
    """The settings of a run as its algorithm's schema; what they leave open is decided.

    Raises:
        Failure: exit 2, for an algorithm that does not exist and for every wrong setting.
    """
    return with_measurements(parse(_schema(settings), settings))


def settled_config(settings: Any) -> Any:
    """The same without the terms of the default reward that need what the data lack.

    Raises:
        Failure: as ``parse_run_config``.
    """
    config = parse_run_config(settings)
    return usable_config(config, _records(_data(config.data, config.heldout.size)[0]))


def usable(config: RewardRun) -> tuple[RewardRun, dict[str, str]]:
    """The same of settings without a run; and what is left out, with the reason."""
    found: RewardRun = usable_config(config, _records(_data(config.data, 0)[0]))
    return found, left_out(asdict(config), found)


def checked_config(settings: Any) -> Any:
    """``settled_config``; the files that it names exist and fit.

    Raises:
        Failure: all faults at once; exit 2 if a setting is wrong, else 3 for data, 4 for a model, 7 for a reward.
    """
    config, found = with_faults(settings)
    if found:
        raise all_of(found)
    return config


def with_faults(settings: Any) -> tuple[Any, list[Failure]]:
    """The same, and what is wrong with it; None in place of settings that are no run's.

    Raises:
        Failure: exit 2, for an algorithm that does not exist.
    """
    schema = _schema(settings)
    try:
        config = settled_config(settings)
    except Failure as failure:
        return None, [failure, *_incomplete(schema, settings), *faults(_sound_groups(schema, settings))]
    return config, list(faults(vars(config)))


def check_files(config: Any) -> None:
    """Check the files that checked settings name.

    Raises:
        Failure: as ``checked_config``.
    """
    if found := list(faults(vars(config))):
        raise all_of(found)


def all_of(found: list[Failure]) -> Failure:
    """Failures as one: each message once, and the exit code of what is most basic."""
    return Failure(min(each.code for each in found), "\n".join(dict.fromkeys(str(each) for each in found)))


def faults(groups: Mapping[str, Any]) -> Iterator[Failure]:
    """What is wrong with the files that the ``groups`` of settings name; groups with wrong settings are left out."""
    if "model" in groups:
        yield from _model_faults(groups["model"], groups)
    located: Located | None = None
    if "data" in groups:
        held = groups.get("heldout")
        read, whole, found = _data(groups["data"], held.size if isinstance(held, Heldout) else 1)
        located = read if whole and not found else None
        yield from found
        if not found and "model" in groups:
            yield from _attempt(partial(_check_template, groups["data"], groups["model"], _records(located or [])))
    yield from round_faults(groups)
    if "device" in groups:
        yield from _attempt(partial(_check_device_name, groups["device"].name))
    if "algo" in groups:
        for key, algo in _optimized(groups["algo"]):
            yield from _attempt(partial(_check_optimizer, key, algo.optimizer))
    if "tracker" in groups:
        yield from _attempt(partial(check_installed, groups["tracker"].name))
    if "reward" in groups:
        for name, term in groups["reward"].terms.items():
            yield from _attempt(partial(_check_term, name, term, located))


def _schema(settings: Any) -> Any:
    name = settings.get("algo", {}).get("name") if isinstance(settings, Mapping) else None
    if not isinstance(name, str) or name not in RUNS:
        raise Failure(
            Exit.CONFIG,
            f"no algorithm {name!r}{nearest(str(name), list(RUNS), 'algo=')}\nchoose from: {', '.join(RUNS)}",
        )
    return RUNS[name]


def _groups(schema: type, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name, schema and settings of each group that is there."""
    hints = get_type_hints(schema)
    named = [(f.name, hints[f.name]) for f in fields(schema)]
    yield from ((name, kind, settings[name]) for name, kind in named if is_dataclass(kind) and name in settings)


def _sound_groups(schema: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    sound = {}
    for name, kind, node in _groups(schema, settings):
        try:
            sound[name] = parse(kind, node, f"{name}.")
        except Failure:
            continue  # told already, as part of all settings
    return sound


def _incomplete(schema: type, settings: Mapping[str, Any]) -> Iterator[Failure]:
    """For each group that lacks keys, what a file of the user's has to begin with."""
    for name, kind, node in _groups(schema, settings):
        needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
        default = default_choice(name, settings["algo"]["name"])
        if isinstance(node, Mapping) and default is not None and set(needed) - set(node):
            way = f"a file of your own for '{name}' begins with 'defaults: [{default}]'"
            yield Failure(Exit.CONFIG, f"{way}, and then needs only the keys that differ")


def _attempt(check: Callable[[], Any]) -> Iterator[Failure]:
    try:
        check()
    except Failure as failure:
        yield failure


def _model_faults(model: Model, groups: Mapping[str, Any]) -> Iterator[Failure]:
    algo, sampler = groups.get("algo"), groups.get("sampler")
    found = [*_attempt(partial(locate_weights, model)), *_attempt(partial(locate_tokenizer, model))]
    yield from found
    policy, key = (algo.policy, "algo.policy.critic_path") if isinstance(algo, Rlhf) else (algo, "algo.critic_path")
    if isinstance(policy, Ppo):
        yield from _attempt(partial(locate_critic, policy.critic_path, model.allow_download, key))
    if not found and isinstance(sampler, Sampler) and isinstance(groups.get("data"), PromptData):
        weights = locate_weights(model)
        context = model.fresh.context if weights is None else context_length(weights)
        if context is not None:
            yield from _attempt(partial(check_context_length, sampler.max_new_tokens, context))


def _optimized(algo: Any) -> list[tuple[str, Optimization]]:
    """What has an optimizer, with its key."""
    if isinstance(algo, Rlhf):
        return [("algo.policy", algo.policy), ("algo.reward_model", algo.reward_model)]
    return [("algo", algo)]


def _check_optimizer(key: str, name: str) -> None:
    """Check that the package of an optimizer is there.

    Raises:
        Failure: exit 2, with what to install.
    """
    if name == "adamw-8bit" and find_spec("bitsandbytes") is None:
        what = f"{key}.optimizer={name} needs bitsandbytes"
        raise Failure(Exit.CONFIG, f"{what}\ninstall it: pip install 'rlnlp[bitsandbytes]'")


def _check_device_name(name: str) -> None:
    """Check what needs no torch.

    Raises:
        Failure: exit 2, for a name that no device has.
    """
    if not re.fullmatch(r"auto|mps|cpu(:0)?|cuda(:[0-9]{1,3})?", name):
        hint = f"; write {name.replace('gpu', 'cuda')}" if name.startswith("gpu") else ""
        raise Failure(Exit.CONFIG, f"device.name must be auto, cpu, cuda, cuda:N or mps, got '{one_line(name)}'{hint}")


def _records(located: Located) -> list[Record]:
    return [record for _, record in located]


def _data(data: AnyData, heldout: int) -> tuple[Located, bool, list[Failure]]:
    """The records to train and to measure on, whether these are all of them, and what is wrong with them."""
    if isinstance(data, PreferenceData):
        return _judgements(data)
    records: Located = []
    whole, found, names = True, [], set()
    for source in data_sources(data, heldout):
        try:
            read = source.checked(MOST)
            records += read.records
            whole &= read.total == len(read.records)
        except Failure as failure:
            found += [] if source.name in names else [failure]
        names.add(source.name)
    return records, whole, found


def _judgements(data: PreferenceData) -> tuple[Located, bool, list[Failure]]:
    """The same of judged answers, of whose records only the prompts are given."""
    from rlnlp.data.preferences import read_judgements  # numpy, which no other check needs

    records: Located = []
    found: list[Failure] = []
    for key, named in (("data.preferences", data.preferences), ("data.heldout", data.heldout)):
        try:
            rows = read_judgements(key, named, data, data.values, data.group, 1, MOST).rows if named else []
        except Failure as failure:
            found.append(failure)
            continue
        records += [("", {"messages" if isinstance(row.prompt, list) else "prompt": row.prompt}) for row in rows]
    return records, True, found


def _check_template(data: AnyData, model: Model, records: list[Record]) -> None:
    """Check the chat template, if the data are known to need one.

    Raises:
        Failure: exit 2 or 4.
    """
    spoken = any("messages" in record for record in records)
    check_template(data, locate_tokenizer(model), spoken or (data.system is not None and isinstance(data, PromptData)))


def _check_term(name: str, term: RewardTerm, located: Located | None) -> None:
    """Check a term's function and arguments against the data, as far as these are known.

    Raises:
        Failure: exit 2, 3, 4 or 7.
    """
    if ":" in term.fn:
        parameters = user_parameters(name, term.fn)
        if parameters is not None:
            parameters.check_args(name, term.args)
        if parameters is not None and located is not None:
            columns = sorted({column for _, record in located for column in record} - set(FIELDS))
            parameters.check_available(name, [*COLUMNS, *columns, *term.args])
    elif REWARDS[term.fn].startswith(MODELS):
        check_model_arguments(name, term.fn, term.args)
    else:
        function, checked = text_arguments(name, term.fn, term.args)
        check_references(function, checked, ((place, record.get("reference")) for place, record in located or []))
