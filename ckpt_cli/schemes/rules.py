"""Rules: PATTERN=SCHEME or PATTERN=SCHEME(ARG, KEY=VALUE). They are parsed, never evaluated.

A SCHEME is a registered name (`zeros`, `mxnet.Xavier`) or `FILE.py:FUNCTION`. Arguments are Python literals. Anything else is text as it
stands (`mode=fan_out`, `fan=768x2304`, `copy_from(other.pt)`), except nan and inf, which are numbers. Some schemes take schemes:
`rows(normal(0, 0.02), 0=zeros)`. In place of a scheme, `preset:NAME` fills each tensor as a preset does, and `keep` leaves it as it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, NamedTuple, TypeVar

from ..errors import UnknownName, UsageError
from .distribution import Distribution, InPlace
from .presets import Preset, presets
from .roles import Role
from .scheme import Scheme, schemes
from .signature import Signature
from .target import Target
from .user_function import load

S = TypeVar("S", bound=Signature)

_CALL = re.compile(
    r"(?P<preset>preset:\s*)?(?P<name>[^()=,'\"]+\.py:[^\W\d]\w*|[^\W\d]\w*(?:\.[^\W\d]\w*)*)\s*(?:\((?P<arguments>.*)\))?", re.DOTALL
)
_TOKEN = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\[\]{}()"',]+|.""", re.DOTALL)
_KEYWORD = re.compile(r"\s*([^\W\d]\w*|-?\d+|-?\d*:(?:-?\d+)?)\s*=(?!=)\s*(.*)", re.DOTALL)  # a name, or the rows of `rows`
_DEEPEST = 20  # brackets within brackets
_MEND = "write PATTERN=SCHEME or PATTERN=SCHEME(ARG, KEY=VALUE), quoted for the shell"
_NO_CALL = "write NAME or NAME(ARG, KEY=VALUE)"


class Call(NamedTuple):
    """A scheme and its arguments, which fit its signature. `str` gives text that parse_call parses to the same call."""

    scheme: Scheme[Any]
    arguments: Mapping[str, Any]

    def distribution(self, target: Target) -> Distribution:
        """Return what the scheme says for this target.

        Raises:
            UsageError: it is random, and one of its numbers is infinite or NaN.
            CkptError: the scheme does not suit the target.
        """
        distribution = self.scheme(target, **self.arguments)
        if isinstance(distribution, InPlace) and distribution.random:  # `sampling` sees the parameters of the others
            for key, value in self.arguments.items():
                if isinstance(value, float) and not isfinite(value):
                    raise UsageError(f"{self} cannot be drawn: {key} is {value}", "a number that says how to draw is finite")
        return distribution

    @property
    def needs_old_values(self) -> bool:
        """Whether it, or a scheme among its arguments, starts from the values that the tensor has."""
        own = self.scheme.family == "warm start" and "file" not in self.scheme.parameters
        return own or any(value.needs_old_values for value in self.arguments.values() if isinstance(value, Call))

    def __str__(self) -> str:
        return _written_call(self.scheme, self.arguments)


class PresetCall(NamedTuple):
    """A preset and its arguments, which fit its signature. `str` gives what follows `--preset`, and `preset:` in a rule."""

    preset: Preset
    arguments: Mapping[str, Any]

    def distribution(self, target: Target, role: Role) -> Distribution | None:
        """Return how the preset fills a target of this role; None leaves it as it is."""
        return self.preset(target, role, **self.arguments)

    def __str__(self) -> str:
        return _written_call(self.preset, self.arguments)


class Keep(NamedTuple):
    """Nothing is filled, whatever earlier rules and presets say."""

    def __str__(self) -> str:
        return "keep"


class Rule(NamedTuple):
    """The tensors that match `pattern` are filled by `call`."""

    pattern: str
    call: Call | PresetCall | Keep

    def __str__(self) -> str:
        return f"{self.pattern}={'preset:' if isinstance(self.call, PresetCall) else ''}{self.call}"


def parse_rule(text: str) -> Rule:
    """Parse `PATTERN=SCHEME(ARGUMENTS)`.

    The text is split at the last `=` that a well-formed call follows: a pattern may hold `=` and parentheses of its own.

    Raises:
        UsageError: the text is no rule, or the arguments do not fit the scheme.
        UnknownName: no scheme has that name.
    """
    at = len(text)
    while (at := text.rfind("=", 0, at)) > 0:
        if _CALL.fullmatch(text[at + 1 :].strip()) and _pieces(_arguments(text[at + 1 :])) is not None:
            return Rule(text[:at].strip(), parse_right_side(text[at + 1 :]))
    raise UsageError(f"{text!r} is no rule", _MEND)


def parse_right_side(text: str) -> Call | PresetCall | Keep:
    """Parse what follows the `=` of a rule: a call as parse_call has it, `preset:NAME`, `preset:NAME(ARGS)` or `keep`.

    Raises:
        UsageError: the text is none of these, or the arguments do not fit.
        UnknownName: no scheme or preset has that name.
    """
    before, colon, preset = text.partition(":")
    if colon and before.strip() == "preset":
        return parse_preset(preset)
    return Keep() if text.strip() == "keep" else parse_call(text)


def parse_preset(text: str) -> PresetCall:
    """Parse `NAME` or `NAME(ARGS)`, as `--preset` takes it.

    Raises:
        UsageError: the text is no call, or the arguments do not fit the preset.
        UnknownName: no preset has that name.
    """
    preset, arguments = _bound(text, "preset", presets.__getitem__)
    return PresetCall(preset, arguments)


def parse_call(text: str) -> Call:
    """Parse `NAME`, `NAME(ARGS)`, `package.NAME(ARGS)` or `FILE.py:FUNCTION(ARGS)`.

    Raises:
        UsageError: the text is no call, or the arguments do not fit the scheme.
        UnknownName: no scheme has that name.
    """
    try:
        scheme, arguments = _bound(text, "scheme", named_scheme)
    except UnknownName as error:
        called = _CALL.fullmatch(text.strip())
        if called and called["name"] in presets:
            error.mend = f"a preset is: write preset:{text.strip()}"
        raise
    return Call(scheme, arguments)


def _bound(text: str, kind: str, named: Callable[[str], S]) -> tuple[S, dict[str, Any]]:
    """The scheme or preset that a call names, and its arguments by name."""
    call = _CALL.fullmatch(text.strip())
    pieces = _pieces(_arguments(text))
    if not call or call["preset"] or pieces is None:
        raise UsageError(f"{text.strip()!r} is no {kind}", _NO_CALL)
    positional: list[Any] = []
    by_name: dict[str, Any] = {}
    for piece in pieces:
        keyword = _KEYWORD.fullmatch(piece)
        if keyword is None and by_name:
            raise UsageError(f"{piece.strip()} follows an argument that is given by name", f"in {text.strip()}")
        if keyword is None:
            positional.append(_value(piece))
        elif keyword[1] in by_name:
            raise UsageError(f"{keyword[1]} is given twice", f"in {text.strip()}")
        else:
            by_name[keyword[1]] = _value(keyword[2])
    called = named(call["name"])
    bound = called.bind(positional, by_name)
    return called, {key: parse_call(value) if called.takes_scheme(key) else value for key, value in bound.items()}


def named_scheme(name: str) -> Scheme[Any]:
    """Return the scheme of that name.

    Args:
        name: a registered name, also as torch spells it (`torch.nn.init.normal_`), or FILE.py:FUNCTION, whose file is executed.

    Raises:
        UnknownName: no scheme has that name.
        UsageError: FILE has no such function.
        UserCodeError: FILE raises an exception.
    """
    if ".py:" in name:
        return load(name)
    plain = re.sub(r"^(torch\.)?(nn\.)?init\.", "", name)
    return schemes[plain.removesuffix("_") if plain not in schemes else plain]


def _arguments(text: str) -> str:
    """The text between the outer parentheses of a call; empty where it has none, or is no call."""
    call = _CALL.fullmatch(text.strip())
    return (call["arguments"] or "") if call else ""


def _pieces(text: str) -> list[str] | None:
    """Split at the commas outside brackets and quotes; None where brackets or quotes do not pair up, or a piece is empty."""
    pieces, open_brackets = [""], []
    for token in _TOKEN.findall(text):
        if token in "([{":
            open_brackets.append(token)
            if len(open_brackets) > _DEEPEST:
                return None
        elif token in "'\"" or (token in ")]}" and (not open_brackets or open_brackets.pop() + token not in ("()", "[]", "{}"))):
            return None
        if token == "," and not open_brackets:
            pieces.append("")
        else:
            pieces[-1] += token
    if not text.strip():
        return []
    return None if open_brackets or not all(piece.strip() for piece in pieces) else pieces


def _value(text: str) -> Any:
    """The argument that a text stands for: a number, another Python literal, or the text itself."""
    text = text.strip()
    if re.fullmatch(r"[+-]?(nan|inf)", text):
        return float(text)
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of invalid escapes in a literal
            value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    if isinstance(value, int | float | complex) and not isinstance(value, bool | int) and not isfinite(abs(value)):
        raise UsageError(f"{text[:50]} is more than a number can be", "write inf where infinity is meant")
    return value


def _written_call(called: Signature, arguments: Mapping[str, Any]) -> str:
    """The text of a call, which parses to the same call. A scheme that comes first goes without its name: `rows(zeros, 0=ones)`."""
    first = next(iter(called.parameters), "")
    bare = {key for key, value in arguments.items() if isinstance(value, Call) and key == first}
    written = (_written(value) if key in bare else f"{key}={_written(value)}" for key, value in arguments.items())
    return f"{called.name}({', '.join(written)})" if arguments else called.name


def _written(value: Any) -> str:
    """The text that `_value` parses to this value, without quotes where possible."""
    if not isinstance(value, str):
        return str(value) if isinstance(value, Call) else repr(value)
    plain = re.fullmatch(r"[\w./:@+~ -]+", value) and value == value.strip() and _value(value) == value
    return value if plain else repr(value)
