# SPDX-License-Identifier: MIT
"""The code blocks of a Markdown page, and the commands in them.

A block `sh test` or `python test` is run by the system tests; a `text` block right after it is what must come out,
with `...` for anything.
"""

import re
import shlex
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(?P<language>\w+)(?P<test> test)?\n(?P<text>.*?)^```$", re.M | re.S)
SEPARATORS = {";", "|", "||", "&&", "&", "do", "then"}
ASSIGNMENT = re.compile(r"[A-Z_]+=")


class Block(NamedTuple):
    """One code block; `line` is that of its first line in the page."""

    page: Path
    line: int
    language: str
    is_tested: bool
    text: str
    expected: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    source = page.read_text(encoding="utf-8")
    found = list(BLOCK.finditer(source))
    result: list[Block] = []
    for this, following in zip_longest(found, found[1:]):
        is_answer = (
            following is not None
            and following["language"] == "text"
            and not source[this.end() : following.start()].strip()
        )
        line = source.count("\n", 0, this.start()) + 2
        expected = following["text"] if following is not None and is_answer else ""
        result.append(Block(page, line, this["language"], bool(this["test"]), this["text"], expected))
    return result


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a shell block as words, without prefixes like `timeout 20` and assignments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in SEPARATORS:
                words.append(word)
            elif words:
                yield unwrapped(words)
                words = []


def unwrapped(words: list[str]) -> list[str]:
    """The command behind its prefixes."""
    while words:
        if ASSIGNMENT.match(words[0]):
            words = words[1:]
        elif words[0] == "timeout":
            words = words[2:]
        elif words[:2] == ["docker", "compose"] and "exec" in words and words[6][:1] != "-":
            words = words[6:]
        else:
            break
    return words


def answers(expected: str, output: str) -> bool:
    """Do the expected lines come in the output, in this order, each a whole line or with `...` for anything?"""
    pattern = r"\n(?:.*\n)*?".join(re.escape(line).replace(re.escape("..."), ".*") for line in expected.splitlines())
    return re.search(rf"^{pattern}$", output, re.M) is not None
