"""Every command that prints, with every way in which a stream ends or cannot take what is printed."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import termios
import time
from array import array

import pytest

from support import runs
from support.small import ROOT, rlnlp, save_model

SPOKEN = [  # commands that print without torch: words, and the exit status when all can be written
    (["--help"], 0), (["--version"], 0), (["nothing"], 2), (["train", "--help"], 0), (["train", "--hydra-help"], 0),
    (["train", "--cfg", "job"], 0), (["resume", "--help"], 0), (["explain"], 0), (["explain", "--json"], 0),
    (["guide"], 0), (["guide", "ppo"], 0), (["guide", "nothing"], 2), (["resume", "whole"], 0),
    (["resume", "whole", "seed=9"], 6),
]  # fmt: skip
WAYS = ("no reader", "no reader of errors", "no reader of either", "full", "full errors", "closed", "closed errors")
SOME = ("no reader of either", "full")

# Each case in a child that is forked after the imports, and that ends as a process does: with what Python flushes then.
SPEAKERS = ("hydra._internal.hydra", "rlnlp.commands.explain.main", "rlnlp.cli.hydra_app", "rlnlp.cli.resume")
TRAINERS = (
    "torch", "transformers.models.llama.modeling_llama", "transformers.tokenization_utils_tokenizers",
    "matplotlib.figure", "matplotlib.backends.backend_agg", "hydra._internal.hydra", "rlnlp.cli.hydra_app",
    "rlnlp.run.run", *(f"rlnlp.algos.{name.replace('-', '_')}" for name in runs.ALGORITHMS),
)  # fmt: skip
DRIVER = """
import importlib, json, os, sys
kept, *imported = sys.argv[1:]
for name in imported:
    importlib.import_module(name)
from rlnlp.cli.main import main

def without_reader():
    reading, writing = os.pipe()
    os.close(reading)
    return writing

def arrange(way):
    full = os.open("/dev/full", os.O_WRONLY)
    for number, name in ((1, "no reader"), (2, "no reader of errors"), (1, "full"), (2, "full errors")):
        if way == name:
            os.dup2(full if "full" in way else without_reader(), number)
    if way == "no reader of either":
        os.dup2(without_reader(), 1)
        os.dup2(1, 2)
    for number, name in ((1, "closed"), (2, "closed errors")):
        if way == name:
            os.close(number)

cases = json.load(open("cases.json"))
for number, (words, way) in enumerate(cases):
    if (pid := os.fork()) == 0:
        for descriptor, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{kept}/{number}.{name}", os.O_WRONLY | os.O_CREAT), descriptor)
        arrange(way)
        sys.argv = ["rlnlp", *words]
        raise SystemExit(main())
    with open(f"{kept}/{number}.status", "w") as file:
        file.write(str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a finished run, a model, and prompts whose letters ASCII lacks."""
    place = tmp_path_factory.mktemp("streams")
    asked = runs.words("reinforce", place, "algo.total_steps=2")
    runs.run(runs.settings(asked), place / "whole")
    shutil.copytree(place / "whole", place / "漢字")
    save_model(place / "policy")
    answers = {"reference": "good", "chosen": " good ü", "rejected": " bad 漢"}
    rows = [{"prompt": f"the ü{i} is {a}", **answers} for i in range(10) for a in "é漢"]
    (place / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def env(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **more}


def ended(place, cases, imported, encoding=None):
    """Of every case, words and way: exit status, standard output and error as far as they were kept."""
    (place / "cases.json").write_text(json.dumps(cases))
    kept = place / f"kept-{len(list(place.iterdir()))}"
    kept.mkdir()
    driver = [sys.executable, "-c", DRIVER, str(kept), *imported]
    subprocess.run(driver, cwd=place, env=env(**(encoding or {})), check=True)

    def read(number, name):
        return (kept / f"{number}.{name}").read_bytes().decode(errors="replace")

    return {
        (tuple(words), way): (int(read(i, "status")), read(i, "out"), read(i, "err"))
        for i, (words, way) in enumerate(cases)
    }


@pytest.mark.parametrize("ways", [SOME, pytest.param([w for w in WAYS if w not in SOME], marks=pytest.mark.slow)])
def test_a_command_that_cannot_print_ends_as_it_should_and_tells_of_no_bug(ways, place):
    found = ended(place, [(words, way) for words, _ in SPOKEN for way in ("", *ways)], SPEAKERS)
    for words, usual in SPOKEN:
        code, out, err = found[tuple(words), ""]
        assert code == usual
        printed = {"out": bool(out), "err": bool(err)}
        assert any(printed.values()), words
        for way in ways:
            lost = {"out": way in ("no reader", "no reader of either"), "err": way.startswith("no reader of")}
            gone = any(printed[name] and lost[name] for name in lost)
            expected = usual or (141 if gone else 5 if way == "full" and printed["out"] else 0)
            code, _, err = found[tuple(words), way]
            assert code == expected, (words, way)
            assert [word for word in ("bug", "Traceback", "Exception ignored") if word in err] == [], (words, way)
            assert ("standard output cannot be written: OSError: [Errno 28]" in err) == (expected == 5)


ASCII = (
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "latin-1:strict", "PYTHONUNBUFFERED": "1"},
)


@pytest.mark.parametrize("encoding", [*ASCII[::2], *(pytest.param(e, marks=pytest.mark.slow) for e in ASCII[1::2])])
def test_what_cannot_be_encoded_is_replaced(encoding, place):
    for words in (["resume", "漢字"], ["train", "--cfg", "job", "-p", "data", "data.prompts='漢.jsonl'"]):
        code, out, err = rlnlp(*words, cwd=place, env=encoding)
        assert (code, err) == (0, "")
        assert any(shown in out.lower() for shown in ("漢", "\\u6f22", "\\udce6\\udcbc\\udca2"))  # the last: its bytes
    code, out, err = rlnlp("guide", "漢", cwd=place, env=encoding)
    assert (code, out) == (2, "")
    assert any(f"no topic '{shown}'" in err for shown in ("漢", "?", "\\udce6\\udcbc\\udca2"))


def spoken(place, *words, way="", encoding=None):
    """The real command with streams as ``way`` has them: exit status, and standard error if it is kept."""
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    out, err = full if way == "full" else writing, writing if way == "no reader of either" else subprocess.PIPE
    command = [sys.executable, "-m", "rlnlp", *words]
    done = subprocess.run(command, cwd=place, env=env(**(encoding or {})), stdout=out, stderr=err, check=False)
    os.close(writing)
    os.close(full)
    return done.returncode, (done.stderr or b"").decode()


def small_run(algo, place, name, *more):
    names = {"sft": [], "reward-model": ["data.preferences=letters.jsonl"]}
    data = names.get(algo, ["data.prompts=letters.jsonl"])
    return [
        "train", *runs.words(algo, place, "algo.total_steps=2", "samples.every=1", "samples.show=2", *data, *more),
        f"hydra.run.dir={name}",
    ]  # fmt: skip


def check_done(directory):
    facts = json.loads((directory / "run.json").read_text())
    assert (facts["status"], facts["exit_code"], facts["steps"]) == ("done", 0, 2)
    assert list(runs.result_of(directory).rglob("*.safetensors"))
    assert (directory / "curves.png").is_file()


@pytest.mark.slow
def test_a_run_that_cannot_print_goes_on_to_its_end_and_its_record_is_done(place):
    code, err = spoken(place, *small_run("reinforce", place, "real"), way="no reader of either", encoding=ASCII[2])
    assert code == 141, err
    check_done(place / "real")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", [{}, *ASCII[:2]])
def test_so_does_one_of_each_algorithm_in_each_way_in_each_encoding(encoding, place):
    expected = {"no reader": 141, "no reader of either": 141, "full": 5}
    name = "run-{}-{}-{}".format("-".join(encoding), "{}", "{}")
    cases = [
        (small_run(algo, place, name.format(algo, way.replace(" ", "-"))), way)
        for algo in runs.ALGORITHMS
        for way in expected
    ]
    for (words, way), (code, _, err) in ended(place, cases, TRAINERS, encoding).items():
        assert code == expected[way], err
        assert "bug" not in err
        check_done(place / words[-1].partition("=")[2])


@pytest.mark.slow
@pytest.mark.parametrize("way", ["full", "no reader"])
def test_responses_that_cannot_be_written_are_exit_5_and_that_nobody_reads_141(way, place):
    words = ["generate", "policy", "the film is", "device=cpu", "sampler.max_new_tokens=4"]
    code, err = spoken(place, *words, way=way)
    assert code == (5 if way == "full" else 141)
    assert ("standard output cannot be written: OSError: [Errno 28] No space left on device" in err) == (way == "full")


@pytest.mark.slow
def test_a_resume_and_a_sweep_that_nobody_reads_are_done(place):
    whole = place / "whole"
    runs.broken_off(whole, place / "broken", 1)
    code, err = spoken(place, "resume", "broken", way="no reader of either")
    assert code == 141, err
    assert json.loads((place / "broken" / "run.json").read_text())["status"] == "done"
    command = ["-m", "seed=1,2", "hydra.sweep.dir=sweep"]
    words = [word for word in small_run("reinforce", place, "x") if not word.startswith("hydra.run.dir")]
    code, err = spoken(place, *words, *command, way="no reader of either")
    assert code == 141, err
    jobs = json.loads((place / "sweep" / "sweep.json").read_text())
    assert [(job["exit_code"], job["status"]) for job in jobs] == [(0, "done")] * 2


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-", "<&-"])
def test_streams_that_were_closed_before_the_command_began_take_no_file_s_place(closed, place):
    listing = "import os, sys; print(sorted(os.listdir('/proc/self/fd')), file=open('fds', 'w'))"
    code = f"from rlnlp.cli.main import main; main(['--version']); main(['guide']); {listing}"
    ended = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, code], cwd=place, env=env(), check=False
    )
    assert ended.returncode == 0
    assert {"0", "1", "2"} <= set(json.loads((place / "fds").read_text().replace("'", '"')))
    words = f'"$0" -m rlnlp generate embedded {closed}; test $? = 3 -o $? = 2'
    assert subprocess.run(["sh", "-c", words, sys.executable], cwd=place, env=env(), check=False).returncode == 0


def test_a_reader_that_is_slow_gets_every_byte_though_the_stream_does_not_wait(place):
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # less than Python writes at once
    os.set_blocking(writing, False)
    words = [sys.executable, "-m", "rlnlp", "explain", "--tables"]
    with subprocess.Popen(words, cwd=place, env=env(), stdout=writing) as process:
        os.close(writing)
        waiting = array("i", [0])
        while process.poll() is None and waiting[0] < 4096:  # until it is full
            fcntl.ioctl(reading, termios.FIONREAD, waiting)
            time.sleep(0.05)
        time.sleep(0.3)  # for the next write, which finds it full
        text = b""
        while part := os.read(reading, 100):
            text += part
    os.close(reading)
    assert process.returncode == 0
    assert text.decode() == rlnlp("explain", "--tables", cwd=place)[1]
