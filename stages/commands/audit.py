# SPDX-License-Identifier: MIT
"""`usp audit ...`: is the governor's audit log whole and as it was written?"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...config.deployment import DeploymentSettings
from .console import JSON, STATE_IN_DOUBT, answer, fail, faults_told, settings, wire_of
from .running import running_broker

app = typer.Typer(no_args_is_help=True, help="Look after the log of all changes of the configuration.")

LIMITS = (
    "A chain shows lines that were edited, removed, moved or cut off. It cannot show that somebody rewrote the log with"
    " fresh hashes and its head beside it; heads noted elsewhere show that: the broker's up to the newest note (every"
    " 5 s), those in snapshots up to the newest epoch. Nothing shows a log that was rewritten together with both, or"
    " lines that were never written."
)


@app.command()
def verify(
    log: Annotated[Path | None, typer.Option("--log", help="The log; default: the governor's.")] = None,
    head: Annotated[str, typer.Option("--head", help="A hash noted elsewhere that the log must contain.")] = "",
    as_json: JSON = False,
) -> None:
    """Check every line of the audit log, and that it has the heads noted in the broker and in the snapshots.

    Example: usp audit verify
    """
    from ...io.audit_log import entries
    from ...io.audit_log import verify as problems_of

    with faults_told():
        chosen = settings()
        path = log or chosen.paths.resolved("mutations_log")
        noted = {head: "the head given"} if head else {} if log else noted_elsewhere(chosen)
        problems = problems_of(path, *noted)
        count = len(entries(path))
    against = ", ".join(dict.fromkeys(noted.values())) or "no noted head"
    facts = {"log": str(path), "lines": count, "compared_with": against, "heads": noted, "problems": problems}
    if as_json:
        answer({**facts, "limits": LIMITS}, True)
    if problems:
        sentences = "\n  ".join(problems)
        raise fail(
            STATE_IN_DOUBT, f"{path}: {len(problems)} problems\n  {sentences}\nSee runbooks/audit-chain-broken.md"
        )
    if not as_json:
        Console().print(f"{path}: {count} lines, all as written; compared with {against}", markup=False)
        Console().print(LIMITS, style="dim", markup=False)


def noted_elsewhere(chosen: DeploymentSettings) -> dict[str, str]:
    """Hashes of lines that the log must have, and where each was noted."""
    from ...io.audit_anchors import anchored_heads
    from ...io.snapshot_store import SnapshotStore

    store = SnapshotStore(chosen.paths.resolved("snapshots"))
    heads = {head: f"snapshot {name}" for head, name in anchored_heads(store).items()}
    newest = noted_in_broker(chosen)
    return heads | ({newest: "the head noted in the broker"} if newest else {})


def noted_in_broker(chosen: DeploymentSettings) -> str | None:
    """The newest head in the broker; None without a broker, or before the first note."""
    from .config_client import Broker, noted_head

    servers = chosen.bus.bootstrap_servers or running_broker(chosen)
    if not servers:
        return None
    found = noted_head(Broker(servers, chosen.bus.security, wire_of(chosen)))
    return found.head if found else None
