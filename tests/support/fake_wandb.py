"""A package ``wandb`` that keeps what it is given in a file of lines, and fails as it is told to."""

from pathlib import Path

SOURCE = """
import json, os, signal, time
from pathlib import Path
from types import SimpleNamespace

STORE, FAULT = Path(os.environ["FAKE_WANDB"]), Path(os.environ["FAKE_WANDB"] + ".fault")

def put(kind, **values):
    with STORE.open("a") as file:
        file.write(json.dumps({"kind": kind, **values}) + "\\n")

def fail(where):
    fault = FAULT.read_text().split() if FAULT.exists() else []
    if fault[:1] != [where]:
        return
    if fault[1] == "raise":
        FAULT.unlink()
        raise ConnectionError("no way to the server")
    if fault[1] == "exit":
        os._exit(9)
    while fault[1] == "hang":
        time.sleep(1)

def Settings(**settings):
    return settings

class Run:
    offline, url = False, "http://wandb.test/run"
    def __init__(self, step, dir):
        self.step, self.dir, self.summary = step, dir, {}
    def log(self, row, step, commit):
        fail("log")
        put("log", step=step, row=row)
    def finish(self, exit_code):
        fail("finish")
        put("finish", exit_code=exit_code, summary=self.summary)

def init(**asked):
    print("noise of the library")
    fail("init")
    steps = [json.loads(line)["step"] for line in STORE.open() if '"log"' in line] if STORE.exists() else []
    put("init", **{key: asked[key] for key in ("id", "name", "project", "group", "mode", "config")})
    return Run(max(steps, default=-1) + 1, asked["dir"])
"""


def install(folder: Path, monkeypatch) -> Path:
    """Put the package on the path of this process and of those that it starts; return the file of its lines."""
    (folder / "wandb").mkdir(parents=True)
    (folder / "wandb" / "__init__.py").write_text(SOURCE)
    root = Path(__file__).resolve().parent.parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{root}")
    monkeypatch.setenv("FAKE_WANDB", str(folder / "store"))
    monkeypatch.syspath_prepend(folder)
    return folder / "store"
