"""`ckpt _complete`: the words that could stand at the cursor. It never says an error, and it takes three seconds at most."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .names import Candidate, by_last_part, by_part, starting
from .words import Word, as_bash_takes_it, split

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint

Command = Callable[[str], Any]
FILES = None  # the shell knows better what files there are


def answer(args: list[str], commands: Mapping[str, str], command: Command) -> int:
    """Print a line for each candidate: `+` where a space may follow, `-` where more does, then the word; or `files`."""
    ends = signal.signal(signal.SIGALRM, signal.SIG_DFL)  # whatever it is that takes so long
    signal.setitimer(signal.ITIMER_REAL, 3.0)
    try:
        shell, words, last = _asked(args)
        found = _candidates(words, last.text, commands, command)
        lines = ["files"] if found is FILES else [f"{'-+'[one.whole]}{_written(one.text, shell, last)}" for one in found]
        sys.stdout.buffer.write("".join(f"{line}\n" for line in lines).encode(errors="replace"))
        sys.stdout.buffer.flush()
    except Exception:  # a key was pressed: no answer is better than an error
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, ends)
    return 0


def _asked(args: list[str]) -> tuple[str, list[str], Word]:
    """The shell, the words before the cursor without the program, and the one at it: bash gives its line, the others their words."""
    shell, first, *more = args
    if shell == "bash":
        *before, last = split(first, more[0])
        return shell, [word.meant for word in before[1:]], last
    return shell, more, split(first)[-1] if shell == "fish" else Word(first)


def _written(text: str, shell: str, last: Word) -> str:
    return as_bash_takes_it(text, last) if shell == "bash" else text


def _candidates(words: list[str], typed: str, commands: Mapping[str, str], command: Command) -> list[Candidate] | None:
    if not words:
        return starting([*commands, *(("--help", "--version") if typed.startswith("-") else ())], typed)
    if words[0] not in commands:
        return []
    line = _Line.read(words[0], words[1:], command(words[0]).params)
    if line.open is not None:
        return _value(line.open, typed, line)
    if typed.startswith("-") and not line.plain:
        option, equals, value = typed.partition("=")
        if equals:
            found = _value(line.options[option], value, line)
            return FILES if found is FILES else [Candidate(f"{option}={one.text}", one.whole) for one in found]
        return starting(sorted(option for option in line.options if option.startswith("--") or option == typed), typed)
    argument = line.next_argument()
    return [] if argument is None else _value(argument, typed, line)


class _Line(NamedTuple):
    """What stands before the cursor: the arguments so far, and an option that waits for its value, if one does."""

    command: str
    options: dict[str, Any]
    arguments: list[Any]
    given: list[str]
    open: Any
    plain: bool  # after `--` nothing is an option

    @classmethod
    def read(cls, command: str, words: list[str], params: list[Any]) -> _Line:
        options = {name: one for one in params if one.param_type_name == "option" for name in one.opts}
        options |= {"--help": None}
        given: list[str] = []
        waiting, plain = None, False
        for word in words:
            if waiting is not None:
                waiting = None
            elif word == "--":
                plain = True
            elif word.startswith("-") and not plain:
                one = options.get(word)
                waiting = one if one is not None and not one.is_flag else None
            else:
                given.append(word)
        return cls(command, options, [one for one in params if one.param_type_name == "argument"], given, waiting, plain)

    def next_argument(self) -> Any:
        at = len(self.given)
        if at < len(self.arguments):
            return self.arguments[at]
        return self.arguments[-1] if self.arguments and self.arguments[-1].nargs == -1 else None

    def names(self) -> Mapping[str, object]:
        """Of tensors; where they are meant, too, of what is in the file besides."""
        checkpoint = self.checkpoint()
        return {**checkpoint.kinds(), **(checkpoint.objects if self.command in ("get", "drop") else {})}

    def checkpoint(self) -> Checkpoint:
        from .. import reading

        return reading.open(os.path.expanduser(self.given[0]))

    def layer_types(self) -> list[str]:
        from ..architectures import recognition

        checkpoint = self.checkpoint()
        model = recognition.of(checkpoint, "auto")
        return sorted(set(filter(None, (model.placed if model else checkpoint.layers).values())))


def _value(param: Any, typed: str, line: _Line) -> list[Candidate] | None:
    """What an argument or the value of an option could be, by the parameter's name, which means the same in every command."""
    choices = getattr(param.type, "choices", None)
    if choices:
        return starting(choices, typed)
    found = _KINDS[param.name](typed, line) if param.name in _KINDS else []
    return FILES if not found and param.name in ("arch", "architecture") else found


def _files(typed: str, line: _Line) -> None:
    return FILES


def _names(typed: str, line: _Line) -> list[Candidate]:
    if typed.startswith("@"):
        return starting([f"@{kind}" for kind in line.layer_types()], typed)
    separator = line.checkpoint().separator
    if typed.startswith(f"*{separator}"):
        return by_last_part(line.names(), typed, separator)
    return by_part(line.names(), typed, separator)


def _assignment(typed: str, line: _Line) -> list[Candidate]:
    """A name; once it is whole, the operators that could follow."""
    found = _names(typed.rstrip(" +-*/=") if " " in typed else typed, line)
    if len(found) != 1 or not found[0].whole:
        return [one._replace(whole=False) for one in found]
    operators = [Candidate(f"{found[0].text} {sign}", False) for sign in ("=", "+=", "-=", "*=", "/=")]
    return [one for one in operators if one.text.startswith(typed)]


def _rule(typed: str, line: _Line) -> list[Candidate]:
    """PATTERN=SCHEME in reinit, OLD=NEW elsewhere: a name, then what can follow its sign."""
    pattern, sign, begun = typed.rpartition("=")
    if line.command == "reinit" and sign and "(" not in begun:
        return _schemes(f"{pattern}=", begun)
    found = _names(typed, line)
    if line.command == "reinit" and len(found) == 1 and found[0].whole:
        return _schemes(f"{found[0].text}=", "")
    return [Candidate(f"{one.text}=" if one.whole else one.text, False) for one in found]


def _schemes(before: str, begun: str) -> list[Candidate]:
    from ..schemes import schemes

    return [Candidate(f"{before}{name}") for name in sorted(schemes, key=str.lower) if name.startswith(begun)]


def _dtypes(typed: str, line: _Line) -> list[Candidate]:
    from ..numbers.dtypes import DTYPES

    return starting((name for name, dtype in DTYPES.items() if dtype.addressable), typed)


def _architectures(typed: str, line: _Line) -> list[Candidate]:
    from ..architectures import architectures

    return starting([*(() if line.command == "new" else ("auto", "none")), *architectures], typed)


def _hyperparameters(typed: str, line: _Line) -> list[Candidate]:
    from ..architectures import architectures
    from ..architectures.hyperparameters import schema

    keys = schema(architectures[line.given[0]]) if line.given[0] in architectures else ()
    return [Candidate(f"{key}=", False) for key in keys if key.startswith(typed)]


def _formats(typed: str, line: _Line) -> list[Candidate]:
    from ..formats import formats

    return starting((name for name, form in formats.items() if form.writes), typed)


def _presets(typed: str, line: _Line) -> list[Candidate]:
    from ..schemes.presets import presets

    return starting(presets, typed)


def _schemes_and_presets(typed: str, line: _Line) -> list[Candidate]:
    return [*_schemes("", typed), *_presets(typed, line)]


_KINDS: dict[str, Callable[[str, _Line], list[Candidate] | None]] = {
    **dict.fromkeys(("path", "a", "b", "source", "target", "output", "recipe", "spec", "same_names_as", "arguments"), _files),
    **dict.fromkeys(("patterns", "reference", "names", "selected", "dropped"), _names),
    "assignments": _assignment,
    "rules": _rule,
    "dtype": _dtypes,
    **dict.fromkeys(("arch", "architecture"), _architectures),
    "pairs": _hyperparameters,
    "format_name": _formats,
    "preset": _presets,
    "name": _schemes_and_presets,
}
