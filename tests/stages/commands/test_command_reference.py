# SPDX-License-Identifier: MIT
"""Every command explains itself, and the page of commands says what they say."""

import inspect
from pathlib import Path

import pytest
from typer.main import get_command

from usp.stages.cli import app
from usp.stages.commands.command_reference import leaves, page

PAGE = Path(__file__).parents[3] / "runbooks/commands.md"
LEAVES = dict(leaves(get_command(app), "usp"))
AS_LINES = {"usp tail"}
NO_RESULT = {"usp up", "usp run", "usp snapshot pin", "usp snapshot unpin"}

each = pytest.mark.parametrize("name", LEAVES)


def test_the_page_is_fresh():
    """`python -m usp.stages.commands.command_reference > runbooks/commands.md` writes it anew."""
    assert page(app) == PAGE.read_text()


@each
def test_it_says_what_it_is_for_and_gives_an_example(name):
    """The example is a call of this very command, after its environment."""
    text, _, example = inspect.cleandoc(LEAVES[name].help or "").partition("Example: ")
    assert text.strip()
    assert name in example


@each
def test_every_argument_and_option_is_explained(name):
    """Nothing is left to be guessed."""
    parameters = [p for p in LEAVES[name].params if p.name != "help"]
    assert [] == [p.name for p in parameters if not getattr(p, "help", None)]


@each
def test_its_result_can_be_had_by_machines(name):
    """`--json` wherever there is a result; `usp tail` writes JSON lines anyway."""
    options = {option for p in LEAVES[name].params for option in p.opts}
    assert "--json" in options or name in AS_LINES | NO_RESULT
