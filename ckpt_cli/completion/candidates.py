"""`ckpt _complete`: the words that could stand at the cursor. It prints no error, and ends after three seconds at most."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .command_line import CommandLine
from .names import Candidate, by_last_part, by_part, starting
from .words import Word, as_bash_takes_it, split

GetCommand = Callable[[str], Any]
FILES = None  # instead of candidates: the shell completes file names better
_PATIENCE = 3.0  # seconds
_BASH, _FISH = "bash", "fish"


def answer(args: list[str], commands: Mapping[str, str], get_command: GetCommand) -> int:
    """Print a line for each candidate: `+` if a space may follow it, else `-`, then the word; or the line `files`.

    Args:
        args: The shell, and the command line as that shell gives it.
        commands: The names of the commands.
        get_command: Gives the click command of a name.

    Returns:
        The exit status, always 0.
    """
    handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, whatever takes so long
    signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
    try:
        shell, words, last = _words(args)
        candidates = _candidates(words, last.text, commands, get_command)
        lines = ["files"] if candidates is FILES else [f"{'-+'[one.whole]}{_for_shell(one.text, shell, last)}" for one in candidates]
        sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode(errors="replace"))
        sys.stdout.buffer.flush()
    except Exception:  # the user only pressed a key: no answer is better than an error
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
    return 0


def _words(args: list[str]) -> tuple[str, list[str], Word]:
    """Return the shell, the words before the cursor without the program, and the word at it. bash gives its line, the others words."""
    shell, first, *more = args
    if shell == _BASH:
        *before, last = split(first, more[0])
        return shell, [word.meant for word in before[1:]], last
    return shell, more, split(first)[-1] if shell == _FISH else Word(first)


def _for_shell(text: str, shell: str, last: Word) -> str:
    return as_bash_takes_it(text, last) if shell == _BASH else text


def _candidates(words: list[str], typed: str, commands: Mapping[str, str], get_command: GetCommand) -> list[Candidate] | None:
    if not words:
        return starting([*commands, *(("--help", "--version") if typed.startswith("-") else ())], typed)
    if words[0] not in commands:
        return []
    line = CommandLine.parse(words[0], words[1:], get_command(words[0]).params)
    if line.waiting is not None:
        return _values(line.waiting, typed, line)
    if typed.startswith("-") and not line.plain:
        return _options(typed, line)
    argument = line.next_argument()
    return [] if argument is None else _values(argument, typed, line)


def _options(typed: str, line: CommandLine) -> list[Candidate] | None:
    """Return long options, or after `--option=` its values."""
    option, equals, value = typed.partition("=")
    if not equals:
        return starting(sorted(option for option in line.options if option.startswith("--") or option == typed), typed)
    values = _values(line.options[option], value, line)
    return FILES if values is FILES else [Candidate(f"{option}={one.text}", one.whole) for one in values]


def _values(param: Any, typed: str, line: CommandLine) -> list[Candidate] | None:
    """Return the values of a parameter. They depend on its name, which means the same in every command."""
    choices = getattr(param.type, "choices", None)
    if choices:
        return starting(choices, typed)
    values = _BY_PARAMETER[param.name](typed, line) if param.name in _BY_PARAMETER else []
    return FILES if not values and param.name in _ARCHITECTURES else values


def _files(typed: str, line: CommandLine) -> None:
    return FILES


def _names(typed: str, line: CommandLine) -> list[Candidate]:
    if typed.startswith("!"):
        return [Candidate(f"!{one.text}", one.whole) for one in _names(typed[1:], line)]
    if typed.startswith("@"):
        return starting([f"@{kind}" for kind in line.layer_types()], typed)
    separator = line.checkpoint().separator
    if typed.startswith(f"*{separator}"):
        return by_last_part(line.names(), typed, separator)
    return by_part(line.names(), typed, separator)


def _assignment(typed: str, line: CommandLine) -> list[Candidate]:
    """Return names; once a name is complete, the operators that can follow it."""
    names = _names(typed.rstrip(" +-*/=") if " " in typed else typed, line)
    if len(names) != 1 or not names[0].whole:
        return [name._replace(whole=False) for name in names]
    assignments = [Candidate(f"{names[0].text} {operator}", False) for operator in ("=", "+=", "-=", "*=", "/=")]
    return [assignment for assignment in assignments if assignment.text.startswith(typed)]


def _rule(typed: str, line: CommandLine) -> list[Candidate]:
    """Return what can begin PATTERN=SCHEME of reinit, or OLD=NEW of other commands: names, then what can follow the sign."""
    takes_schemes = line.command == "reinit"
    pattern, sign, begun = typed.rpartition("=")
    if takes_schemes and sign and "(" not in begun:
        return _schemes(f"{pattern}=", begun)
    names = _names(typed, line)
    if takes_schemes and len(names) == 1 and names[0].whole:
        return _schemes(f"{names[0].text}=", "")
    return [Candidate(f"{name.text}=" if name.whole else name.text, False) for name in names]


def _methods(typed: str, line: CommandLine) -> list[Candidate]:
    from ..merging import methods

    return starting(list(methods), typed)


def _schemes(before: str, begun: str) -> list[Candidate]:
    from ..schemes import schemes

    return [Candidate(f"{before}{name}") for name in sorted(schemes, key=str.lower) if name.startswith(begun)]


def _dtypes(typed: str, line: CommandLine) -> list[Candidate]:
    from ..numbers.dtypes import DTYPES

    return starting((name for name, dtype in DTYPES.items() if dtype.addressable), typed)


def _architectures(typed: str, line: CommandLine) -> list[Candidate]:
    from ..architectures import architectures
    from ..providers import asking

    named = starting([*(() if line.command in ("new", "archs") else ("auto", "none")), *architectures], typed)
    if line.command in ("new", "archs"):
        return named
    return named + [Candidate(f"{library}:", False) for library in asking.libraries() if library.startswith(typed)]


def _hyperparameters(typed: str, line: CommandLine) -> list[Candidate]:
    from ..architectures import architectures
    from ..architectures.hyperparameters import schema

    keys = schema(architectures[line.given[0]]) if line.given[0] in architectures else ()
    return [Candidate(f"{key}=", False) for key in keys if key.startswith(typed)]


def _formats(typed: str, line: CommandLine) -> list[Candidate]:
    from ..formats import Savable, formats

    return starting((name for name, form in formats.items() if isinstance(form, Savable) and form.is_target), typed)


def _presets(typed: str, line: CommandLine) -> list[Candidate]:
    from ..schemes.presets import presets

    return starting(presets, typed)


def _schemes_and_presets(typed: str, line: CommandLine) -> list[Candidate]:
    return [*_schemes("", typed), *_presets(typed, line)]


_ARCHITECTURES = ("arch", "architecture")
_BY_PARAMETER: dict[str, Callable[[str, CommandLine], list[Candidate] | None]] = {
    **dict.fromkeys(("path", "a", "b", "source", "target", "output", "recipe", "spec", "same_names_as", "arguments"), _files),
    **dict.fromkeys(("others", "base", "lora"), _files),
    "method": _methods,
    **dict.fromkeys(("patterns", "reference", "names", "selected", "dropped"), _names),
    "assignments": _assignment,
    "rules": _rule,
    "dtype": _dtypes,
    **dict.fromkeys(_ARCHITECTURES, _architectures),
    "pairs": _hyperparameters,
    "format_name": _formats,
    "preset": _presets,
    "name": _schemes_and_presets,
    "fill": lambda typed, line: _schemes("", typed),
}
