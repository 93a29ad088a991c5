"""`rlnlp guide`: every page of the handbook, in a terminal and piped."""

import os
import pty
import re
import subprocess
import sys

import pytest

from rlnlp.commands import guide
from rlnlp.commands.guide import PAGES, TOPICS
from rlnlp.errors import Exit, Failure
from support.inside import rlnlp
from support.small import ROOT

RLNLP = [sys.executable, "-m", "rlnlp", "guide"]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def in_a_terminal(topic, columns):
    """What the command prints in a terminal, without its control sequences."""
    main, end = pty.openpty()
    settings = environment(COLUMNS=str(columns), TERM="xterm-256color")
    with subprocess.Popen([*RLNLP, topic], stdout=end, stderr=end, env=settings) as child:
        os.close(end)
        content = b""
        while True:
            try:
                chunk = os.read(main, 65536)
            except OSError:  # Linux says so when the last writer has closed
                break
            if not chunk:
                break
            content += chunk
    os.close(main)
    assert child.returncode == 0, content
    return re.sub(r"\x1b\][^\x1b]*\x1b\\|\x1b\[[\d;]*m", "", content.decode()).replace("\r", "")


def test_the_topics_are_the_pages_and_each_begins_with_its_title():
    assert {path.stem for path in PAGES.iterdir()} == set(TOPICS)
    assert {path.suffix for path in PAGES.iterdir()} == {".md"}
    for topic in TOPICS:
        lines = (PAGES / f"{topic}.md").read_text().splitlines()
        assert lines[0] == f"# {guide.title(topic)}"
        assert ":" in lines[0], "a title says what the page is about"
        assert not [line for line in lines[1:] if re.match(r"# \w", line) and not line.endswith(".py")]


def test_alone_it_lists_every_topic_with_the_first_line_of_its_page(tmp_path):
    code, out, err = rlnlp("guide", cwd=tmp_path)
    assert (code, err) == (0, "")
    listed = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    assert listed == {topic: guide.title(topic) for topic in TOPICS}
    assert list(listed) == list(TOPICS)
    assert out.splitlines()[-1].endswith(str(PAGES))


@pytest.mark.parametrize("topic", TOPICS)
def test_a_piped_page_is_the_bytes_of_its_file(topic, capfdbinary, monkeypatch):
    monkeypatch.setattr(sys, "stdout", open(os.dup(1), "w", encoding="ascii"))  # noqa: SIM115
    assert guide.main([topic]) == Exit.DONE
    sys.stdout.close()
    assert capfdbinary.readouterr().out == (PAGES / f"{topic}.md").read_bytes()


def rendered(topic, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    guide.render((PAGES / f"{topic}.md").read_text())
    return capsys.readouterr().out


@pytest.mark.parametrize("topic", TOPICS)
def test_a_rendered_page_has_every_word_and_no_mark(topic, capsys, monkeypatch):
    page = re.sub(r"<!--.*?-->|\]\([^)]*\)|\\(?=\|)", " ", (PAGES / f"{topic}.md").read_text())
    shown = rendered(topic, 500, capsys, monkeypatch)
    page = re.sub(r"^ *```\w+$", "", page, flags=re.MULTILINE)
    words, printed = (sorted(re.findall(r"[^\W_]+", text)) for text in (page, shown))
    assert printed == words
    assert not re.search(r"```|\.md\)|<!--|\|---", shown)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("columns", [60, 80, 120])
def test_a_rendered_page_is_cut_off_nowhere(topic, columns, capsys, monkeypatch):
    shown = rendered(topic, columns, capsys, monkeypatch)
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= columns


def test_a_terminal_is_given_the_rendered_page_and_links_become_commands():
    shown = in_a_terminal("ppo", 90)
    assert "PPO: clipped policy updates with a critic" in shown
    assert "# PPO" not in shown
    assert "rlnlp guide departures" in " ".join(shown.split())
    assert "departures.md" not in shown
    assert max(map(len, shown.splitlines())) <= 90


@pytest.mark.parametrize(
    ("word", "hint"),
    [("reward", "; did you mean 'rewards'?"), ("resume", ""), ("../README", ""), ("", ""), ("PPO", "")],
)
def test_an_unknown_topic_is_exit_2_with_the_nearest(word, hint):
    with pytest.raises(Failure) as failure:
        guide.main([word])
    assert failure.value.code == Exit.CONFIG
    first, second = str(failure.value).split("\n")
    assert first.startswith(f"no topic '{word}'{hint}")
    assert second == f"the topics are: {', '.join(TOPICS)}"


def test_more_than_one_topic_and_an_unknown_flag_are_exit_2(tmp_path):
    for words in (["ppo", "data"], ["--web"]):
        code, out, err = rlnlp("guide", *words, cwd=tmp_path)
        assert (code, out) == (2, "")
        assert "usage: rlnlp guide" in err


def test_a_reader_that_has_gone_is_exit_141():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*RLNLP, "settings"], stdout=write, stderr=subprocess.PIPE, env=environment(), check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_nothing_heavy_is_imported(tmp_path):
    text = "import sys\nfrom rlnlp.cli.main import main\nstatus = main(['guide', *{}])\n"
    text += "heavy = {{'torch', 'transformers', 'numpy', 'hydra', 'matplotlib'}} & set(sys.modules)\n"
    text += "print(status, *heavy, file=sys.stderr)"
    for words in ([], ["ppo"]):
        done = subprocess.run(
            [sys.executable, "-c", text.format(words)], env=environment(), cwd=tmp_path,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.stderr == "0\n"
    rendered = "import sys\nfrom rlnlp.commands import guide\nguide.render('# a')\nprint('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", rendered], env=environment(), capture_output=True, text=True)
    assert done.stdout.endswith("False\n")
