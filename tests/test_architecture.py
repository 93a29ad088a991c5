"""The shape of the code: layers, sizes, one place for each fact, and what is not to be found in it."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rlnlp.config.schema import RUNS, GenerateRun
from support.small import ROOT

PACKAGE = ROOT / "rlnlp"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = (  # folders and loose modules of the package, from the top to the ground: each imports from itself and below
    "__main__", "api", "cli", "commands", "algos", "evaluate", "build", "rollout", "feedback", "rewards", "data",
    "embedded", "models", "batching", "types", "run", "metrics", "device", "processes", "maths", "config", "rng",
    "errors", "__init__",
)  # fmt: skip
HANDED_ON = ("rlnlp/__init__.py", "rlnlp.api")  # imported when the names of the Python interface are asked for
RANK = {name: rank for rank, name in enumerate(ROOMS)}
BANNED_CALLS = {
    "torch.load", "torch.save", "eval", "exec", "yaml.load", "yaml.unsafe_load", "instantiate",
    "hydra.utils.instantiate", "np.load", "numpy.load", "os.system", "os.popen", "torch.hub.load", "__import__",
}  # fmt: skip
BANNED_IMPORTS = {"pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
TORCH_DRAWS = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "rand_like", "randn_like"}
GLOBAL_DRAWS = re.compile(r"(np|numpy)\.random\.(?!Generator$|Philox$|default_rng$)|random\.(?!Random$)")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


def part(module: str) -> str:
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                below = PACKAGE.parent / node.module.replace(".", "/") / alias.name
                known = below.is_dir() or below.with_suffix(".py").is_file()
                yield f"{node.module}.{alias.name}" if known else node.module


def functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of modules and classes; what is defined inside a function is that function's own affair."""
    for node in tree(path).body:
        inner = node.body if isinstance(node, ast.ClassDef) else [node]
        yield from ((f"{place(path)}:{f.name}", f) for f in inner if isinstance(f, ast.FunctionDef))


def own(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes of a function without those of the functions inside it."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, ast.FunctionDef | ast.Lambda):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def room(path: Path) -> str:
    return path.stem if path.parent == PACKAGE else path.relative_to(PACKAGE).parts[0]


def test_the_package_has_these_rooms_and_at_most_ten_loose_modules():
    assert {room(path) for path in FILES} <= set(ROOMS)
    assert len([path for path in FILES if path.parent == PACKAGE]) <= 10


def test_every_import_goes_to_the_same_room_or_a_lower_one():
    wrong = []
    for path in FILES:
        for name in imports(path):
            known = name.split(".")[0] == "rlnlp" and (place(path), name) != HANDED_ON
            if known and RANK[part(name)] < RANK[room(path)]:
                wrong.append(f"{place(path)} imports {name}")
    assert not wrong


def test_no_modules_import_each_other_in_a_circle():
    def name(path: Path) -> str:
        return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")

    left = {name(path): {n for n in imports(path) if n.startswith("rlnlp.")} for path in FILES}
    while free := {module for module, needed in left.items() if not needed & set(left) - {module}}:
        left = {module: needed for module, needed in left.items() if module not in free}
    assert not left


def test_the_maths_knows_of_nothing_else_in_the_package():
    for path in FILES:
        if "maths" in path.parts:
            assert not {n for n in imports(path) if n.startswith("rlnlp.") and not n.startswith("rlnlp.maths")}


@pytest.mark.parametrize("path", FILES, ids=place)
def test_files_have_at_most_300_lines_and_functions_60(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    long = {where: f.end_lineno - f.lineno + 1 for where, f in functions(path)}
    assert {where: lines for where, lines in long.items() if lines > 60} == {}


def test_no_module_is_a_drawer_for_odds_and_ends():
    assert not [place(path) for path in FILES if path.stem in ("utils", "helpers", "misc", "common")]


def schemas(kind: type) -> Iterator[type]:
    yield kind
    for field in dataclasses.fields(kind):
        inner = [field.type, *getattr(field.type, "__args__", ())]
        for each in inner:
            if dataclasses.is_dataclass(each):
                yield from schemas(each)


def test_every_setting_is_read_somewhere():
    whole = [tree(path) for path in FILES if not path.name.startswith("config")]
    own_properties = [
        function
        for path in FILES
        if path.name.startswith("config")
        for _, function in functions(path)
        if "property" in map(ast.unparse, function.decorator_list)
    ]
    read = {
        node.attr
        for each in whole + own_properties
        for node in ast.walk(each)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    kinds = {kind for schema in (*RUNS.values(), GenerateRun) for kind in schemas(schema)}
    assert len(kinds) > 10
    assert {(k.__name__, f.name) for k in kinds for f in dataclasses.fields(k) if f.name not in read} == set()


def test_settings_are_read_as_they_are_without_a_second_default():
    wrong = []
    for path in FILES:
        for name, node in calls(path):
            if name == "getattr" and len(node.args) > 2:
                wrong.append(f"{place(path)}:{node.lineno} getattr with a default")
            if name.endswith(".get") and re.match(r"(self\.)?(c|config)\b", name):
                wrong.append(f"{place(path)}:{node.lineno} {name}")
    assert not wrong


def test_no_code_asks_which_algorithm_it_is():
    wrong = []
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Compare | ast.MatchValue):
                words = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
                wrong += [f"{place(path)}:{node.lineno} {word}" for word in sorted(words & set(RUNS))]
    assert not wrong


def test_public_functions_say_what_they_return_and_what_they_raise():
    silent, quiet = [], []
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef | ast.Module) and not ast.get_docstring(node):
                name = node.name if isinstance(node, ast.ClassDef) else "module"
                silent += [] if name.startswith("_") else [f"{place(path)}:{name}"]
        for where, function in functions(path):
            text = ast.get_docstring(function) or ""
            if not function.name.startswith("_") and not text:
                silent.append(where)
            kinds = {ast.unparse(n.exc).split("(")[0] for n in own(function) if isinstance(n, ast.Raise) and n.exc}
            public = not function.name.startswith("_") or function.name == "__post_init__"
            if public and kinds & {"Failure", "ValueError"} and "Raises:" not in text:
                quiet.append(where)
    assert not silent
    assert not quiet


def test_nothing_in_the_package_runs_data_as_code():
    wrong = []
    for path in FILES:
        wrong += [f"{place(path)} imports {name}" for name in imports(path) if name.split(".")[0] in BANNED_IMPORTS]
        for name, node in calls(path):
            words = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name in BANNED_CALLS or name.endswith(".instantiate") or words.get("shell") == "True":
                wrong.append(f"{place(path)}:{node.lineno} {name}")
            if words.get("trust_remote_code", "False") != "False" or words.get("allow_pickle", "False") != "False":
                wrong.append(f"{place(path)}:{node.lineno} {name} trusts what it loads")
    assert not wrong


def test_nothing_draws_from_or_seeds_a_global_random_state():
    wrong = []
    for path in FILES:
        for name, node in calls(path):
            words = {k.arg for k in node.keywords}
            drawn = name.startswith("torch.") and name.split(".")[-1] in TORCH_DRAWS and "generator" not in words
            seeded = name.endswith("manual_seed") and place(path) != "rlnlp/models/load.py"
            if drawn or seeded or GLOBAL_DRAWS.match(name) or name in ("torch.seed", "set_seed"):
                wrong.append(f"{place(path)}:{node.lineno} {name}")
    assert not wrong


def test_the_one_seeding_of_torch_is_undone_at_once():
    guarded = [
        call
        for node in ast.walk(tree(PACKAGE / "models" / "load.py"))
        if isinstance(node, ast.With) and "fork_rng" in ast.unparse(node.items[0])
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("manual_seed")
    ]
    every = [name for name, _ in calls(PACKAGE / "models" / "load.py") if name.endswith("manual_seed")]
    assert len(guarded) == len(every) == 1
