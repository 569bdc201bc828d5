# SPDX-License-Identifier: MIT
"""The README is true: its drawing, its example, its commands. Its two clients are run by test_live_pages."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest

from markdown_blocks import blocks, commands
from usp.stages import topology

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text()


def test_the_drawing_is_the_table():
    """The pipeline is drawn from the topology; print(topology.draw()) gives the fresh one."""
    found = re.search(r"<!-- topology.*?-->\n```text\n(.*?)\n```\n<!-- /topology -->", TEXT, re.S)
    assert topology.draw() == found[1]


def test_it_begins_with_one_sentence_and_no_badges():
    """The first screen says what this is."""
    first = TEXT.split("\n\n")[1].replace("\n", " ")
    assert (1, True) == (first.count(". ") + first.endswith("."), len(first) < 200)
    assert "![" not in TEXT.partition("## Two commands")[0]


def test_its_picture_is_there_and_small():
    """One picture of the report, described for those who do not see it."""
    [(described, path)] = re.findall(r"!\[(.*?)\]\((.*?)\)", TEXT)
    assert len(described) > 20
    assert (ROOT / path).stat().st_size < 200_000


def test_its_commands_are_targets_of_the_makefile():
    """`make demo` and `make test` exist."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    called = [
        words[1]
        for block in blocks(README)
        if block.language == "sh"
        for words in commands(block)
        if words[0] == "make"
    ]
    assert ["demo", "test"] == called
    assert set(called) <= targets


def test_the_clients_are_short():
    """Fifteen lines each, with two packages and the standard library."""
    clients = [block.text for block in blocks(README) if block.language == "python" and ">>>" not in block.text]
    assert [15, 15] == [len(client.splitlines()) for client in clients]
    for client in clients:
        imported = {name for line in re.findall(r"^import (.+)", client, re.M) for name in line.split(", ")}
        assert imported <= {"io", "json", "sys", "time", "confluent_kafka", "fastavro"}


def test_the_folders_are_those_of_the_tree():
    """Every folder of the table exists, and every package has its row."""
    named = set(re.findall(r"^\| `(\w+)/` \|", TEXT, re.M))
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert [] == [name for name in named if not (ROOT / name).is_dir()]
    assert {name.split(".")[1] for name in packages if "." in name} <= named


@pytest.mark.slow
def test_the_library_example_gives_what_it_shows():
    """The Python session of the README runs as printed."""
    session = doctest.DocTestParser().get_doctest(TEXT, {}, "README.md", str(README), 0)
    assert doctest.TestResults(failed=0, attempted=4) == doctest.DocTestRunner().run(session)
