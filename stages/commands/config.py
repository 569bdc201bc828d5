# SPDX-License-Identifier: MIT
"""`usp config ...`: see the configuration, its history and its rules; ask the governor to change it.

Nothing here writes the configuration: `propose`, `rollback` and `adopt` send a proposal, and the governor answers.
`freeze` and `thaw` leave a note for it beside its file.
"""

from collections.abc import Callable

import typer

from .config_change import adopt, propose, rollback
from .config_freeze import freeze, thaw
from .config_rules import explain, lock_list
from .config_view import diff, history, show

COMMANDS: dict[str, Callable[..., None]] = {
    "show": show,
    "diff": diff,
    "propose": propose,
    "rollback": rollback,
    "adopt": adopt,
    "history": history,
    "lock-list": lock_list,
    "explain": explain,
    "freeze": freeze,
    "thaw": thaw,
}
app = typer.Typer(no_args_is_help=True, help="See the model configuration, its history and rules; change it safely.")
for name, command in COMMANDS.items():
    app.command(name)(command)
