# SPDX-License-Identifier: MIT
"""`usp dashboard`: the static report from the topics or from the telemetry log, and the live page."""

from pathlib import Path
from typing import Annotated

import typer

from .console import CALLERS_FAULT, JSON, answer, console, fail, faults_told, settings

POINTS = 2_000


def dashboard(
    out: Annotated[Path | None, typer.Option(help="Where to write the report.")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in a browser.")] = False,
    source: Annotated[
        str, typer.Option("--from", help="topics, or logs (the telemetry sink's; no broker).")
    ] = "topics",
    points: Annotated[int, typer.Option(min=2, max=100_000, help="Newest forecasts per symbol.")] = POINTS,
    live: Annotated[bool, typer.Option("--live", help="Serve a page that follows the topics, until Ctrl-C.")] = False,
    host: Annotated[str, typer.Option(help="Address of the live page; not loopback: needs a token.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the live page; 0 takes a free one.")] = 0,
    as_json: JSON = False,
) -> None:
    """Write a report of the newest forecasts as one HTML file, or serve a page that is always up to date.

    Example: usp dashboard --out report.html
    """
    import webbrowser

    from ..dashboard.static_page import serve, write_report

    if source not in ("topics", "logs"):
        raise fail(CALLERS_FAULT, f"found --from {source}; expected topics or logs")
    with faults_told():
        chosen = settings()
        if live:
            serve(chosen, host, port, open_it, console)
            return
        target = out or chosen.paths.resolved("reports") / "dashboard.html"
        count = write_report(chosen, source, points, target, console)
    answer({"report": str(target), "records": count}, as_json)
    if not as_json:
        console.print(f"report of {count:,} records: {target}", soft_wrap=True)
    if open_it:
        webbrowser.open(target.absolute().as_uri())
