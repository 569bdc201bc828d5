# SPDX-License-Identifier: MIT
"""The page of `usp bench accuracy`: one HTML file, no script, no external asset; same results, same bytes."""

from collections.abc import Mapping, Sequence

from ....io.dashboard import page
from ....io.dashboard_rows import safe
from .metrics import Forecasts
from .plots import error_bars, forecast_plot, ratio_dots, regret_plot
from .series import Series
from .table import Row, by_series
from .verdict import Line, verdict

TITLE = "Accuracy: every model beside us"
WIDTH = 900
OPEN_SECTIONS = 3
HOPELESS = 1000.0  # times the error of the last value


def accuracy_page(
    series: Sequence[Series],
    found: Mapping[str, Mapping[str, Forecasts]],
    rows: Sequence[Row],
    models: Sequence[str],
    burn_in: int,
) -> str:
    """The page of these rows; `models` are ours, `found` the forecasts by label and model."""
    groups = by_series(rows)
    peers = list(dict.fromkeys(row.model for row in rows if row.model not in models))
    subtitle = f"{len(series)} series · {len(peers)} single models · one step ahead, after {burn_in} values"
    body = [
        f"<h1>{safe(TITLE)}</h1>",
        f'<p class="sub">{safe(subtitle)}</p>',
        *(verdict_card(model, verdict(rows, model)) for model in models),
        overview(groups, models),
        matrix(groups, [*models, *peers]),
        *(
            section(each, found[each.label], groups[each.label], models, burn_in, place < OPEN_SECTIONS)
            for place, each in enumerate(series)
        ),
        "<footer>Every model sees the past alone. Intervals of single models are adaptive conformal ones around their "
        "forecast. Same results, same bytes.</footer>",
    ]
    return page(TITLE, WIDTH, "".join(body))


def verdict_card(model: str, lines: Sequence[Line]) -> str:
    """The numbers of one bank with their bars."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "found", "bar", "", "where"))
    body = "".join(
        f"<tr><td>{safe(line.name)}</td><td>{line.found:.4f}</td><td>{safe(line.bar)}</td>"
        f"<td>{chip(line.met)}</td><td>{safe(line.where)}</td></tr>"
        for line in lines
    )
    return card(f"{model}: verdict", f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def chip(met: bool | None) -> str:
    """Whether a bar is met, in colour; nothing where there is no bar."""
    words = {True: ("good", "met"), False: ("bad", "not met")}
    return "" if met is None else '<span class="chip {}">{}</span>'.format(*words[met])


def overview(groups: Mapping[str, Sequence[Row]], models: Sequence[str]) -> str:
    """Our error over that of the best single model, series by series."""
    return card("Our error / that of the best single model of each series", ratio_dots(groups, models))


def matrix(groups: Mapping[str, Sequence[Row]], models: Sequence[str]) -> str:
    """Error of every model on every series relative to the last value; the best of a row is marked."""
    head = "".join(f'<th scope="col">{safe(name)}</th>' for name in ("series", *models))
    body = "".join(f"<tr>{matrix_cells(label, group, models)}</tr>" for label, group in groups.items())
    return card(
        "Error / last value", f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>", scroll=True
    )


def matrix_cells(label: str, group: Sequence[Row], models: Sequence[str]) -> str:
    """The cells of one series."""
    values = {row.model: row.to_last_value for row in group}
    known = [value for value in values.values() if value is not None]
    cells = [f'<td><a href="#{anchor(label)}">{safe(label)}</a></td>']
    for model in models:
        value = values.get(model)
        text = "–" if value is None else f"{value:.4f}" if value < HOPELESS else f"> {HOPELESS:.0f}"
        best = value is not None and value == min(known)
        cells.append(f"<td>{f'<b>{text}</b>' if best else text}</td>")
    return "".join(cells)


def section(
    series: Series,
    found: Mapping[str, Forecasts],
    rows: Sequence[Row],
    models: Sequence[str],
    burn_in: int,
    is_open: bool,
) -> str:
    """One series: errors of all models, the newest forecasts, and how the regret grew."""
    ours = next((row for row in rows if row.model in models), rows[0])
    told = f"best single model {ours.best_peer}"
    if ours.to_best_peer is not None:
        told += f" · {ours.model} {ours.to_best_peer:.4f} of its {ours.metric.upper()}"
    return (
        f'<details class="card" id="{anchor(series.label)}"{" open" if is_open else ""}><summary>'
        f"<strong>{safe(series.label)}</strong><span>{safe(series.note)}</span><span>{safe(told)}</span></summary>"
        f'<div class="body">{error_bars(rows, models)}{forecast_plot(series, found[ours.model])}'
        f"{regret_plot(series, found, rows, models, burn_in)}</div></details>"
    )


def anchor(label: str) -> str:
    """The id of a series' section."""
    return "s-" + safe("".join(letter if letter.isalnum() else "-" for letter in label))


def card(title: str, inside: str, scroll: bool = False) -> str:
    """A titled part of the page."""
    wrapped = f'<div class="scroll" tabindex="0">{inside}</div>' if scroll else inside
    return f'<section class="card"><h2>{safe(title)}</h2>{wrapped}</section>'
