# SPDX-License-Identifier: MIT
"""The page of all commands, made from the commands themselves.

python -m usp.stages.commands.command_reference > runbooks/commands.md
"""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, cast

import typer
from typer.main import get_command

from .console import EXIT_CODES

HEAD = """# Commands

Made from the program by `python -m usp.stages.commands.command_reference`; `usp COMMAND --help` shows the same.

Results go to standard output, everything else to standard error. `--json` gives one JSON document; `usp tail` and
`usp dlq list --json` give one a line. Colours and moving lines are for terminals alone; `NO_COLOR=1` takes the colours
away there too. `usp --install-completion` teaches the shell (bash, zsh, fish, PowerShell) commands, options, stages and
topics. Settings: [settings](settings.md).

| exit code | meaning |
|---|---|
"""


def page(app: typer.Typer) -> str:
    """The whole page."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    return HEAD + codes + "".join(section(name, command) for name, command in leaves(get_command(app), "usp"))


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The commands that do something, by their full names; a group that does something itself comes before its own."""
    below = cast("Mapping[str, Any]", getattr(command, "commands", {}))
    if not below or (name != "usp" and getattr(command, "invoke_without_command", False)):
        yield name, command
    for word in sorted(below):
        yield from leaves(below[word], f"{name} {word}")


def section(name: str, command: Any) -> str:
    """One command: what it is for, an example, its arguments and options."""
    text, *examples = inspect.cleandoc(command.help or "").split("Example: ")
    parts = [f"\n## {name}\n\n{' '.join(text.split())}\n"]
    if examples:
        parts.append("\n```sh\n" + "".join(f"{example.strip()}\n" for example in examples) + "```\n")
    rows = [row(parameter) for parameter in command.params if parameter.name != "help" and not hidden(parameter)]
    if rows:
        parts.append("\n| | | default |\n|---|---|---|\n" + "".join(rows))
    return "".join(parts)


def hidden(parameter: Any) -> bool:
    """Parameters that are for nobody."""
    return bool(getattr(parameter, "hidden", False))


def row(parameter: Any) -> str:
    """One argument or option as a line of the table."""
    is_option = parameter.param_type_name == "option"
    name = ", ".join(f"`{text}`" for text in parameter.opts) if is_option else f"`{parameter.name.upper()}`"
    help_text = str(getattr(parameter, "help", "") or "").replace("|", "\\|")
    return f"| {name} | {help_text} | {default_of(parameter)} |\n"


def default_of(parameter: Any) -> str:
    """The default as it would be typed; nothing for switches and for what is empty."""
    if parameter.required:
        return "required"
    value: Any = parameter.default
    if value is None or isinstance(value, bool) or value == "" or callable(value):
        return ""
    return f"`{value}`"


def main() -> None:
    """Print the page."""
    from ..cli import app

    typer.echo(page(app), nl=False)


if __name__ == "__main__":
    main()
