"""Records of RLHF runs that nobody trained: figures that can be looked up in what is made of them."""

from rlnlp.evaluate.rounds.history import History


def around(mean, half):
    return [mean, mean - half, mean + half]


def estimate(value, half, n):
    return {"value": value, "interval": [value - half, value + half], "n": n}


def compared(value, half=0.03, judge="gold", n=300):
    return {
        "judge": judge, "decided": estimate(value, half, n), "ties_half": estimate(0.5 + (value - 0.5) / 2, half, 600),
        "fraction_decided": estimate(n / 600, 0.04, 600),
    }  # fmt: skip


def first_policy(**changes):
    """The record of the first policy."""
    return {
        "round": 0, "step": 0, "judgements": 0, "asked": 0, "reward_model": None, "reward": None,
        "gold": around(0.40, 0.02), "kl": [0.0, 0.0, 0.0], "response_tokens": around(12.0, 0.5),
        "satisfaction": {"n": 30, "mean": 5.1, "interval": [4.6, 5.6]}, "win_rate": None, "ended_early": False,
    } | changes  # fmt: skip


def round_record(number, **changes):
    """The record of a round in which all went well."""
    judge = changes.pop("judge", "gold")
    return {
        "round": number, "step": 80 * number, "judgements": 200 * number, "asked": 200,
        "reward_model": {
            "loss": 0.41 - 0.02 * number, "accuracy": 0.84 + 0.01 * number,
            "new_judgements": None if number == 1 else {"n": 170, "accuracy": 0.75, "interval": [0.68, 0.81]},
            "gold": {"n": 400, "accuracy": 0.90 + 0.01 * number, "interval": [0.87 + 0.01 * number, 0.96]},
        },
        "reward": around(1.2 + 0.4 * number, 0.1), "gains": {
            "reward": around(1.1 + 0.4 * number, 0.1), "gold": around(0.05 * number, 0.01),
            "response_tokens": around(0.5 * number, 0.3),
        },
        "gold": around(0.40 + 0.05 * number, 0.02), "kl": around(2.0 * number, 0.3),
        "response_tokens": around(12.0 + 0.5 * number, 0.5),
        "satisfaction": {"n": 30, "mean": 5.1 + 0.5 * number, "interval": [4.7 + 0.5 * number, 5.5 + 0.5 * number]},
        "win_rate": {
            "against first": compared(0.70 + 0.04 * number, judge=judge),
            "against last": compared(0.74 if number == 1 else 0.56, judge=judge),
        },
        "ended_early": False,
    } | changes  # fmt: skip


def over(**changes):
    """What ``over_optimization`` says where nothing turned down."""
    kls = [0.01, 0.09, 0.25, 0.49, 0.81, 1.21, 1.44, 1.69, 1.96]
    points = [
        {"step": 50 + 3 * i, "kl": kl, "d": kl**0.5, "reward": kl**0.5, "gold": 0.1 * kl**0.5 * (1 - 0.2 * kl**0.5)}
        for i, kl in enumerate(kls)
    ]
    return {
        "points": points,
        "proxy": {"alpha": 1.0, "alpha_interval": [0.9, 1.1], "beta": 0.0, "beta_interval": [-0.1, 0.1], "points": 8},
        "gold": {"alpha": 0.1, "alpha_interval": [0.1, 0.1], "beta": 0.03, "beta_interval": [-0.01, 0.07], "points": 8},
        "peak": None, "reason": "the 95 % interval of beta, -0.01 to 0.07, is not above 0",
    } | changes  # fmt: skip


PEAK = {"step": 140, "d": 1.2, "kl": 6.13, "kl_interval": [5.2, 7.4], "gain": 0.09}


def metrics(rounds, fit=40, policy=40):
    """Rows of metrics.jsonl: each round has a fit of ``fit`` steps and ``policy`` steps, every tenth measured."""
    for number in range(1, rounds + 1):
        start = (number - 1) * (fit + policy)
        for i in range(1, fit + 1):
            yield {
                "step": start + i, "round": number, "stage": "reward-model", "loss": 0.7 - 0.3 * i / fit,
                "accuracy": 0.5 + 0.3 * i / fit, "grad_norm": 9.0, "episodes": 16 * i,
            }  # fmt: skip
        for i in range(1, policy + 1):
            held = {
                "heldout/reward": 0.1 + 1.5 * i / policy, "heldout/gold": 0.40 + 0.01 * number + 0.1 * i / policy,
                "heldout/kl": 2 * (number - 1) + 2.0 * i / policy, "heldout/response_tokens": 12.0,
            }  # fmt: skip
            yield {
                "step": start + fit + i, "round": number, "stage": "policy", "score": 1.5 * i / policy,
                "kl": 2 * (number - 1) + 2.0 * i / policy, "grad_norm": 1.0, "episodes": 16 * fit + 8 * i,
                **(held if i % 10 == 0 else {}),
            }  # fmt: skip


def history(count=3, **changes):
    """The history of a run of so many rounds."""
    fields = {
        "rounds": [first_policy(), *map(round_record, range(1, count + 1))], "metrics": list(metrics(count)),
        "over": over(),
    }  # fmt: skip
    return History(**(fields | changes))


def by_people():
    """Two rounds that people judged: no gold reward, no ratings."""
    nothing = {"gold": None, "satisfaction": None}
    rounds = [first_policy(**nothing)]
    for number in (1, 2):
        made = round_record(number, judge="reward model", **nothing)
        made["reward_model"]["gold"] = None
        made["gains"]["gold"] = None
        rounds.append(made)
    rows = [{name: value for name, value in row.items() if name != "heldout/gold"} for row in metrics(2)]
    points = [point | {"gold": None} for point in over()["points"]]
    return history(rounds=rounds, metrics=rows, over=over(gold=None, points=points, reason="no gold"))
