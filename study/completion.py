"""Tab completion of `study ...` and `python -m study...`: commands, config groups, keys, options.

    eval "$(study completion bash)"                                       # in ~/.bashrc
    eval "$(study completion zsh)"                                        # in ~/.zshrc
    study completion fish > ~/.config/fish/completions/study.fish

The shell's script asks this module how a line may go on; Hydra's own engine knows groups and keys.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence

from study.__main__ import COMMANDS

# what is put for PYTHON asks this module for the candidates of a line, one a line
BASH = """\
_study_completion() {
    local line="${COMP_LINE:0:COMP_POINT}" word
    case "$line" in study\\ *|*/study\\ *|*-m\\ study*) ;; *) return ;; esac
    word="${line##* }"
    COMPREPLY=()
    while IFS= read -r candidate; do
        # bash breaks words at = and :, and replaces what comes after them alone
        [[ "$COMP_WORDBREAKS" == *=* && "$word" == *=* ]] && candidate="${candidate#"${word%=*}="}"
        COMPREPLY+=("$candidate")
    done < <(PYTHON --line "$line" 2>/dev/null)
    [[ "${COMPREPLY[0]}" == *[=./] ]] && compopt -o nospace 2>/dev/null
}
complete -o default -o bashdefault -F _study_completion study python python3
"""
ZSH = """\
_study_completion() {
    local line="${BUFFER[1,CURSOR]}"
    local -a candidates
    case "$line" in
        study\\ *|*/study\\ *|*-m\\ study*)
            candidates=("${(@f)$(PYTHON --line "$line" 2>/dev/null)}") ;;
    esac
    [[ -n "$candidates[1]" ]] && compadd -U -S '' -a candidates || _default
}
compdef _study_completion study python python3
"""
FISH = """\
function _study_completion
    PYTHON --line (commandline -cp | string collect) 2>/dev/null
end
complete -c study -a '(_study_completion)'
complete -c python -n 'string match -q "*-m study*" (commandline -cp)' -a '(_study_completion)'
complete -c python3 -n 'string match -q "*-m study*" (commandline -cp)' -a '(_study_completion)'
"""
SHELLS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
HELP = f"{str(__doc__).strip()}\n"
_COMPOSED = ("sweep", "trial")  # commands whose arguments are settings
_VALUES = {"export": ["--to=csv", "--to=mlflow", "--to=tensorboard", "--to=wandb"]}


def main() -> None:
    """Print a shell's script, or what may follow. **Raises:** `SystemExit` for another shell."""
    arguments = sys.argv[1:]
    match arguments:
        case ["--line", line]:
            sys.stdout.writelines(f"{candidate}\n" for candidate in candidates(line))
        case [shell] if shell in SHELLS:
            print(script(shell), end="")
        case ["-h" | "--help"]:
            print(HELP)
        case _:
            given = " ".join(arguments) or "nothing"
            sys.exit(f"error: {given} is no shell: write study completion bash, zsh or fish")


def script(shell: str) -> str:
    """What a shell is to run once, to complete from then on."""
    here = shlex.join([sys.executable, "-m", "study.completion"])
    return SHELLS[shell].replace("PYTHON", here)


def candidates(line: str) -> list[str]:
    """How the last word of a command line may be written, if the cursor is at its end."""
    *words, last = line.split(" ") if line.strip() else [""]
    words = [word for word in words if word]
    known = re.search(r"(?:^|\s)-m\s+study(?:\.(\w*))?(?:\s|$)", line)
    if known and last.startswith("study"):
        return _beginning((f"study.{name}" for name in COMMANDS), last)
    if known:
        rest = line[known.end() :].split(" ")
        command = known[1]
        words = [word for word in rest[:-1] if word]
    elif words and os.path.basename(words[0]) == "study":
        command, words = None, words[1:]
    else:
        return []
    if command is None:
        if not words:
            return _beginning((*COMMANDS, "--help", "--version"), last)
        command, *words = words
    if command in _COMPOSED and not last.startswith("-"):
        return _settings(words, last)
    flags = ("--help", "--version", *_VALUES.get(command, ()))
    if command in _COMPOSED:
        from hydra._internal.utils import get_args_parser

        flags = (*flags, *get_args_parser()._option_string_actions)
    return _beginning(flags, last) if last.startswith("-") else []


def _beginning(known: Iterable[str], word: str) -> list[str]:
    return sorted({name for name in known if name.startswith(word)})


def _settings(words: Sequence[str], last: str) -> list[str]:
    """Groups, keys and their options, as Hydra's own completion has them."""
    from hydra._internal.core_plugins.bash_completion import BashCompletion

    from study.config import hydra
    from study.config.command_line import with_plus

    hydra.register()
    # of a list of options the last is completed
    before, comma, value = last.rpartition(",")
    key = before.partition("=")[0]
    word = f"{key}={value}" if comma and key else last
    given = [w for w in with_plus(words) if "," not in w and "(" not in w and not w.startswith("-")]
    given = [w for w in given if w.partition("=")[0] != word.partition("=")[0]]
    plain = word.removeprefix("experiment=")
    asked = f"+experiment={plain}" if plain != word else word
    with hydra.opened() as loader, contextlib.redirect_stderr(io.StringIO()):
        found = BashCompletion(loader)._query(
            config_name=hydra.ROOT, line=" ".join([*given, asked])
        )
    names = [name.removeprefix("+") if asked != word else name for name in found]
    if not word.startswith("hydra"):  # Hydra's own settings are offered once they are begun
        names = [name for name in names if not name.startswith("hydra")]
    return [f"{before},{name.partition('=')[2]}" if comma and key else name for name in names]


if __name__ == "__main__":
    main()
