# SPDX-License-Identifier: MIT
"""`usp config ...`: see the configuration, its history and its rules; ask the governor to change it.

Nothing here writes the configuration: `propose`, `rollback` and `adopt` send a proposal, and the governor answers.
`freeze` and `thaw` leave a note for it beside its file.
"""

import getpass
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ...config.deployment import DeploymentSettings
from ...schemas.records import ConfigProposal, ProposalAction
from .console import (
    CALLERS_FAULT,
    JSON,
    WORLDS_FAULT,
    answer,
    console,
    environment,
    fail,
    faults_told,
    servers_of,
    settings,
    wire_of,
)
from .proposal_file import ProposalFileError, Wish, read_wish

if TYPE_CHECKING:  # commands that need no broker start without its client
    from .config_client import Broker, Version

app = typer.Typer(no_args_is_help=True, help="See the model configuration, its history and rules; change it safely.")

WAIT = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for the governor's answer.")]
REASON = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit log.")]
WHO = Annotated[str, typer.Option("--proposer", help="Who asks; default: the user of this shell.")]


def broker_of(chosen: DeploymentSettings) -> "Broker":
    """The configured broker, or the one of a running `usp up`."""
    from .config_client import Broker

    return Broker(servers_of(chosen), chosen.bus.security, wire_of(chosen))


def file_text(chosen: DeploymentSettings) -> tuple[Path | None, str]:
    """The governor's file; the packaged text before its first start."""
    from ...config.model import packaged_text

    path = chosen.paths.resolved("config_file")
    return (path, path.read_text(encoding="utf-8")) if path.exists() else (None, packaged_text())


def newest(broker: "Broker") -> "Version":
    """The version in force; an error where the governor has published none."""
    from .config_client import versions

    found = versions(broker)
    if not found:
        raise fail(WORLDS_FAULT, "found no epoch; expected one from the governor. Is it running? usp doctor")
    return found[-1]


@app.command()
def show(
    effective: Annotated[bool, typer.Option("--effective", help="What is in force, not what the file says.")] = False,
    as_json: JSON = False,
) -> None:
    """Show the governor's file, or with --effective the configuration that predictions are made with now.

    Example: usp config show --effective
    """
    from ...config.model import load

    with faults_told():
        chosen = settings()
        if effective:
            version = newest(broker_of(chosen))
            config, source = version.config, f"epoch {version.epoch.epoch}"
            text = toml_of(config.to_mapping())
        else:
            path, text = file_text(chosen)
            config, source = load(text), str(path or "packaged defaults")
        if as_json:
            answer({"source": source, "config_hash": config.content_hash, "config": config.to_mapping()}, True)
            return
        console.print(f"{source}, configuration {config.content_hash}", markup=False, highlight=False)
        typer.echo(text.rstrip())


def toml_of(mapping: Mapping[str, Any]) -> str:
    """A configuration as TOML."""
    import tomlkit

    return tomlkit.dumps(mapping)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help="file, force, packaged, or the first digits of a hash")] = "force",
    after: Annotated[str, typer.Argument(help="the same; the values that would be the new ones")] = "file",
    as_json: JSON = False,
) -> None:
    """Show which keys differ between two versions: what is in force and the file, unless told otherwise.

    Example: usp config diff packaged force
    """
    from ...io.toml_edit import differences

    with faults_told():
        chosen = settings()
        found = differences(version_named(before, chosen), version_named(after, chosen))
    if as_json:
        answer({"before": before, "after": after, "differences": found}, True)
        return
    if not found:
        typer.echo(f"{before} and {after} are equal")
        return
    table = Table("key", before, after)
    for key, (old, new) in found.items():
        table.add_row(key, str(old), str(new))
    Console().print(table)


def version_named(name: str, chosen: DeploymentSettings) -> Mapping[str, Any]:
    """The values of a version."""
    from ...config.model import load, packaged_defaults

    if name == "packaged":
        return packaged_defaults().to_mapping()
    if name == "file":
        return load(file_text(chosen)[1]).to_mapping()
    if name == "force":
        return newest(broker_of(chosen)).config.to_mapping()
    return by_hash(name, chosen).config.to_mapping()


def by_hash(digits: str, chosen: DeploymentSettings) -> "Version":
    """The one version whose hash begins like this."""
    from .config_client import versions

    found = {v.epoch.config_hash: v for v in versions(broker_of(chosen)) if v.epoch.config_hash.startswith(digits)}
    if len(found) != 1:
        expected = "expected file, force, packaged, or the beginning of one hash of usp config history"
        raise fail(CALLERS_FAULT, f"found {len(found)} versions for {digits!r}; {expected}")
    return next(iter(found.values()))


@app.command()
def propose(
    changes: Annotated[
        list[str] | None, typer.Argument(help="KEY=VALUE, the value as it stands in TOML", show_default=False)
    ] = None,
    file: Annotated[Path | None, typer.Option("--from", help="What usp tune has written.")] = None,
    reason: REASON = "",
    proposer: WHO = "",
    wait: WAIT = 150.0,
    as_json: JSON = False,
) -> None:
    """Ask the governor to change keys, all or none, and wait for its answer.

    Example: usp config propose orchestration.cusum_k=0.6 --reason "fewer false alarms"
    """
    given = changes or []
    if bool(given) == (file is not None):
        raise fail(CALLERS_FAULT, "expected either KEY=VALUE or --from FILE")
    wanted = dict(pair_of(change) for change in given)
    if len(wanted) != len(given):
        raise fail(CALLERS_FAULT, "found a key twice; expected each once")
    wish = wish_in(file) if file else Wish(wanted, "ManualMutation", None)
    ask("change", wish.changes, reason or wish.trigger, proposer, wait, as_json, objective=wish.best_objective)


def wish_in(file: Path) -> Wish:
    """The proposal in a file of `usp tune`."""
    with faults_told():
        try:
            return read_wish(file)
        except ProposalFileError as fault:
            raise fail(CALLERS_FAULT, str(fault)) from fault


def pair_of(change: str) -> tuple[str, str]:
    """Key and value of KEY=VALUE."""
    key, separator, value = change.partition("=")
    if not separator or not key.strip() or not value.strip():
        raise fail(CALLERS_FAULT, f"found {change!r}; expected KEY=VALUE, such as orchestration.cusum_k=0.6")
    return key.strip(), value.strip()


@app.command()
def rollback(
    to: Annotated[str, typer.Option("--to", help="First digits of a hash of usp config history.")] = "",
    reason: REASON = "ManualRollback",
    proposer: WHO = "",
    wait: WAIT = 150.0,
    as_json: JSON = False,
) -> None:
    """Go back to an earlier configuration: the one before, unless told otherwise. No limit holds this up.

    Example: usp config rollback
    """
    ask("rollback", {}, reason, proposer, wait, as_json, to or None)


@app.command()
def adopt(reason: REASON = "Adoption", proposer: WHO = "", wait: WAIT = 150.0, as_json: JSON = False) -> None:
    """Put an edit of the governor's file into force, after a start's own checks.

    Example: usp config adopt
    """
    ask("adopt", {}, reason, proposer, wait, as_json)


def ask(
    action: ProposalAction,
    changes: Mapping[str, str],
    reason: str,
    proposer: str,
    wait_s: float,
    as_json: bool,
    target: str | None = None,
    objective: float | None = None,
) -> None:
    """Send a proposal, wait for the answer, tell it; exit code 2 if it is no."""
    from .config_client import KEY_VARIABLE, proposal_of, submit

    with faults_told():
        broker = broker_of(settings())
        key = environment().get(KEY_VARIABLE, "").encode() or None
        who = proposer or getpass.getuser()
        proposal = proposal_of(
            action, changes, who, reason, time.time_ns(), key, target=target, best_objective=objective
        )
        started = time.monotonic()
        decision = submit(broker, proposal, wait_s)
    if decision is None:
        raise fail(WORLDS_FAULT, unanswered(proposal, wait_s))
    facts = {name: getattr(decision, name) for name in ("proposal_id", "outcome", "reason", "epoch", "config_hash")}
    if as_json:
        answer({**facts, "seconds": time.monotonic() - started}, True)
    elif decision.outcome == "accepted":
        took = f"{time.monotonic() - started:.2f} s"
        typer.echo(f"accepted: {decision.reason}, configuration {decision.config_hash} ({took})")
    if decision.outcome != "accepted":
        raise fail(CALLERS_FAULT, f"{decision.outcome}: {decision.reason}")


def unanswered(proposal: ConfigProposal, wait_s: float) -> str:
    """What to do when no answer came."""
    return (
        f"no answer to proposal {proposal.proposal_id} within {wait_s:.0f} s; expected one from the governor. It"
        " answers when it runs: usp tail decisions --from-start. Is it running? usp doctor"
    )


@app.command()
def history(
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show the newest so many.")] = 20, as_json: JSON = False
) -> None:
    """Show which configurations were in force, since when, by whom, and how they were judged.

    Example: usp config history --limit 5
    """
    from ...io.audit_log import entries
    from .config_client import versions

    with faults_told():
        chosen = settings()
        found = versions(broker_of(chosen))[-limit:]
        lines = {e["proposal_id"]: e for e in entries(chosen.paths.resolved("mutations_log")) if e.get("delta")}
    rows = [row_of(version, lines.get(version.epoch.proposal_id, {})) for version in found]
    if as_json:
        answer({"epochs": rows}, True)
        return
    table = Table("epoch", "since (UTC)", "configuration", "by", "changes", "verdict")
    for row in rows:
        changes = ", ".join(f"{key.partition('.')[2]}: {old} -> {new}" for key, (old, new) in row["changes"].items())
        shown = (row["epoch"], row["since"], row["config_hash"][:12], row["by"], changes, row["verdict"] or "")
        table.add_row(*map(str, shown))
    Console().print(table)


def row_of(version: "Version", line: Mapping[str, Any]) -> dict[str, Any]:
    """One epoch, for people and machines."""
    epoch, verdict = version
    return {
        "epoch": epoch.epoch,
        "since": datetime.fromtimestamp(epoch.created_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "config_hash": epoch.config_hash,
        "by": line.get("proposer") or ("rollback" if epoch.rollback else epoch.proposal_id),
        "proposal_id": epoch.proposal_id,
        "changes": line.get("delta", {}),
        "rollback": epoch.rollback,
        "verdict": verdict.verdict if verdict else None,
    }


@app.command("lock-list")
def lock_list(as_json: JSON = False) -> None:
    """Show which keys can never change at run time, and which can, within what.

    Example: usp config lock-list
    """
    from ...io.mutation_rules import LOCKED_SUBSECTIONS, VALIDATION_SCHEMA

    locked = [f"{section}.{name}" for section, names in LOCKED_SUBSECTIONS.items() for name in names]
    if as_json:
        mutable = {key: {**rule, "type": rule["type"].__name__} for key, rule in VALIDATION_SCHEMA.items()}
        answer({"locked": locked, "mutable": mutable}, True)
        return
    table = Table("key", "at run time")
    for key in locked:
        table.add_row(key, "locked")
    for key, rule in VALIDATION_SCHEMA.items():
        low, high = rule["range"]
        table.add_row(key, f"mutable, {low} to {high}{constraint_of(rule.get('constraint', ''))}")
    Console().print(table, "Every other key changes with the file: edit it, then usp config adopt.")


def constraint_of(name: str) -> str:
    """The size of a step in words."""
    steps = {"power_of_2": ", doubled or halved", "level": ", one level at a time", "": ", by at most 50 %"}
    return steps[name]


@app.command()
def explain(
    key: Annotated[str, typer.Argument(help="SECTION.KEY, such as orchestration.cusum_k")], as_json: JSON = False
) -> None:
    """Say what a key means, its unit and range, its value, whether it may change, and who changed it last.

    Example: usp config explain orchestration.cusum_k
    """
    from ...config.model import load, spec_of
    from ...config.reference import change_rule
    from ...io.audit_log import entries
    from ...io.mutation_rules import LOCKED_SUBSECTIONS, VALIDATION_SCHEMA

    with faults_told():
        spec = spec_of(key)
        chosen = settings()
        path, text = file_text(chosen)
        section, _, name = key.partition(".")
        changes = [
            e
            for e in entries(chosen.paths.resolved("mutations_log"))
            if key in (e.get("delta") or {}) and str(e.get("status", "")).endswith("SUCCESS")
        ]
        facts = {
            "key": key,
            "meaning": spec.key.doc,
            "unit": spec.key.unit or "none",
            "may be": spec.expected,
            "at run time": change_rule(spec, LOCKED_SUBSECTIONS, dict(VALIDATION_SCHEMA)),
            "in the file": value_in(load(text).to_mapping(), section, name),
            "file": str(path or "packaged defaults"),
            "last changed": told(changes[-1], key) if changes else "never, as far as the audit log knows",
        }
    if as_json:
        answer(facts, True)
        return
    table = Table(show_header=False)
    for name, value in facts.items():
        table.add_row(name, str(value))
    Console().print(table)


def value_in(mapping: Mapping[str, Any], section: str, name: str) -> Any:
    """The value of a key; that of a symbol by its own name."""
    table: Mapping[str, Any] = mapping[section]
    *path, last = name.rsplit(".", 1) if section == "symbols" else [name]
    for part in path:
        table = table.get(part, {})
    return table.get(last)


def told(entry: Mapping[str, Any], key: str) -> str:
    """Who, when, from what to what."""
    old, new = entry["delta"][key]
    who = entry.get("proposer") or entry.get("trigger")
    return f"{entry['timestamp']} by {who}: {old} -> {new} ({entry['event']}, proposal {entry['proposal_id']})"


@app.command()
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


@app.command()
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
