"""The table of commands, and the one place where errors become exit statuses. The module of a command is imported when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

# Command → its line in `ckpt --help`, in the order of that page.
COMMANDS = {
    "ls": "List the tensors: name, dtype, shape, parameters, bytes, ties.",
    "summary": "Tell what is in the file: layers, totals, dtypes, other objects.",
    "get": "Print the values of one parameter, or of a part of it.",
    "tied": "List the names that share one storage.",
    "stats": "Print figures of the values: extremes, mean, std, norm, zeros, NaN.",
    "hash": "Print digests of the values, whatever format holds them.",
    "check": "Tell whether a file is whole and what it should be; exit 1 where not.",
    "spec": "Write down what a file holds, for check to hold others against.",
    "diff": "Compare two checkpoints; exit 1 where they differ.",
    "git-diff": "Tell git what differs: a diff driver.",
    "set": "Set values by hand: '0.weight[0,0] = 42'.",
    "reinit": "Re-initialise parameters with named schemes.",
    "resize": "Change the shapes of parameters.",
    "add": "Add tensors: from other files, or drawn.",
    "merge": "Make one checkpoint of several: mean, arc, task arithmetic, LoRA.",
    "tie": "Make names share one storage.",
    "untie": "Give names a storage of their own.",
    "rename": "Rename parameters, by name, glob or regular expression.",
    "drop": "Leave parameters and other objects out.",
    "cast": "Convert parameters to another dtype.",
    "apply": "Make a list of edits, from a recipe, in one pass.",
    "convert": "Write a checkpoint in another format.",
    "new": "Write a fresh checkpoint of a known architecture.",
    "grad": "Run forward and backward, and print each parameter's gradient.",
    "train": "Make a few steps of SGD, and watch parameters and gradients.",
    "archs": "List the architectures.",
    "schemes": "List the initialisation schemes.",
    "formats": "List the file formats.",
    "completion": "Print a script by which bash, zsh or fish complete.",
}


class Command(TyperCommand):
    """A command, some of whose options may lack their value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words that follow the command."""
        from .completion.optional_values import filled_in

        return super().parse_args(ctx, list(filled_in(args, self.params)))


class Commands(TyperGroup):
    """The commands, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, name: str) -> Any:
        """Import a command and return it as click's object; None for a name that is not a command."""
        if name not in COMMANDS:
            return None
        word = name.replace("-", "_")
        module = import_module(f".commands.{word}", __package__)
        command_app = typer.Typer(add_completion=False, rich_markup_mode=None)
        command_app.command(name, cls=Command, short_help=COMMANDS[name], context_settings={"help_option_names": ["-h", "--help"]})(
            getattr(module, f"{word}_command")
        )
        return typer.main.get_command(command_app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of commands of the help page, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(cls=Commands, add_completion=False, rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"ckpt {version('ckpt-tool')}")
        raise typer.Exit


@app.callback(context_settings={"help_option_names": ["-h", "--help"]})
def ckpt(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version.")) -> None:
    """Look into, edit, compare and re-initialise model checkpoints.

    Exit status: 0 done, same or holds; 1 differs or does not hold; 2 an error; 130 interrupted.
    """


class Terminated(BaseException):
    """SIGTERM or SIGHUP, by its number. As an exception it lets the code that it passes remove temporary files."""


_UsageError: Any = typer.BadParameter.__mro__[2]  # click's class, in the copy of click that typer uses

_COMPLETE = "_complete"  # what shells call at every TAB; not for people
_ERROR = 2  # exit statuses
_INTERRUPTED = 130


def main(args: list[str] | None = None) -> int:
    """Run a command line and return the exit status. An error is one line on standard error; CKPT_DEBUG=1 adds the traceback."""
    from .errors import CkptError, os_error

    try:
        _ready_streams()
        args = sys.argv[1:] if args is None else args
        if args[:1] == [_COMPLETE]:
            return _complete(args[1:])
        status = _run_command(args or ["--help"])
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        return 0
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # click gives 1 for `| head`
            return 0
        raise
    except Terminated as end:
        return 128 + int(end.args[0])
    except (KeyboardInterrupt, typer.Abort):
        _leave_line()
        return _INTERRUPTED
    except _UsageError as error:
        return _failed(_usage(error), error)
    except CkptError as error:
        return _failed(str(error), error)
    except OSError as error:
        return _failed(str(os_error(error)), error)
    except (MemoryError, RecursionError) as error:
        return _failed(f"{type(error).__name__} (CKPT_DEBUG=1 shows where)", error)
    except Exception as error:
        return _failed(f"a fault in ckpt itself: {type(error).__name__}: {error} (please report it; CKPT_DEBUG=1 shows where)", error)


def _run_command(args: list[str]) -> Any:
    """Run a command, then print the notes that were kept until its answer was complete."""
    from .show.answer import release_notes

    try:
        status = app(args, prog_name="ckpt", standalone_mode=False)
    except BaseException as error:
        release_notes(isinstance(error, (BrokenPipeError, SystemExit)))
        raise
    release_notes(True)
    return status


def _leave_line() -> None:
    """End the line after `^C` on a terminal, so that the next prompt begins a new one."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(file=sys.stderr)


def _complete(args: list[str]) -> int:
    from .completion.candidates import answer

    return answer(args, COMMANDS, lambda name: Commands().get_command(None, name))


def _ready_streams() -> None:
    """Make streams escape what they cannot encode, and replace those that the caller closed with ones that discard everything."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 (open until the program ends)
        getattr(sys, name).reconfigure(errors="backslashreplace")


def _failed(text: str, error: BaseException) -> int:
    """Print an error, and return its exit status."""
    from .show.escape import line

    if os.environ.get("CKPT_DEBUG") == "1":
        import traceback

        traceback.print_exception(error)
    try:
        print(f"ckpt: error: {line(text)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # nobody reads it
        pass
    return _ERROR


def _usage(error: Any) -> str:
    """Return one line that says what is wrong with the command line, and where its help is."""
    message = " ".join(error.format_message().split()).rstrip(".")
    message = message[:1].lower() + message[1:]
    path = error.ctx.command_path if getattr(error, "ctx", None) else "ckpt"
    if message.startswith("no such command"):
        from .errors import did_you_mean

        hint = did_you_mean(message.split("'")[1], COMMANDS)
        return f"{message.split(',')[0].split('. ')[0]} ({hint or '`ckpt --help` lists the commands'})"
    return f"{message} (see `{path} --help`)"
