# SPDX-License-Identifier: MIT
"""A key that nothing reads would be turned by somebody who believes that it worked."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from usp.config.model import KEYS
from usp.config.search import PREFIX
from usp.io.mutation_rules import LOCKED_SUBSECTIONS, VALIDATION_SCHEMA

ROOT = Path(__file__).parents[2]
READERS = ("predictor", "stages", "io")
DEMANDED = {*VALIDATION_SCHEMA, *(f"{section}.{key}" for section, keys in LOCKED_SUBSECTIONS.items() for key in keys)}
# The tuner reads these with the name of each searched key put behind the prefix.
SEARCHED = {path for path in KEYS if path.startswith(f"meta_optimization.{PREFIX}")}


def words_of(source: str) -> Iterator[str]:
    """Attributes that the code reads and text constants; a declaration alone (`key: Lane`) is no reader."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


READ = {
    word
    for folder in READERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    for word in words_of(path.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("path", sorted(set(KEYS) - SEARCHED))
def test_every_key_has_a_reader(path: str) -> None:
    """In the predictor, the stages or io/, unless the mutation schema or the lock list demands that it exists."""
    assert path in DEMANDED or {path, path.partition(".")[2]} & READ, (
        f"nothing reads {path}; expected a reader in {', '.join(READERS)}. Give it one, or drop the key and say why in "
        "runbooks/decisions/configuration-keys.md"
    )


def test_a_declaration_or_a_sentence_is_no_reader() -> None:
    """An attribute counts, and a text that is the name and nothing else."""
    source = '"""About key_a."""\nkey_b: int = 1\nprint(p.key_c)\nfind("key_d")\n'
    assert [key for key in ("key_a", "key_b", "key_c", "key_d") if key in set(words_of(source))] == ["key_c", "key_d"]
