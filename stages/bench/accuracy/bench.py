# SPDX-License-Identifier: MIT
"""The run behind `usp bench accuracy`: every model over every series, what was done before kept and used again."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ....io.atomic_file import write_atomically
from ....io.bundled_data import BUNDLED_SERIES, bundled_file
from ...fingerprint import build_fingerprint
from . import library_peers, peers
from .families import FAMILIES, series_of
from .metrics import Forecasts, conformal
from .ours import config_of, forecast_all
from .page import accuracy_page
from .peers import OWN_PEERS, Peer
from .series import BURN_IN, Numbers, Series, distinct, recorded
from .shown import series_table, verdict_table
from .store import Store
from .table import OURS, Row, as_csv, rows_of
from .verdict import verdict


@dataclass(frozen=True)
class Plan:
    """What to run. `names` are families and bundled series, `peers` the wanted models (empty: all that are there)."""

    names: Sequence[str]
    files: Sequence[Path]
    seeds: Sequence[int]
    banks: Sequence[str]
    out: Path
    rows: int = 3000
    newest: bool = False
    peers: Sequence[str] = ()


@dataclass
class Bench:
    """One run of a plan: the series, the models, and the forecasts as they come."""

    plan: Plan
    console: Console

    def __post_init__(self) -> None:
        self.series = distinct(series_named(self.plan))
        self.peers, self.missing = wanted_peers(self.plan.peers)
        self.store = Store(self.plan.out / "results")
        self.found: dict[str, dict[str, Forecasts]] = {each.label: {} for each in self.series}
        self.failed: dict[str, str] = {}

    def run(self) -> None:
        """Forecast everything; Ctrl-C loses the series in work alone."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            for bank in self.plan.banks:
                points = sum(len(each.values) for each in self.series)
                task = progress.add_task(f"{OURS}{bank}, points", total=points)
                self.run_bank(bank, lambda done, task=task: progress.advance(task, done))
            task = progress.add_task("peers, series x model", total=len(self.series) * len(self.peers))
            for each in self.series:
                for peer in self.peers:
                    self.run_peer(each, peer)
                    progress.advance(task)

    def run_bank(self, bank: str, advanced: Callable[[int], None]) -> None:
        """Our forecasts with one bank, as many series at once as there are lanes."""
        config = config_of(bank)
        lanes = config.core.lane_width
        build = (config.content_hash, build_fingerprint(True, lanes), OUR_CODE)
        paths = {each.label: self.store.path(each.content, BURN_IN, each.metric, bank, *build) for each in self.series}
        pending: list[Series] = []
        for each in self.series:
            kept = self.store.load(paths[each.label])
            if kept is None:
                pending.append(each)
            else:
                self.found[each.label][OURS + bank] = kept
                advanced(len(each.values))
        for group in grouped(pending, lanes):
            for each, made in zip(group, forecast_all(group, bank, BURN_IN, advanced), strict=True):
                self.store.save(paths[each.label], made)
                self.found[each.label][OURS + bank] = made

    def run_peer(self, series: Series, peer: Peer) -> None:
        """A peer's forecasts with conformal intervals; one that fails is told and left out of this series."""
        path = self.store.path(series.content, BURN_IN, peer.name, peer.setting, PEER_CODE)
        made = self.store.load(path)
        if made is None:
            try:
                made = conformal(series.values, finite(peer.forecast(series.values, BURN_IN)))
            except Exception as fault:
                self.failed[f"{peer.name} on {series.label}"] = f"{type(fault).__name__}: {fault}"
                return
            self.store.save(path, made)
        self.found[series.label][peer.name] = made

    def rows(self) -> list[Row]:
        """All rows. ValueError if a forecast of ours is not finite."""
        return [row for each in self.series for row in rows_of(each, self.found[each.label], BURN_IN)]


def source_hash(*modules: str) -> str:
    """Hash of the source of modules of this package."""
    files = [Path(str(import_module(f".{name}", __package__).__file__)) for name in modules]
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def finite(forecasts: Numbers) -> Numbers:
    """The forecasts, or ValueError if one after the burn-in is no number."""
    bad = int(np.sum(~np.isfinite(forecasts[BURN_IN:])))
    if bad:
        raise ValueError(f"found {bad} forecasts that are not finite, expected none after the burn-in")
    return forecasts


PEER_CODE = source_hash("peers", "library_peers", "metrics")
OUR_CODE = source_hash("ours", "metrics")


def grouped(series: Iterable[Series], size: int) -> Iterator[list[Series]]:
    """Groups of at most `size`, series of like length together so that no lane waits."""
    stream = iter(sorted(series, key=lambda each: len(each.values)))
    while group := list(islice(stream, size)):
        yield group


def series_named(plan: Plan) -> Iterator[Series]:
    """The series of a plan: families for every seed, then bundled prices, then files."""
    for seed in plan.seeds:
        yield from (series_of(name, seed) for name in plan.names if name in FAMILIES)
    for name in plan.names:
        if name in BUNDLED_SERIES:
            yield from recorded(bundled_file(name), plan.rows, plan.newest)
    for file in plan.files:
        yield from recorded(file, plan.rows, plan.newest)


def wanted_peers(names: Sequence[str]) -> tuple[list[Peer], list[str]]:
    """The peers to run, the last value always among them, and the names of those that are not installed."""
    there, missing = library_peers.installed_peers()
    every = [*OWN_PEERS, *there]
    if not names:
        return every, missing
    return [peer for peer in every if peer.name in names or peer.forecast is peers.last_value], [
        name for name in missing if name in names
    ]


def run_accuracy(plan: Plan, console: Console, screen: Console) -> dict[str, Any]:
    """Run, write the three files, show the tables on `screen`, and give the verdict back."""
    bench = Bench(plan, console)
    if bench.missing:
        console.print(f"not installed, left out: {', '.join(bench.missing)}; pip install 'usp[peers]'", style="yellow")
    bench.run()
    for what, fault in bench.failed.items():
        console.print(f"left out: {what}: {fault}", style="yellow", markup=False)
    rows = bench.rows()
    models = [OURS + bank for bank in plan.banks]
    lines = {model: verdict(rows, model) for model in models}
    files = write_files(plan.out, bench, rows, models)
    for model in models:
        screen.print(series_table(rows, model), verdict_table(lines[model], model))
    console.print(f"page: {files['html']}")
    return {
        "verdict": {model: [each._asdict() for each in group] for model, group in lines.items()},
        "series": len(bench.series),
        "missing_peers": bench.missing,
        "failed": bench.failed,
        "files": files,
    }


def write_files(out: Path, bench: Bench, rows: Sequence[Row], models: Sequence[str]) -> dict[str, str]:
    """The rows as CSV and JSON, the page as HTML; their paths by kind."""
    contents = {
        "csv": as_csv(rows),
        "json": json.dumps([asdict(row) for row in rows], indent=1) + "\n",
        "html": accuracy_page(bench.series, bench.found, rows, models, BURN_IN),
    }
    paths = {kind: out / f"accuracy.{kind}" for kind in contents}
    for kind, path in paths.items():
        write_atomically(path, contents[kind].encode(), fsync=False)
    return {kind: str(path) for kind, path in paths.items()}
