# SPDX-License-Identifier: MIT
"""`usp config show | diff | history`: which configurations there are, and what differs between them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .config_versions import broker_of, file_text, newest, version_named
from .console import JSON, answer, console, faults_told, settings

if TYPE_CHECKING:  # commands that need no broker start without its client
    from .config_client import Version


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
        lines = [entry for entry in entries(chosen.paths.resolved("mutations_log")) if entry.get("delta")]
    rows = [row_of(version, line_of(version, lines)) for version in found]
    if as_json:
        answer({"epochs": rows}, True)
        return
    table = Table("epoch", "since (UTC)", "configuration", "by", "changes", "verdict")
    for row in rows:
        changes = ", ".join(f"{key.partition('.')[2]}: {old} -> {new}" for key, (old, new) in row["changes"].items())
        shown = (row["epoch"], row["since"], row["config_hash"][:12], row["by"], changes, row["verdict"] or "")
        table.add_row(*map(str, shown))
    Console().print(table)


def line_of(version: "Version", lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The newest line of the audit log that tells how a version came into force; empty if none does.

    What a crash left to be reconciled names the proposal alone; files found at a start share one name.
    """
    epoch = version.epoch
    for line in reversed(lines):
        is_named = line.get("epoch") == epoch.epoch or line.get("proposal_id") == epoch.proposal_id != "start"
        if is_named and line.get("config_hash") == epoch.config_hash:
            return line
    return {}


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
