# SPDX-License-Identifier: MIT
"""The runbooks name only what exists: commands, options, topics, metrics, events, reasons, variables, files."""

import re
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from typer.main import get_command

from markdown_blocks import Block, answers, blocks, commands
from usp.config.deployment import SETTING_KEYS, PathsSettings
from usp.config.model import KEYS
from usp.config.settings import librdkafka_option
from usp.io.metrics import Meter
from usp.io.reader import UnknownTopic
from usp.stages import ingest_faults, topology
from usp.stages.cli import app
from usp.stages.commands.tail import topic_name

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "runbooks"
PAGES = [ROOT / "README.md", *sorted(RUNBOOKS.rglob("*.md"))]
REFERENCE = {
    "README.md",
    "commands.md",
    "settings.md",
    "telemetry.md",
    "alerts.md",
    "security.md",
    "reliability.md",
    "performance.md",
    "accuracy.md",
    "tuning.md",
}
INCIDENTS = [
    page for page in sorted(RUNBOOKS.glob("*.md")) if page.name not in REFERENCE and not page.name.startswith("guide-")
]
BLOCKS = [block for page in PAGES for block in blocks(page)]
SHELL = [block for block in BLOCKS if block.language == "sh"]
SOURCES = {
    path: path.read_text()
    for folder in ("stages", "io", "config", "predictor")
    for path in (ROOT / folder).rglob("*.py")
}
CODE = "\n".join(SOURCES.values())
SERVICES = yaml.safe_load((ROOT / "compose/compose.yaml").read_text())["services"]
COMMON = {
    "ls",
    "cp",
    "mv",
    "mkdir",
    "df",
    "tail",
    "sed",
    "echo",
    "for",
    "done",
    "export",
    "redis-cli",
    "docker",
    "make",
    "python",
    "git",
    "cd",
}
TOOLS = {"kafka-topics.sh", "kafka-consumer-groups.sh", "kafka-transactions.sh", "kafka-acls.sh"}
UsageError = typer.BadParameter.__mro__[1]
EVENT = r"\b[A-Z][a-z]+[A-Za-z]*(?:Event|Activated|Warning)\b"

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
shell_blocks = pytest.mark.parametrize("block", SHELL, ids=str)


def usp_commands(block: Block) -> list[list[str]]:
    """The arguments of every call of `usp`."""
    return [words[1:] for words in commands(block) if words[:1] == ["usp"]]


@shell_blocks
def test_shell_blocks_are_shell(block):
    """bash can read the block."""
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "python" and ">>>" not in block.text], ids=str
)
def test_python_blocks_are_python(block):
    """Python can read the block, and its lines fit on a screen."""
    compile(block.text, str(block), "exec")
    assert [] == [line for line in block.text.splitlines() if len(line) > 120]


@shell_blocks
def test_every_call_of_usp_is_one_that_usp_takes(block):
    """Subcommand, options and arguments pass the parser of the command line itself."""
    assert [] == [fault for words in usp_commands(block) if (fault := refusal(words))]


def refusal(words: list[str]) -> str:
    """Why the parser refuses the words, or an argument that a command checks later is wrong; empty if all is well."""
    group = get_command(app)
    name, *arguments = words
    if name not in group.commands:
        return f"usp {name} is no command"
    try:
        values = group.commands[name].make_context(name, arguments).params
    except UsageError as fault:
        return f"usp {' '.join(words)}: {fault.format_message()}"
    right = {
        "run": lambda: values["stage"] in topology.STAGES,
        "tail": lambda: bool(topic_name(values["topic"])),
        "dlq": lambda: (
            values["action"] in ("list", "replay") and (not values["reason"] or f'"{values["reason"]}"' in CODE)
        ),
    }
    try:
        known = name not in right or right[name]()
    except UnknownTopic as fault:
        return str(fault)
    return "" if known else f"usp {' '.join(words)}: an argument that usp does not know"


@shell_blocks
def test_every_other_command_is_known(block):
    """A page calls usp, Kafka's own tools, or what every machine has."""
    names = {words[0].removeprefix("/opt/kafka/bin/") for words in commands(block) if words}
    assert set() == names - COMMON - TOOLS - {"usp"}


@shell_blocks
def test_every_service_of_compose_exists(block):
    """`docker compose` commands name services of compose.yaml."""
    for words in commands(block):
        if words[:2] == ["docker", "compose"]:
            assert words[2:4] == ["-f", "compose/compose.yaml"]
            assert set(words) & (SERVICES.keys() | {"up", "down"}), words


@pages
def test_every_topic_exists(page):
    """What looks like a topic is one."""
    named = set(re.findall(r"\b[a-z]+(?:\.[a-z]+)*\.v\d\b", page.read_text()))
    assert set() == named - {topic.name for topic in topology.TOPICS}


@pages
def test_every_group_of_ours_exists(page):
    """Groups of stages are `usp.` and the stage's name; the reader's is in the reader."""
    named = set(re.findall(r"--group \"?usp\.([a-z-]+)", page.read_text()))
    assert set() == named - topology.STAGES.keys() - {"reader"}
    assert '"usp.reader"' in CODE


@pages
def test_every_variable_exists(page):
    """`USP_<SECTION>__<KEY>` is a key or an option that is passed on; others are read somewhere."""
    for variable in set(re.findall(r"\bUSP_[A-Z0-9_]*[A-Z0-9]\b", page.read_text())):
        section, _, key = variable.removeprefix("USP_").lower().partition("__")
        is_key = f"{section}.{key}" in SETTING_KEYS or f"{section}.{key}" in KEYS
        assert is_key or (section == "bus" and librdkafka_option(key)) or f'"{variable}"' in CODE, variable


def metrics() -> set[str]:
    """The names of Prometheus for every metric: counters end in _total."""
    return {f.name + ("_total" if f.type == "counter" else "") for f in Meter("ingest").registry.collect()}


@pages
def test_every_metric_exists(page):
    """What looks like a metric is one."""
    assert set() == set(re.findall(r"\busp_[a-z_]+\b", page.read_text())) - metrics()


def test_the_telemetry_page_has_every_metric():
    """A new metric needs its line; a removed one must go."""
    page = (RUNBOOKS / "telemetry.md").read_text()
    assert metrics() == set(re.findall(r"^\| `(usp_[a-z_]+)`", page, re.M))


@pages
def test_every_event_exists(page):
    """An event is raised somewhere in the code, an alert of Prometheus in its rules; old names are told as such."""
    text = page.read_text().partition("## Other names for the same")[0]
    assert [] == [event for event in set(re.findall(EVENT, text)) if event not in CODE]
    rules = (ROOT / "compose/prometheus/alerts.yml").read_text()
    assert [] == [
        alert for alert in set(re.findall(r"\bUsp[A-Z][A-Za-z]+\b", text)) if f"alert: {alert}\n" not in rules
    ]


def test_the_dead_letters_page_has_every_reason():
    """Whoever sees a reason finds what it means, and who acts."""
    undecodable = set(re.findall(r'Undecodable\("(\w+)"', CODE))
    refusals = set(re.findall(r'refused\(.*?"(\w+)"', CODE))
    rows = re.findall(r"^\| (`.+?) \|", (RUNBOOKS / "dead-letters.md").read_text(), re.M)
    listed = [reason for row in rows for reason in re.findall(r"`(\w+)`", row)]
    assert sorted(ingest_faults.EVENTS.keys() | undecodable | refusals) == sorted(listed)


def acls() -> list[str]:
    """What each stage may do, from the table of topics."""
    lines: list[str] = []
    add = 'kafka-acls.sh --bootstrap-server "$BROKER" --command-config admin.properties --add'
    for stage, (reads, writes) in topology.STAGES.items():
        command = f"{add} --allow-principal User:usp-{stage}"
        read, written = (" ".join(f"--topic {topic.name}" for topic in topics) for topics in (reads, writes))
        lines.append(f"{command} --operation Read {read} --group usp.{stage}")
        lines.append(f"{command} --operation Write {written}")
        ids = f"--resource-pattern-type prefixed --transactional-id usp.{stage}."
        lines.append(f"{command} --operation Write --operation Describe {ids}")
    return lines


def test_the_rights_of_each_stage_follow_the_topology():
    """No stage may do more, or less, than the table says."""
    found = [block.text.splitlines() for block in blocks(RUNBOOKS / "security.md")]
    assert acls() in found, "\n".join(acls())


@pages
def test_every_link_leads_somewhere(page):
    """Links and names of files in the tree exist."""
    text = page.read_text()
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [] == [link for link in links if link and not (page.parent / link).exists()]
    files = re.findall(r"`((?:stages|io|config|schemas|predictor|tests|compose|runbooks)/[\w./-]+\.\w{2,5})`", text)
    produced = ("io/parity.jsonl", "io/adaptive_telemetry.jsonl", "io/mutations.log")
    assert [] == [file for file in files if file not in produced and not (ROOT / file).exists()]


@pages
def test_every_path_of_the_data_folder_is_written_by_somebody(page):
    """`var/...` is a path of the settings, or one that `usp up` makes."""
    paths = PathsSettings()
    known = [
        str(paths.resolved(name))
        for name in (
            "config_file",
            "snapshots",
            "mutations_log",
            "parity_log",
            "adaptive_telemetry",
            "reports",
            "cache_dir",
        )
    ]
    known += ["var/logs/", "var/running.json", "var/set-aside", "var/tuning"]
    named = re.findall(r"\bvar/[\w./-]+", page.read_text())
    assert [] == [path for path in named if not path.startswith(tuple(known))]


@pytest.mark.parametrize("page", INCIDENTS, ids=lambda page: page.stem)
def test_every_incident_page_has_its_parts(page):
    """Symptom, check, what you should see, how to undo; short; and the index leads there."""
    text = page.read_text()
    assert [] == [part for part in ("Symptom", "Check", "ou should see", "Undo") if part not in text]
    assert f"({page.name})" in (RUNBOOKS / "README.md").read_text()
    assert len(text.splitlines()) <= 130


def test_every_page_is_in_the_index():
    """Nothing lies in the folder that nobody finds."""
    index = (RUNBOOKS / "README.md").read_text() + (RUNBOOKS / "decisions/README.md").read_text()
    assert [] == [
        page.name for page in RUNBOOKS.rglob("*.md") if page.name != "README.md" and f"{page.name})" not in index
    ]


def test_retention_is_as_the_pages_say():
    """The numbers that recovery depends on."""
    assert (
        f"ticks are kept {topology.MARKET_TICKS.retention_days:.0f} days" in (RUNBOOKS / "reliability.md").read_text()
    )
    assert f"for {topology.REJECTED.retention_days:.0f} days" in (RUNBOOKS / "dead-letters.md").read_text()


def test_a_promise_that_does_not_come_is_seen():
    """The comparison of output and promise: lines in order, `...` for anything, the rest literally."""
    output = "GROUP  TOPIC\nusp.ingest  ticks  0\ndone\n"
    assert answers("usp.ingest ... 0\ndone\n", output)
    assert answers("", output)
    assert not answers("done\nusp.ingest...\n", output)
    assert not answers("usp.governor...\n", output)
    assert not answers("usp.ingest\n", output)


@pytest.mark.parametrize(
    "line", ["usp dlq list --reasons outlier", "usp tail prediction", "usp run governour", "usp propose x"]
)
def test_a_call_that_usp_does_not_take_is_seen(line):
    """The check of the pages is able to fail."""
    assert refusal(line.split()[1:])
