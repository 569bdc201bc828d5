# SPDX-License-Identifier: MIT
"""`usp bench accuracy`: from what was typed to a plan, and the plan run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ...config.deployment import DeploymentSettings
from ...config.errors import ConfigError, Problem, did_you_mean
from ...io.bundled_data import BUNDLED_SERIES
from ..fingerprint import prepare_jax

BANKS = ("core", "full")


@dataclass(frozen=True)
class Wish:
    """The options as they were typed: lists are separated by commas, and empty means all."""

    files: Sequence[Path] = ()
    series: str = ""
    seeds: str = "1"
    bank: str = "core"
    peers: str = ""
    rows: int = 3000
    newest: bool = False
    out: Path | None = None


def bench_accuracy(wish: Wish, settings: DeploymentSettings, console: Console, screen: Console) -> dict[str, Any]:
    """Run the benchmark; ConfigError for a name that is not known, TickFileError for a file that is no tick file."""
    prepare_jax(settings.paths.resolved("cache_dir"))
    from .accuracy.bench import Plan, run_accuracy
    from .accuracy.families import FAMILIES
    from .accuracy.library_peers import LIBRARY_PEERS
    from .accuracy.peers import OWN_PEERS

    everything = [] if wish.files else [*FAMILIES, *BUNDLED_SERIES]
    plan = Plan(
        names=listed("series", wish.series, [*FAMILIES, *BUNDLED_SERIES]) or everything,
        files=wish.files,
        seeds=seeds_of(wish.seeds),
        banks=BANKS if wish.bank == "both" else listed("bank", wish.bank, [*BANKS, "both"]),
        out=wish.out or settings.paths.resolved("reports") / "accuracy",
        rows=wish.rows,
        newest=wish.newest,
        peers=listed("peers", wish.peers, [peer.name for peer in (*OWN_PEERS, *LIBRARY_PEERS)]),
    )
    return run_accuracy(plan, console, screen)


def listed(option: str, text: str, known: Sequence[str]) -> list[str]:
    """The names in a comma-separated text; ConfigError names one that is not known, and the nearest."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    problems = [
        Problem(f"--{option}", repr(name), f"one of {', '.join(known)}", did_you_mean(name, known))
        for name in names
        if name not in known
    ]
    if problems:
        raise ConfigError("usp bench accuracy", problems)
    return names


def seeds_of(text: str) -> list[int]:
    """Whole numbers from 0 on, separated by commas."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        problem = Problem("--seeds", repr(text), "whole numbers from 0 on", "Separate them by commas, as in 1,2.")
        raise ConfigError("usp bench accuracy", [problem])
    return [int(part) for part in parts]
