# SPDX-License-Identifier: MIT
"""Logs are for people and machines, hold no secret and no signal, and do not drown anybody."""

import io
import json
import sys

import pytest
import structlog

from usp.io.logs import Hiding, RepeatLimit, configure_logs
from usp.io.secrets_hidden import hidden, secrets_in

SECRET = "hunter2/pl@nted"
ENVIRON = {
    "USP_BUS__SASL_PASSWORD": SECRET,
    "USP_REDIS__URL": "rediss://me:redis-pw-7@host/0",
    "USP_SCHEMA_REGISTRY_URL": "https://me:p%40ss%2Fword@registry",
    "USP_BUS__SSL_KEY_PEM": "-----BEGIN\nLINES-----",
    "USP_PROPOSAL_KEY": "abc",
    "USP_LOGS__LEVEL": "info",
    "HOME": "/home/somebody",
}


@pytest.fixture
def lines(capsys):
    """What is written to standard error."""
    yield lambda: capsys.readouterr().err
    structlog.reset_defaults()


def test_every_line_is_one_json_object_with_its_context(lines):
    """Machines read line by line."""
    log = configure_logs("info", "json", stage="ingest", instance="0")
    log.info("started", topics=("a", "b"), odd=object())
    log.debug("not shown")
    [line] = lines().splitlines()
    found = json.loads(line)
    assert ("started", "info", "ingest", "0") == tuple(found[k] for k in ("event", "level", "stage", "instance"))
    assert found["timestamp"].endswith("Z")


def test_no_terminal_no_text_for_people(lines):
    """`auto` writes JSON into files and pipes."""
    configure_logs("info", "auto").info("hello")
    assert "hello" == json.loads(lines())["event"]


def test_a_terminal_gets_text(lines, monkeypatch):
    """`auto` writes for people where people are."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logs("info", "auto").info("hello", stage="x")
    text = lines()
    assert "hello" in text
    assert not text.startswith("{")


@pytest.mark.parametrize("style", ["json", "console"])
def test_no_secret_in_lines_and_tracebacks(lines, style):
    """Wherever it is planted: text, values, keys of nested values, exceptions, addresses."""
    log = configure_logs("info", style, secrets_in(ENVIRON))

    def fail(price: float) -> None:
        password = ENVIRON["USP_BUS__SASL_PASSWORD"]
        raise ValueError(f"refused {password}")

    log.info(f"event {SECRET}", value=SECRET, nested={"a": [SECRET, {SECRET: 1}]}, url=ENVIRON["USP_REDIS__URL"])
    try:
        fail(61_000 + 837.25)
    except ValueError:
        log.exception("failed", registry=ENVIRON["USP_SCHEMA_REGISTRY_URL"], pem=ENVIRON["USP_BUS__SSL_KEY_PEM"])
    text = lines()
    assert "***" in text
    for planted in (SECRET, "redis-pw-7", "p%40ss%2Fword", "p@ss/word", "BEGIN", "61837.25"):
        assert planted not in text, planted


def test_what_is_no_secret_is_not_hidden():
    """Names, levels and folders stay; a secret of three letters is not looked for in every word."""
    assert not {"info", "/home/somebody", "abc", "me"} & set(secrets_in(ENVIRON))
    assert "a *** b" == hidden(f"a {SECRET} b", secrets_in(ENVIRON))


def test_repeats_are_counted_not_written():
    """Five in a minute; the next minute's first line tells how many were left out."""
    now_s = 0.0
    limit = RepeatLimit(most=5, window_s=60.0, now_s=lambda: now_s)
    passed = sum(passes(limit, "warning", "again") for _ in range(1000))
    assert 5 == passed
    assert passes(limit, "warning", "another")
    assert all(passes(limit, "critical", "again") for _ in range(10))
    now_s = 61.0
    assert 995 == limit(None, "warning", {"event": "again"})["left_out"]
    assert "left_out" not in limit(None, "warning", {"event": "again"})


def passes(limit: RepeatLimit, method: str, event: str) -> bool:
    """Is the line written?"""
    try:
        limit(None, method, {"event": event})
    except structlog.DropEvent:
        return False
    return True


def test_a_flood_is_cheap(lines):
    """A fault in every record writes five lines."""
    log = configure_logs("info", "json")
    for n in range(10_000):
        log.warning("record refused", record=f"market.ticks.v1/0@{n}")
    assert 5 == len(lines().splitlines())


def test_hiding_passes_everything_else():
    """Text without secrets is written as it is."""
    stream = io.StringIO()
    Hiding(stream, [SECRET]).write("ordinary\n")
    assert "ordinary\n" == stream.getvalue()
