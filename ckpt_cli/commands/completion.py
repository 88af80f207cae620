"""`ckpt completion`: print the script that makes a shell complete commands, options, and the names in a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .. import completion


class Shell(StrEnum):
    """The shells that there is a script for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


ShellName = Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="The shell that is to complete.", show_default=False)]


def completion_command(
    shell: ShellName,
) -> None:
    """Print a script for a shell to read: it then completes commands, options, and the names of the tensors in the file already typed.

    \b
    bash: source <(ckpt completion bash), in ~/.bashrc
    zsh:  source <(ckpt completion zsh), in ~/.zshrc
    fish: ckpt completion fish | source, in ~/.config/fish/config.fish

    Of many names it completes one dotted part after another. After PATTERN= in reinit come the schemes.
    """
    print(Path(completion.__file__).with_name(f"ckpt.{shell.value}").read_text(encoding="utf-8"), end="")
