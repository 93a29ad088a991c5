"""Mistakes in what a reward model is used for: ranking, a reward, a judge, a critic."""

RANK, LEARNED, CRITIC, JUDGE, RESUMED = (
    "commands/test_rank", "rewards/model/test_learned", "models/test_critic_from_run", "evaluate/test_before_after",
    "rewards/model/test_learned::test_a_run_knows_its_reward_model_when_it_is_resumed_wherever_that_is_now",
)  # fmt: skip

GROUPS = [
    (
        "commands/rank.py", (RANK,),
        [
            ("the worst is first", "key=lambda i: -scores[i]", "key=lambda i: scores[i]"),
            ("equal scores are turned round", "sorted(range(len(scores)),", "sorted(range(len(scores))[::-1],"),
            ("a template of the policy's is taken and not obeyed", "if vars(config.data)[f.name] != reading[f.name]:",
             "if False:"),
            ("a run without a reward model is looked up on the hub", "if lacking := without_reward_model(directory):",
             "if lacking := None:"),
        ],
    ),
    (
        "data/candidates.py", (RANK,),
        [
            ("a conversation is read as its plain text", 'if "messages" in whole:', "if False:"),
            ("a record's own prompt gives way", "if prompt is not None and one.prompt is not None:", "if False:"),
            ("the prompt of a record is left out", 'candidate(said.get("prompt"), field, said[field])',
             "candidate(None, field, said[field])"),
        ],
    ),
    (
        "rewards/model/learned.py", (LEARNED, RANK),
        [
            ("completions are scored without their prompts", "yield texts.prompts[i], completion",
             "yield None, completion"),
            ("conversations are read as the policy shows them", "if texts.spoken and texts.spoken[i]:", "if False:"),
            ("scores come back in another order", "[distinct[each] for each in read]",
             "sorted(distinct[each] for each in read)"),
            ("the weights are not noted", 'context.note_content(key, weights_sha256({"reward model": loaded.model}))',
             "pass"),
            ("a conversation without a template is the policy's error", "if spoken and reader.chat.template is None",
             "if False and reader.chat.template is None"),
        ],
    ),
    (
        "rewards/model/classifier.py", (LEARNED,),
        [
            ("a reward model's score is no probability", "(list(asked(context.texts_of(rollout)))).sigmoid()",
             "(list(asked(context.texts_of(rollout))))"),
            ("a reward model is always shown the prompt", 'with_prompts if of == "both" else without_prompts',
             "with_prompts"),
        ],
    ),
    (
        "rewards/sources.py", (LEARNED,),
        [
            ("two reward models are one", "if len(named) != 1:", "if not named:"),
            ("a run that was moved is looked up on the hub", 'if word == "run" and not', 'if word == "ruin" and not'),
        ],
    ),
    (
        "config/changes.py", (RESUMED,),
        [
            ("a reward model may not be moved", 'generic(key).endswith(".args")', 'generic(key).endswith(".arg")'),
        ],
    ),
    (
        "config/reward.py", (LEARNED,),
        [
            ("a learned score is at most 1", 'UNLIMITED = ("learned",)', "UNLIMITED = ()"),
        ],
    ),
    (
        "models/load.py", (CRITIC,),
        [
            ("the critic leaves the bias out", "fill_(float(model.config.to_dict().get(SCORE_BIAS, 0.0)))",
             "fill_(0.0)"),
            ("a critic may have other tokens",
             "if told and tokenizer is not None and not load_tokenizer(model_id, local_only).knows(tokenizer):",
             "if False:"),
            ("an encoder is a critic", 'if not isinstance(dict(model.named_children()).get("score"), nn.Linear):',
             "if False:"),
        ],
    ),
    (
        "models/locate.py", (CRITIC, RANK),
        [
            ("an encoder of a run is a critic", 'record.get("head") != "linear" or not',
             'record.get("head") == "none" or not'),
            ("a language model is a reward model", "named and all(kind.endswith(CAUSAL) for kind in named)", "False"),
        ],
    ),
    (
        "evaluate/before_after/limits.py", (JUDGE,),
        [
            ("a judge of weight 0 in training has been seen", "for term in reward.terms.values() if term.weight]",
             "for term in reward.terms.values()]"),
            ("a judge is known by how it is named", 'args["model"] = folder.resolve()', 'args["model"] = args[word]'),
        ],
    ),
    (
        "commands/evaluate.py", (JUDGE,),
        [
            ("a run of a reward model is no judge", "if saved_reward_model(word) is not None:", "if False:"),
        ],
    ),
]  # fmt: skip
