# SPDX-License-Identifier: MIT
"""The benchmark measures our predictor as the pipeline runs it, keeps what it computed, and writes the same page."""

import csv
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from usp.config.errors import ConfigError
from usp.io.tick_files import TickFileError
from usp.predictor import OUTPUTS, program_for, structure_of
from usp.stages.bench.accuracy import bench
from usp.stages.bench.accuracy.bench import Bench, Plan, distinct, grouped, run_accuracy
from usp.stages.bench.accuracy.families import series_of
from usp.stages.bench.accuracy.metrics import Forecasts
from usp.stages.bench.accuracy.ours import SYMBOL, config_of, forecast_all, inputs_at
from usp.stages.bench.accuracy.peers import last_value
from usp.stages.bench.accuracy.series import BURN_IN, Series, recorded
from usp.stages.bench.accuracy.store import Store
from usp.stages.bench.accuracy_command import BANKS, listed, seeds_of

COUNT = 560
QUIET = Console(quiet=True)


def short(name: str, count: int = COUNT) -> Series:
    """The first values of a family."""
    whole = series_of(name, 1)
    return Series(name, 1, whole.values[:count], whole.times_ns[:count], whole.note, whole.bayes[:count])


@pytest.fixture(scope="module")
def together() -> tuple[list[Series], list[Forecasts]]:
    """Three series of different lengths, forecast side by side."""
    series = [short("ar2"), short("rw", 530), short("lorenz")]
    return series, forecast_all(series, "core", BURN_IN, lambda done: None)


def test_company_changes_no_bit(together: tuple[list[Series], list[Forecasts]]) -> None:
    """A series alone has the forecasts that it has among others, in another lane."""
    series, found = together
    alone = forecast_all(series[1:2], "core", BURN_IN, lambda done: None)[0]
    assert alone.mean[1:].tobytes() == found[1].mean[1:].tobytes()
    assert alone.kernels[:, 1:].tobytes() == found[1].kernels[:, 1:].tobytes()
    assert np.allclose(alone.expert_losses, found[1].expert_losses, rtol=1e-12)


def test_forecasts_stand_before_their_value(together: tuple[list[Series], list[Forecasts]]) -> None:
    """A later value changes no earlier forecast, and what a single step says comes out at the next place."""
    series, found = together
    values = series[0].values.copy()
    values[540] += 3.0
    changed = Series("ar2", 1, values, series[0].times_ns, "", None)
    after = forecast_all([changed], "core", BURN_IN, lambda done: None)[0]
    assert found[0].mean[1:541].tobytes() == after.mean[1:541].tobytes()
    assert found[0].mean[541] != after.mean[541]
    assert np.isnan(after.mean[0])
    assert after.mean[1] == values[0]  # one value seen: it is the forecast


def test_forecasts_are_those_of_the_program(together: tuple[list[Series], list[Forecasts]]) -> None:
    """The compiled step, called by hand, says the same."""
    series, found = together
    config = config_of("core")
    program = program_for(structure_of(config, SYMBOL))
    parameters = np.repeat(program.params(config, SYMBOL)[:, None], program.lane_width, axis=1)
    block = program.load_column(program.new_block(), 0, program.init_column(config, SYMBOL))
    for t in range(60):
        block, outputs = program.step(block, parameters, inputs_at(series[:1], t, program.lane_width))
    assert found[0].mean[60] == np.asarray(outputs)[OUTPUTS.mean, 0]


def test_one_expert_is_the_last_value(together: tuple[list[Series], list[Forecasts]]) -> None:
    """The experts' losses are in units of the series: that of no change is the last value's."""
    for series, found in zip(*together, strict=True):
        plain = np.mean(np.square((last_value(series.values) - series.values)[BURN_IN:]))
        assert np.min(np.abs(found.expert_losses / plain - 1.0)) < 1e-9


def test_more_series_than_lanes_are_refused() -> None:
    """Found, expected."""
    with pytest.raises(ValueError, match="found 17 series, expected at most 16"):
        forecast_all([short("rw")] * 17, "core", BURN_IN, lambda done: None)


def test_banks_are_chosen_by_configuration() -> None:
    """Every symbol gets the bank; the packaged one is `core`."""
    assert list(BANKS) == [structure_of(config_of(bank), "X").bank for bank in BANKS]


def test_groups_hold_series_of_like_length() -> None:
    """At most so many, the shortest first."""
    series = [short("rw", count) for count in (540, 520, 530)]
    assert [[520, 530], [540]] == [[len(each.values) for each in group] for group in grouped(series, 2)]


def test_equal_names_are_told_apart() -> None:
    """Two files with one symbol are two series."""
    assert ["rw.1", "rw#2.1", "ar2.1"] == [s.label for s in distinct([short("rw"), short("rw"), short("ar2")])]


def test_a_kept_result_comes_back_bit_for_bit(tmp_path: Path) -> None:
    """What another key kept, or a torn file, counts as not there."""
    store = Store(tmp_path)
    path = store.path("a", 1)
    made = Forecasts(np.array([np.nan, 1.0 / 3.0]), np.zeros(2), np.ones(2), kernels=np.ones((4, 2)))
    store.save(path, made)
    back = store.load(path)
    assert made.mean.tobytes() == back.mean.tobytes()
    assert (4, 2) == back.kernels.shape
    assert back.expert_losses is None
    assert store.load(store.path("a", 2)) is None
    path.write_bytes(path.read_bytes()[:100])
    assert store.load(path) is None
    path.write_bytes(b"")
    assert store.load(path) is None


def ticks(path: Path, count: int = 600) -> Path:
    """A file with one long symbol, one short one, and two rows that are no ticks."""
    values = 100.0 + np.cumsum(np.random.default_rng(7).standard_normal(count))
    lines = [f"{n * 10**9},AAA,{value!r}" for n, value in enumerate(map(float, values))]
    lines[3:3] = ["3000000001,AAA,nan", "4,AAA,price", "5,BBB,2.0"]
    path.write_text("timestamp_ns,symbol,price\n" + "\n".join(lines) + "\n")
    return path


def test_recorded_prices_are_one_series_per_symbol(tmp_path: Path) -> None:
    """Rows that are no prices and symbols shorter than the burn-in are left out; first or newest rows by wish."""
    file = ticks(tmp_path / "ticks.csv")
    (first,) = recorded(file, 550)
    (newest,) = recorded(file, 550, newest=True)
    assert ("AAA", 550, 0) == (first.label, len(first.values), int(first.times_ns[0]))
    assert 599 * 10**9 == newest.times_ns[-1]
    assert first.bayes is None
    with pytest.raises(TickFileError, match="found at most 500 prices"):
        list(recorded(ticks(tmp_path / "short.csv", 500), 550))


def plan(folder: Path, **chosen: object) -> Plan:
    """Two short models on a file."""
    wanted = {"names": (), "files": (ticks(folder / "ticks.csv"),), "seeds": (1,), "banks": ("core",)}
    return Plan(**(wanted | {"out": folder / "out", "peers": ("ewma",)} | chosen))


def test_a_run_writes_rows_and_page_and_a_second_one_the_same(tmp_path: Path) -> None:
    """CSV, JSON and HTML; the second run computes nothing, and its bytes are equal."""
    first = run_accuracy(plan(tmp_path), QUIET, QUIET)
    written = {kind: Path(path).read_bytes() for kind, path in first["files"].items()}
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/results").iterdir()}
    second = run_accuracy(plan(tmp_path), QUIET, QUIET)
    assert written == {kind: Path(path).read_bytes() for kind, path in second["files"].items()}
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "out/results").iterdir()}
    assert 3 == len(kept)
    rows = list(csv.DictReader(written["csv"].decode().splitlines()))
    assert [("AAA", "usp_core"), ("AAA", "last_value"), ("AAA", "ewma")] == [(r["series"], r["model"]) for r in rows]
    assert ["usp_core", "last_value", "ewma"] == [row["model"] for row in json.loads(written["json"])]
    assert "worst / best peer" in {line["name"] for line in second["verdict"]["usp_core"]}


def test_the_page_stands_alone(tmp_path: Path) -> None:
    """No script, no asset from elsewhere, drawings that are XML; names from a file are text, not markup."""
    file = ticks(tmp_path / "odd.csv")
    file.write_text(file.read_text().replace("AAA", "<b>x"))
    run_accuracy(plan(tmp_path, files=(file,)), QUIET, QUIET)
    page = (tmp_path / "out/accuracy.html").read_text()
    assert [] == [word for word in ("<script", "http:", "https:", "src=", "<link", "<b>x", "@import") if word in page]
    assert "&lt;b&gt;x" in page
    drawings = page.split("<svg")[1:]
    assert len(drawings) >= 2
    for drawing in drawings:
        ET.fromstring("<svg" + drawing.split("</svg>")[0] + "</svg>")


def test_a_peer_that_fails_is_told_and_left_out(tmp_path: Path) -> None:
    """The others go on; a forecast that is not finite is a failure too."""

    def broken(values: np.ndarray, burn_in: int) -> np.ndarray:
        raise ArithmeticError("no convergence")

    def silent(values: np.ndarray, burn_in: int) -> np.ndarray:
        return np.full(len(values), np.nan)

    run = Bench(plan(tmp_path), QUIET)
    run.peers += [bench.Peer("broken", broken), bench.Peer("silent", silent)]
    run.run()
    assert {"broken on AAA": "ArithmeticError: no convergence"}.items() <= run.failed.items()
    assert "not finite" in run.failed["silent on AAA"]
    assert ["usp_core", "last_value", "ewma"] == [row.model for row in run.rows()]


def test_names_and_seeds_are_checked() -> None:
    """A typing error names the nearest; seeds are whole numbers."""
    assert ["white", "rw"] == listed("series", "white, rw", ["white", "rw"])
    assert [] == listed("series", "", ["white"])
    with pytest.raises(ConfigError, match="Did you mean 'seasonal'"):
        listed("series", "seasonl", ["white", "seasonal"])
    assert [1, 20] == seeds_of("1, 20")
    for wrong in ("", "one", "-1", "1.5"):
        with pytest.raises(ConfigError, match="whole numbers"):
            seeds_of(wrong)
