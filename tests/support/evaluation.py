"""The record of an evaluation, as ``rlnlp evaluate --json`` prints it, and what stands in a page."""

import copy
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np


def row(before, after, ends, **more):
    """A measure that was compared."""
    change = after - before
    return {
        "before": before, "after": after, "difference": change, "difference_interval": ends, "p": 0.0312, "n": 40,
        "unit": "", **more,
    }  # fmt: skip


def pair(prompt, before, after, difference, **more):
    """A prompt with both responses."""
    return {
        "prompt": prompt, "before": before, "after": after, "difference": difference,
        "score": {"before": 0.5, "after": 0.5 + difference}, "terms": {"brevity": {"before": None, "after": 0.25}},
        **more,
    }  # fmt: skip


def record(**changes):
    """A whole record by hand; what is None in ``changes`` is left out."""
    draw = np.random.default_rng(0)
    scores = draw.beta(4, 5, (2, 40, 3)).round(2)
    whole = {
        "run": "outputs/ppo/a-run", "against": "the first policy", "n": 120, "prompts": 40, "samples": 3,
        "streams": "same", "title": "ppo, embedded: held-out score 0.410 → 0.580",
        "score": row(0.41, 0.58, [0.15, 0.19], p=0.0001),
        "terms": {
            "brevity": row(0.3, 0.25, [-0.09, -0.01], p=0.011, p_holm=0.022),
            "cheer": row(0.5, 0.51, [-0.02, 0.04], p=0.5, p_holm=0.5, n=37),
        },
        "judges": {"politeness": row(0.61, 0.64, [0.01, 0.05])},
        "measures": {
            "length": row(12.5, 17.25, [4.1, 5.2], unit="tokens"),
            "distinct_1": row(0.81, 0.71, [-0.12, -0.08], unit="fraction of the words"),
        },
        "kl": 4.213, "kl_interval": [3.9, 4.52], "win_rate": 0.84, "win_rate_interval": [0.81, 0.87],
        "win_rates": {
            "score": {
                "win_rate": 0.84, "win_rate_interval": [0.81, 0.87], "ties": 0.02,
                "length_controlled": {"win_rate": 0.77, "interval": [0.73, 0.8]}, "length_controlled_reason": "",
            },
            "politeness": {
                "win_rate": 0.52, "win_rate_interval": [0.48, 0.56], "ties": 0.0, "length_controlled": None,
                "length_controlled_reason": "the response before is the longer one in fewer than 10 % of the pairs",
            },
        },
        "calibration": {
            "politeness": [
                {"gap": 0.05, "agreement": 0.52, "interval": [0.45, 0.6], "pairs": 1200},
                {"gap": 0.31, "agreement": 0.71, "interval": [0.66, 0.75], "pairs": 1198},
            ]
        },
        "verdict": "better",
        "best_of_n": [
            {"n": 1, "kl": 0.0, "score": 0.41, "interval": [0.39, 0.43], "judges": {"politeness": 0.61}},
            {"n": 2, "kl": 0.1931, "score": 0.5, "interval": [0.48, 0.52], "judges": {"politeness": 0.62}},
            {"n": 3, "kl": 0.4319, "score": 0.55, "interval": [0.53, 0.57], "judges": {"politeness": 0.625}},
        ],
        "frontier": [
            {"step": 10, "kl": 1.44, "kl_interval": [1.21, 1.69], "score": 0.5, "interval": [0.47, 0.53],
             "measured": "anew"},
            {"step": 20, "kl": 4.0, "kl_interval": [3.61, 4.41], "score": 0.58, "interval": [0.55, 0.61],
             "measured": "anew"},
        ],
        "regressions": [pair("the film was", "great fun", "good good", -0.31), pair("the food", "fine", "", -0.2)],
        "improvements": [pair("the room", "cold\nand dark", "lovely", 0.4)],
        "notes": ["both sides drew with the same random numbers"],
        "not_shown": ["Whether people like it better.", "How another seed comes out"],
        "values": {
            "score": {"before": scores[0], "after": np.minimum(1, scores[1] + 0.17)},
            "length": {"before": draw.integers(3, 20, (40, 3)), "after": draw.integers(8, 25, (40, 3))},
        },
        "settings": {"algorithm": "Proximal policy optimization (ppo)", "schedule": "100 steps\nof 8 prompts"},
        "command": "rlnlp evaluate outputs/ppo/a-run --judge politeness",
    }  # fmt: skip
    return copy.deepcopy({key: value for key, value in (whole | changes).items() if value is not None})


@dataclass
class Page(HTMLParser):
    """What a page consists of: tags with their attributes in order, and the text of each heading, cell and block."""

    tags: list = field(default_factory=list)
    texts: dict = field(default_factory=dict)
    _open: list = field(default_factory=list)
    VOID = ("meta", "link", "img", "br")

    def __post_init__(self):
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, "every tag is closed, in order"

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data


def parsed(text):
    """The page ``text``, which must be whole."""
    page = Page()
    page.feed(text)
    page.close()
    assert not page._open
    return page
