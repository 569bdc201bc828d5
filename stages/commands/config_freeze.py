# SPDX-License-Identifier: MIT
"""`usp config freeze | thaw`: a note beside the governor's file that refuses every change."""

import getpass
from typing import Annotated

import typer

from .console import CALLERS_FAULT, JSON, answer, fail, faults_told, settings


def freeze(
    reason: Annotated[str, typer.Argument(help="Why; every refused proposal gets it.")], as_json: JSON = False
) -> None:
    """Refuse every change from now on; rollbacks go on. Run it where the governor's file is.

    Example: usp config freeze "exchange outage, call 1234"
    """
    from ...io.atomic_file import write_atomically
    from ...io.config_backups import freeze_path

    if not reason.strip():
        raise fail(CALLERS_FAULT, "found no reason; expected one, for those who wonder why nothing changes")
    with faults_told():
        path = freeze_path(settings().paths.resolved("config_file").resolve())
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, f"{reason.strip()} ({getpass.getuser()})\n".encode())
    if as_json:
        answer({"frozen": True, "note": str(path)}, True)
    else:
        typer.echo(f"frozen: {path}; lift it with: usp config thaw")


def thaw(as_json: JSON = False) -> None:
    """Allow changes again.

    Example: usp config thaw
    """
    from ...io.config_backups import freeze_path

    with faults_told():
        path = freeze_path(settings().paths.resolved("config_file").resolve())
        was_frozen = path.exists()
        path.unlink(missing_ok=True)
    if as_json:
        answer({"frozen": False, "was_frozen": was_frozen}, True)
    else:
        typer.echo("changes are allowed again" if was_frozen else "nothing was frozen")
