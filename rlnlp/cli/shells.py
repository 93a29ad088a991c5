"""Completion in bash, zsh and fish: the scripts that turn it on, and the answers in the form that each shell takes."""

import os
import re
import shlex
from collections.abc import Callable

from rlnlp.errors import Exit, Failure, one_line

BASH = r"""_rlnlp_complete() {
    local answer
    COMPREPLY=()
    while IFS= read -r answer; do
        COMPREPLY+=("$answer")
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_LAST="$2" "$1" -sc query=bash 2>/dev/null)
}
complete -o nospace -F _rlnlp_complete rlnlp"""
ZSH = r"""(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_rlnlp_complete() {
    local -a found
    found=("${(@f)$(COMP_LINE="${(j: :)words[1,CURRENT-1]} $PREFIX" $words[1] -sc query=zsh 2>/dev/null)}")
    [[ -n "$found[1]" ]] && compadd -Q -S '' -- "${found[@]}"
}
compdef _rlnlp_complete rlnlp"""
FISH = r"""function __rlnlp_complete
    set -l words (commandline -opc)
    set -lx COMP_LINE (commandline -cp)
    $words[1] -sc query=fish 2>/dev/null
end
complete -c rlnlp -f -a '(__rlnlp_complete)'"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
OFF = {
    "bash": "complete -r rlnlp; unset -f _rlnlp_complete",
    "zsh": "compdef -d rlnlp; unfunction _rlnlp_complete",
    "fish": "complete -e -c rlnlp; functions -e __rlnlp_complete",
}
WORD = re.compile(r"""(?:\\.|\\$|'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|[^\s\\'"])+""")  # as a shell splits words
GOES_ON = ("=", ".", "/", ":", ",")  # no space behind a word that ends so


def answer(request: str, find: Callable[[list[str], str], list[tuple[str, str]]]) -> int:
    """Print a script for ``install=SHELL`` or ``uninstall=SHELL``, or what the line in COMP_LINE may become.

    ``find`` gives words and what is said about them, from the words before the last and the last.

    Raises:
        Failure: exit 2, for another request or shell.
    """
    what, _, shell = request.partition("=")
    if shell not in SCRIPTS or what not in ("install", "uninstall", "query"):
        ways = " or ".join(f"-sc install={name}" for name in SCRIPTS)
        raise Failure(Exit.CONFIG, f"'-sc {one_line(request, 40)}' is not understood; type: rlnlp {ways}")
    if what != "query":
        print((SCRIPTS if what == "install" else OFF)[shell])
        return Exit.DONE
    raw, words = split(os.environ.get("COMP_LINE", ""))
    last = words.pop() if words else ""
    if len(words) == 0 or set(raw) & set("'\""):
        return Exit.DONE
    lines = [f"{text}\t{about}" if about else text for text, about in find(words[1:], last)]
    if shell != "fish":
        cut = len(raw) - len(os.environ.get("COMP_LAST", raw))  # bash replaces only what is behind an equals sign
        lines = [_typed(line.partition("\t")[0])[cut:] for line in lines]
    for line in lines:
        print(line)
    return Exit.DONE


def split(line: str) -> tuple[str, list[str]]:
    """The last word of ``line`` as it is typed, and all words without their quotes; the last is empty after a space."""
    found = list(WORD.finditer(line))
    raws = [each[0] for each in found] + ([] if found and found[-1].end() == len(line) else [""])
    return raws[-1], [_unquoted(raw) for raw in raws]


def _unquoted(raw: str) -> str:
    for closed in (raw, raw.removesuffix("\\"), f"{raw}'", f'{raw}"'):
        try:
            return "".join(shlex.split(closed))
        except ValueError:
            continue
    return raw


def _typed(text: str) -> str:
    """``text`` as it is typed, with a space behind it if it is complete."""
    escaped = re.sub(r"([^\w@%+=:,./~-])", r"\\\1", text)
    return escaped if text.endswith(GOES_ON) else f"{escaped} "
