"""The command line before the cursor: which arguments are given, and which option waits for its value."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .optional_values import filled_in

if TYPE_CHECKING:
    from ..tensors.checkpoint import Checkpoint

_WITH_OBJECTS = ("get", "drop")  # commands whose names may be those of objects, too


class CommandLine(NamedTuple):
    """What stands before the cursor.

    Attributes:
        command: The command.
        options: The parameters that are options, by each of their names.
        arguments: The parameters that are arguments, in order.
        given: The arguments so far.
        waiting: The option whose value stands at the cursor, or None.
        plain: Whether `--` was given: no later word is an option.
    """

    command: str
    options: dict[str, Any]
    arguments: list[Any]
    given: list[str]
    waiting: Any
    plain: bool

    @classmethod
    def parse(cls, command: str, words: list[str], params: list[Any]) -> CommandLine:
        """Parse the words that follow the command; `params` are its click parameters."""
        options = {name: param for param in params if param.param_type_name == "option" for name in param.opts}
        options |= {"--help": None}
        given: list[str] = []
        waiting, plain = None, False
        for word in filled_in(words, params):
            if waiting is not None:
                waiting = None
            elif word == "--":
                plain = True
            elif word.startswith("-") and not plain:
                option = options.get(word)
                waiting = option if option is not None and not option.is_flag else None
            else:
                given.append(word)
        return cls(command, options, [param for param in params if param.param_type_name == "argument"], given, waiting, plain)

    def next_argument(self) -> Any:
        """Return the argument at the cursor, or None if the command takes no more."""
        index = len(self.given)
        if index < len(self.arguments):
            return self.arguments[index]
        return self.arguments[-1] if self.arguments and self.arguments[-1].nargs == -1 else None

    def names(self) -> Mapping[str, object]:
        """Return the names in the file: of tensors and, for the commands that take them, of objects."""
        checkpoint = self.checkpoint()
        return {**checkpoint.kinds(), **(checkpoint.objects if self.command in _WITH_OBJECTS else {})}

    def checkpoint(self) -> Checkpoint:
        """Open the checkpoint that the first argument names."""
        from .. import reading

        return reading.open(os.path.expanduser(self.given[0]))

    def layer_types(self) -> list[str]:
        """Return the types of layers in the file, for `@Type` patterns."""
        from ..architectures import recognition

        checkpoint = self.checkpoint()
        model = recognition.model_of(checkpoint, "auto")
        return sorted(set(filter(None, (model.placed if model else checkpoint.layers).values())))
