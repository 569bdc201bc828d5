# SPDX-License-Identifier: MIT
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from usp.io.dashboard import export_dashboard_snapshot, render
from usp.io.dashboard_charts import Canvas, Scale, digits_for, scale_of, spans, thinned
from usp.io.dashboard_rows import epoch_changes, newest_part, series_by_symbol
from usp.io.live_page import LIVE_STYLE
from usp.io.telemetry import TelemetryBuffer, TelemetryRecord

START_NS = 1_700_000_000_000_000_000
VOID = {"meta", "link", "br", "img", "input", "hr"}


def row(n: int, symbol: str = "EURUSD", **other: Any) -> dict[str, Any]:
    """One prediction as the demo reads it."""
    plain = {
        "symbol": symbol,
        "ts_event_ns": START_NS + n * 10**9,
        "value": 100.0 + math.sin(n / 5),
        "mean": 100.0 + math.sin((n + 1) / 5),
        "lo": 99.0,
        "hi": 101.5,
        "error": math.cos(n) / 10 if n else None,
        "weights": [0.4, 0.3, 0.2, 0.1],
        "flags": ["degraded_mode"] if 20 < n < 30 else [],
        "accepted": n != 40,
        "kurtosis": 3.0 + n % 4,
    }
    return plain | other


ROWS = [row(n, symbol) for n in range(250) for symbol in ("EURUSD", "SPX")]
SUMMARY = {
    "ticks_in": 24_210,
    "predictions_out": 23_987,
    "rejected": {"duplicate": 61, "non_finite_price": 20},
    "latency_p50_ms": 11.23,
    "latency_p99_ms": 48.94,
    "relative_rmse": {"EURUSD": 1.0012, "SPX": 0.9711},
    "delivery": "exactly_once",
}


class Reader(HTMLParser):
    """Checks that tags are balanced, and collects what is asked about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def drawings(page: str) -> Iterator[ElementTree.Element]:
    """Every chart, parsed as XML."""
    for found in re.findall(r"<svg.*?</svg>", page):
        yield ElementTree.fromstring(found)


def test_the_same_records_give_the_same_bytes():
    """A report can be compared and signed; nothing in it depends on when it was made."""
    assert render(ROWS, summary=SUMMARY) == render([dict(each) for each in ROWS], summary=dict(SUMMARY))


def test_the_page_needs_nothing_from_outside():
    """No script, no link, no import, no address; its own policy forbids them."""
    page = render(ROWS, summary=SUMMARY)
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in reader.tags}
    assert not re.search(r"https?:|url\(|@import|src=", page)
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in reader.tags)
    assert "default-src 'none'" in page


def test_light_dark_and_small_screens_are_served():
    """By the browser's own settings."""
    page = render(ROWS)
    assert "prefers-color-scheme:dark" in page
    assert "width=device-width" in page
    assert "@media print" in page


def test_each_symbol_has_its_section_and_charts():
    """Forecast, close-up, error, weights, flags and diagnostics, each with a name for screen readers."""
    page = render(ROWS, summary=SUMMARY)
    names = [drawing.get("aria-label") or "" for drawing in drawings(page)]
    for symbol in ("EURUSD", "SPX"):
        for words in ("Forecast and actual", "Newest 80 ticks", "Error of the forecast", "Weights", "Kurtosis"):
            assert any(words in name and symbol in name for name in names), (words, symbol)
    assert names.count("degraded: 9 of 250 ticks") == 2


def test_the_summary_is_told_in_tiles_bars_and_columns():
    """Numbers as tiles, counts by reason as bars, maps by symbol as columns of the table, words under the title."""
    text = " ".join(Reader(render(ROWS, summary=SUMMARY)).text)
    for words in ("24,210", "11.2 ms", "48.9 ms", "non finite price", "61", "81", "RMSE ratio", "0.9711"):
        assert words in text
    assert "delivery exactly once" in text


def test_a_forecast_stands_where_it_was_made_for():
    """The forecast of row n is compared with the value of row n + 1; the last one is still to come."""
    (series,) = series_by_symbol([row(n, mean=float(n)) for n in range(3)])
    assert math.isnan(series.forecast[0])
    assert list(series.forecast[1:]) == [0.0, 1.0, 2.0]
    assert len(series.values) == 3
    assert list(newest_part(series, 1).forecast) == [1.0, 2.0]


def test_an_outlier_does_not_flatten_the_chart():
    """A held value is marked at the edge, and the scale is that of the rest."""
    rows = [row(n, value=1e9 if n == 40 else 100.0 + n % 3) for n in range(60)]
    page = render(rows)
    before_the_records, _, _ = "".join(Reader(page).text).partition("Newest records")
    assert "1,000,000,000" not in before_the_records
    assert "refused as outlier" in page


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"onload="x', "a&b", "\u202e", "\x1f", "\ud800", "x" * 500]
)
def test_names_from_outside_cannot_break_out(text: str):
    """Symbols, flags, titles and reasons come from the network."""
    page = render([row(0, text, flags=[text])], title=text, summary={"rejected": {text: 1}, text: 5, "delivery": text})
    reader = Reader(page)
    assert not any(tag == "script" or "onload" in attributes for tag, attributes in reader.tags)
    assert "\u202e" not in page.encode().decode()
    list(drawings(page))


ODD = st.one_of(st.none(), st.floats(), st.integers(-(10**400), 10**400), st.text(max_size=3), st.booleans())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "symbol": st.sampled_from(["A", "B", None, ""]),
                "ts_event_ns": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
                "value": ODD,
                "mean": ODD,
                "lo": ODD,
                "hi": ODD,
                "error": ODD,
                "weights": st.one_of(st.none(), st.lists(st.floats(), max_size=5)),
                "flags": st.one_of(st.none(), st.lists(st.text(max_size=3), max_size=3), st.just({"x": True, "y": 0})),
                "kurtosis": ODD,
            },
        ),
        max_size=12,
    )
)
def test_any_rows_give_a_well_formed_page(rows: list[dict[str, Any]]):
    """Missing, endless and wrong values are left out; the drawing has finite coordinates only."""
    page = render(rows, summary={"latency_p50_ms": math.nan, "rejected": {"x": None, "y": 0, "z": math.inf}, "a": {}})
    Reader(page)
    for drawing in drawings(page):
        for element in drawing.iter():
            for name in ("d", "x", "width"):
                assert not re.search(r"nan|inf", element.get(name) or "")


def test_no_records_is_said():
    """An empty report is a report."""
    assert "No records." in render([])


def test_ten_thousand_points_stay_small():
    """What a screen cannot show is not drawn: the page stays below a megabyte, and extremes are kept."""
    rows = [row(n, value=500.0 if n == 7_777 else 100.0 + math.sin(n)) for n in range(10_000)]
    page = render(rows)
    assert len(page) < 1_000_000
    column = [float(each["value"]) for each in rows]
    kept = thinned(range(len(column)), column, 720)
    assert 7_777 in kept
    assert len(kept) <= 4 * 720


@given(st.lists(st.floats(-1e12, 1e12), max_size=20))
def test_a_scale_holds_its_numbers_and_has_few_round_labels(numbers: list[float]):
    """Also for no numbers, one number and equal ones."""
    scale = scale_of([numbers], 1e-9)
    assert scale.low < scale.high
    assert all(scale.low <= number <= scale.high for number in numbers)
    assert len(scale.ticks()) <= 10
    assert 0 <= digits_for(scale.high - scale.low) <= 8


def test_flags_are_bands_from_first_to_last():
    """Neighbouring steps make one band."""
    assert spans([True, True, False, True]) == [(0, 2), (3, 4)]
    assert spans([]) == []
    assert Canvas(720, 10, 1).x(0) == 0.0
    assert Scale(0.0, 1.0).y(2.0, 100.0) == -50.0


def test_a_telemetry_buffer_becomes_a_report(tmp_path: Path):
    """Drained, materialised and written atomically; the number of records is returned; no value is in it."""
    buffer = TelemetryBuffer(8)
    for step in range(10):
        payload = {
            "step": step,
            "timestamp_ns": START_NS + step,
            "prediction_ref": np.float64(step),
            "weights_ref": np.array([0.25] * 4),
            "free_energy_ref": np.array(0.5),
            "emergency_mode": step == 5,
        }
        buffer.enqueue(TelemetryRecord(step, payload))
    path = tmp_path / "io" / "reports" / "telemetry_dashboard.html"
    assert export_dashboard_snapshot(buffer, path, title="A <title>") == 8
    page = path.read_text()
    Reader(page)
    assert "A &lt;title&gt;" in page
    assert "emergency: 1 of 8 ticks" in page
    assert export_dashboard_snapshot(buffer, str(path)) == 0
    assert [each.name for each in path.parent.iterdir()] == ["telemetry_dashboard.html"]


def colours(scheme: int) -> dict[str, str]:
    """Names and values of the light (0) or the dark (1) scheme."""
    blocks = re.findall(r":root\{([^}]*)\}", LIVE_STYLE.replace("\n", ""))
    light, dark = (dict(re.findall(r"--(\w+):(#[0-9a-f]{3,6})\b", block)) for block in blocks[:2])
    return light | (dark if scheme else {})


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    digits = "".join(digit * 2 for digit in colour[1:]) if len(colour) == 4 else colour[1:]
    parts = [int(digits[place : place + 2], 16) / 255.0 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_and_lines_can_be_read(scheme: int):
    """Contrast of words at least 4.5 on every ground they stand on, of lines and areas at least 3 (WCAG 2.1 AA)."""
    known = colours(scheme)
    pairs = [(name, ground, 4.5) for name in ("ink", "dim") for ground in ("page", "card", "chip")]
    pairs += [(name, "chip", 4.5) for name in ("toldWarn", "toldBad", "toldGood")]
    drawn = ("actual", "fore", "err", "kA", "kB", "kC", "kD", "warn", "bad", "info", "good")
    pairs += [(name, "card", 3.0) for name in drawn]
    for name, ground, least in pairs:
        high, low = sorted((luminance(known[name]), luminance(known[ground])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= least, (name, ground)


def test_latency_and_epochs_are_drawn():
    """A chart of its own for the delay; a line wherever another configuration came into force, named in the legend."""
    rows = [row(n, latency_ms=5.0 + n % 3, config_epoch=0 if n < 10 else 4) for n in range(30)]
    page = render(rows)
    assert "Latency, event to log, ms" in page
    assert "configuration epoch 4" in page
    assert 'class="line epoch"' in page
    assert "configuration epoch" not in render([row(n, config_epoch=0) for n in range(30)])
    assert epoch_changes(series_by_symbol(rows)[0]) == [(10, 4)]
