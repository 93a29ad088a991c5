"""The live table: what it shows, that it fits any terminal, and that it is drawn no more often than it should be."""

import fcntl
import io
import os
import re
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress

import pytest
from rich.cells import cell_len
from rich.console import Console

from rlnlp.metrics import BY_NAME, LIVE, label
from rlnlp.run.display import PlainDisplay
from rlnlp.run.live import THEME, LiveDisplay, display, in_buckets, sparkline
from support import small
from support.rounds import metrics

TERMS = {f"score/{name}": 0.5 for name in ("length", "diversity", "coherence", "similarity", "sentiment")}
OF_PPO = [name for name in LIVE if "ppo" in BY_NAME[name].algorithms and "loss" not in name]
ROW = {"score": 0.5, **TERMS, **{name: 0.25 for name in OF_PPO if name != "score"}}
LONG = "a word " * 60


def live(width=80, height=24, **history):
    """A display in a terminal of that size, and the terminal."""
    terminal = io.StringIO()
    console = Console(
        file=terminal, width=width, height=height, force_terminal=True, theme=THEME, highlight=False,
        color_system="standard", legacy_windows=False, _environ={},
    )  # fmt: skip
    return LiveDisplay(console), terminal


def shown(screen):
    """The table as the terminal has it now: lines without colors."""
    with screen.console.capture() as captured:
        screen.console.print(screen.table())
    return re.sub(r"\x1b\[[0-9;]*m", "", captured.get()).rstrip("\n").split("\n")


def fed(screen, steps=30, row=ROW):
    screen.begin(steps, [])
    screen.close()
    for step in range(1, steps + 1):
        screen.step(step, {name: value + step for name, value in row.items()}, {"tokens_per_second": 1234.0})
    return screen


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("height", [12, 24, 50])
def test_the_table_is_whole_in_a_terminal_of_any_size(width, height):
    screen, _ = live(width, height)
    fed(screen).sample(10, LONG, "界" * 200, 0.5)
    lines = shown(screen)
    assert len(lines) < height
    assert max(map(cell_len, lines)) <= width
    if width >= 60 and height >= 24:
        text = "\n".join(lines)
        assert "…" not in text.partition("a sample of")[0]
        for words in ("score", "length", "sentiment", "KL to the start", "explained variance", "clipped tokens"):
            assert words in text
        assert text.count("since the start") == (2 if width == 200 else 1)


def test_a_wide_terminal_shows_more_and_a_narrow_one_leaves_out_the_names_of_the_file():
    def words(width, height):
        lines = "\n".join(shown(fed(live(width, height)[0])))
        return {name for name in LIVE if re.search(rf"(^|  ){re.escape(label(name))} ", lines, re.M)}, lines

    (narrow, narrow_text), (usual, usual_text), (wide, _) = words(60, 24), words(80, 24), words(200, 24)
    assert narrow == usual < wide == {name for name in LIVE if name in ROW}
    assert "clip_fraction" not in narrow_text
    assert "clip_fraction" in usual_text


def test_the_terms_of_a_long_reward_do_not_push_the_other_metrics_out():
    many = {"score": 0.5, **{f"score/term{i}": 0.1 for i in range(40)}, "kl": 1.0, "entropy": 1.0, "clip_fraction": 0.1}
    text = "\n".join(shown(fed(live()[0], row=many)))
    assert all(words in text for words in ("term0", "KL to the start", "entropy per token", "clipped tokens"))


def test_the_change_is_over_smoothed_values_and_a_resumed_run_knows_what_was_before():
    screen, _ = live()
    done = [{"step": i, "score": 0.0} for i in range(1, 21)]
    screen.begin(40, done)
    screen.close()
    for step in range(21, 41):
        screen.step(step, {"score": 1.0 if step < 40 else 21.0}, {"tokens_per_second": 1.0})
    (line,) = [line for line in shown(screen) if re.match(r"score +21 ", line)]
    assert re.split(r"  +", line.strip())[:3] == ["score", "21", "+3"], (
        "the mean of ten values less that of the first ten"
    )
    assert "40/40" in shown(screen)[0]
    one = fed(live()[0], steps=1)
    assert "+" not in "\n".join(shown(one)).replace("+/", ""), "one step has not changed"


def test_the_clock_of_the_table_begins_with_the_first_step_and_not_with_the_loading():
    screen, _ = live()
    loading = screen.progress.tasks[0].elapsed
    screen.begin(3, [])
    screen.close()
    assert loading is None
    assert screen.progress.tasks[0].start_time is not None


def test_score_and_kl_have_a_curve_each_over_the_whole_run():
    screen, _ = live(100)
    lines = shown(fed(screen, steps=500))
    curves = [line for line in lines if re.search("[▁-█]{8,}", line)]
    assert [line.split("  ")[0] for line in curves] == ["score", "KL to the start"]
    assert all("▁" in line and "█" in line for line in curves)
    sft = shown(fed(live()[0], row={"loss": 2.0, "entropy": 1.0, "grad_norm": 1.0}))
    assert [line.split("  ")[0] for line in sft if "█" in line] == ["loss"]


def test_of_a_run_of_two_stages_the_present_one_is_shown_with_figures_of_its_own():
    screen, _ = live(100, 16)
    screen.begin(160, [])
    screen.close()
    timing = {"tokens_per_second": 1.0}
    rows = list(metrics(2))
    assert screen.step(30, rows[29], timing).startswith("step 30/160  round 1 reward-model  loss 0.475  accuracy 0.725")

    def curves():
        return [line.split("  ")[0] for line in shown(screen) if re.search("[▁-█]{8,}", line)]

    for row in rows[:110]:
        screen.step(row["step"], row, timing)
    assert "round 2 reward-model, step 110/160" in shown(screen)[0]
    assert curves() == ["loss", "accuracy"]
    for row in rows[110:]:
        screen.step(row["step"], row, timing)
    text = shown(screen)
    assert "round 2 policy, step 160/160" in text[0]
    assert curves() == ["score", "KL to the start"]
    order = [line.split("  ")[0] for line in text if "now" not in line]
    assert order.index("gradient norm") < order.index("loss")
    (norm,) = [line for line in text if line.startswith("gradient norm")]
    assert re.split("  +", norm)[1:3] == ["1", "+0"], "not that of the reward model's"
    assert re.search(r"^score +1.5 +\+", "\n".join(text), re.M), "over both rounds"
    resumed, _ = live(100, 24)
    resumed.begin(160, rows[:75])
    resumed.close()
    assert "75/160" in shown(resumed)[0]


def test_prompt_and_response_are_told_apart_and_nothing_in_them_or_in_a_name_is_markup():
    screen, _ = live()
    fed(screen, row={"score": 0.5, "score/[red]x[/nope]\x1b[31m": 0.1})
    screen.sample(7, "the [bold]film\x1b[2J", "is\nlong [/bold]", 0.25)
    text = "\n".join(shown(screen))
    assert "a sample of step 7, score 0.25\nprompt    the [bold]film\\x1b[2J\nresponse  is long [/bold]" in text
    assert "[red]x[/nope]" in text
    screen.sample(8, "p", "r", None)
    assert "a sample of step 8\n" in "\n".join(shown(screen))


def test_only_colors_that_are_readable_on_dark_and_light_are_used():
    screen, terminal = live()
    screen.begin(30, [])
    for step in range(1, 31):
        screen.step(step, ROW, {"tokens_per_second": 1.0})
    screen.sample(3, "p", "r", 0.1)
    with screen.waiting("nothing while the table is drawn"):
        pass
    screen.describe({"model": "x"})
    screen.close()
    with screen.waiting("loading"):
        pass
    codes = {code for group in re.findall(r"\x1b\[([0-9;]+)m", terminal.getvalue()) for code in group.split(";")}
    assert codes <= {"0", "1", "2", "32", "35", "90"}, "plain, bold, dim, green, magenta, gray"
    assert {"32", "35"} <= codes


def test_steps_do_not_draw_and_the_clock_draws_at_most_four_times_a_second():
    screen, _ = live()
    screen.begin(1000, [])
    assert screen.live.refresh_per_second <= 4
    thread = threading.current_thread()
    drawn = []
    table = screen.table
    screen.live._get_renderable = lambda: drawn.append(threading.current_thread() is thread) or table()
    for step in range(1, 1001):
        screen.step(step, ROW, {"tokens_per_second": 1.0})
    assert not any(drawn)
    screen.close()


def test_a_block_goes_on_in_its_second_column():
    screen, terminal = live(60)
    screen.describe({"model": "x" * 40 + " " + "y" * 20, "reward": "[red]"})
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).split("\n")
    assert [line.rstrip() for line in lines][:3] == [
        "model       " + "x" * 40,
        " " * 12 + "y" * 20,
        "reward      [red]",
    ]


def test_without_a_terminal_nothing_spins_and_lines_are_not_wrapped(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    plain = display()
    assert isinstance(plain, PlainDisplay)
    with plain.waiting("loading"):
        plain.describe({"model": LONG})
    plain.sample(5, "the film", "is good", 0.5)
    err = capsys.readouterr().err
    assert err == f"model       {LONG}\n  step 5 [0.50] the film | is good\n"


def test_a_line_is_one_write_even_where_nothing_is_buffered():
    """Two threads print: what one of them writes in two pieces has the other's line in the middle."""
    written = []

    class Unbuffered(io.RawIOBase):
        def writable(self):
            return True

        def write(self, data):
            written.append(bytes(data))
            return len(data)

    plain = PlainDisplay(io.TextIOWrapper(Unbuffered(), write_through=True))
    plain.log_message("finishing step 5")
    assert written == [b"finishing step 5\n"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([], ""),
        ([1.0], "▁"),
        ([2.0, 2.0], "▁▁"),
        ([0.0, 7.0], "▁█"),
        ([7.0, 3.5, 0.0], "█▅▁"),
        ([0.0, 1.0, 7.0], "▁▂█"),
    ],
)
def test_a_sparkline_reaches_from_the_lowest_to_the_highest(values, line):
    assert sparkline(values) == line


def test_a_long_series_is_drawn_whole_in_a_short_line():
    assert in_buckets([1.0, 3.0, 5.0, 7.0], 2) == [2.0, 6.0]
    assert in_buckets([1.0, 2.0], 5) == [1.0, 2.0]
    values = [float(i) for i in range(101)]
    means = in_buckets(values, 7)
    assert len(means) == 7
    assert means == sorted(means)


@pytest.mark.slow
def test_the_command_in_a_real_terminal_spins_draws_whole_tables_and_gives_the_cursor_back(model_dir, tmp_path):
    prompts = small.write_prompts(tmp_path / "prompts.jsonl", 20)
    words = [
        "ppo", f"model.path={model_dir}", f"data.prompts={prompts}", "algo.total_steps=3", "algo.batch_size=2",
        "sampler.max_new_tokens=4", "heldout.size=2", "device=cpu", "hydra.run.dir=run",
    ]  # fmt: skip
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {**os.environ, "PYTHONPATH": str(small.ROOT), "HF_HUB_OFFLINE": "1", "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        env.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-m", "rlnlp", *words], cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True
    ) as child:
        os.close(theirs)
        seen = b""
        with suppress(OSError):  # the end of a terminal is an error on Linux
            while part := os.read(ours, 65536):
                seen += part
        out = child.stdout.read()
    os.close(ours)
    text = seen.decode()
    assert child.returncode == 0, text
    for words in ("loading torch ...", "loading the model ...", "measuring before training ...", "trying a step ..."):
        assert words in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is shown again"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert "since the start" in plain
    assert "KL to the start" in plain
    assert "algorithm   Proximal policy optimization" in plain
    assert out.startswith("held-out prompts: 2\n")
    assert "\x1b" not in out, "results in a pipe have no color"


def test_a_term_that_takes_much_of_the_step_shows_its_seconds():
    timing = {"tokens_per_second": 1.0, "seconds": 4.0, "reward": 3.9, "reward/length": 0.9, "reward/diversity": 2.97}
    screen, _ = live(100, 30)
    fed(screen)
    text = screen.step(30, ROW, timing)
    assert text.endswith("1 tokens/s  diversity 3 s")
    rows = [line.strip().split("  ")[0] for line in shown(screen)]
    assert "diversity 3 s" in rows
    assert "length" in rows
    screen.step(30, ROW, timing | {"reward/diversity": 0.1})
    assert not any("diversity 3 s" in line for line in shown(screen))
