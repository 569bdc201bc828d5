# SPDX-License-Identifier: MIT
"""`usp config propose | rollback | adopt`: ask the governor for another configuration, and wait for its answer."""

import getpass
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from ...schemas.records import ConfigProposal, ProposalAction
from .config_versions import broker_of
from .console import CALLERS_FAULT, JSON, WORLDS_FAULT, answer, environment, fail, faults_told, settings
from .proposal_file import ProposalFileError, Wish, read_wish

WAIT = Annotated[float, typer.Option("--wait", min=0.0, help="Seconds to wait for the governor's answer.")]
REASON = Annotated[str, typer.Option("--reason", help="Why; it stands in the audit log.")]
WHO = Annotated[str, typer.Option("--proposer", help="Who asks; default: the user of this shell.")]


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
