# SPDX-License-Identifier: MIT
"""The document of the live page: the style of the static report, one script, nothing from elsewhere.

Its policy allows this very style sheet and this very script by their hashes, and connections to its own server.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path

from .dashboard_style import STYLE

LIVE_STYLE = (
    STYLE
    + """
main{max-width:1180px}
.top{display:flex;flex-wrap:wrap;align-items:center;gap:8px 14px;margin:0 0 18px}
.top h1{margin-right:auto}
button,select{font:inherit;font-size:14px;color:var(--ink);background:var(--card);border:1px solid var(--edge);
border-radius:8px;padding:6px 12px;cursor:pointer}
button[aria-pressed=true]{background:var(--ink);color:var(--card)}
:focus-visible{outline:2px solid var(--fore);outline-offset:2px}
.tall{max-height:340px;overflow-y:auto}
.list{list-style:none;margin:0;padding:0;font-size:14px}
.list li{display:flex;flex-wrap:wrap;gap:2px 12px;padding:7px 0;border-bottom:1px solid var(--line)}
.list li:last-child{border-bottom:0}.list b{font-weight:600}.list span{color:var(--dim);overflow-wrap:anywhere}
canvas{display:block;width:100%;touch-action:pan-y;border-radius:2px}
tr[aria-selected=true] td{background:var(--chip)}
td button{padding:3px 10px;font-weight:600;max-width:200px;overflow:hidden;text-overflow:ellipsis}
.readout{min-height:44px;font-size:13px;color:var(--dim);margin:8px 0 0}
.skip{position:absolute;left:-999px}.skip:focus{left:12px;top:12px;background:var(--card);padding:8px 12px;z-index:2}
:root{--edge:#87909e}
@media (prefers-color-scheme:dark){:root{--edge:#5f6b7b}}
@media (max-width:560px){button,select{padding:9px 12px}}
"""
)
BODY = """\
<a class="skip" href="#charts">To the charts</a>
<main>
<div class="top"><h1>Live</h1>
<span id="state" class="chip" role="status">connecting</span>
<label>Points <select id="span"><option>500<option selected>2000<option>10000</select></label>
<button id="pause" type="button" aria-pressed="false">Pause</button></div>
<div id="tiles" class="tiles"></div>
<section class="card"><h2>Symbols</h2><div class="scroll" tabindex="0" role="region" aria-label="Symbols">
<table><thead id="heads"></thead><tbody id="symbols"></tbody></table></div>
<p id="hidden" class="readout" hidden></p></section>
<section class="card" id="charts" aria-label="Charts"><h2 id="title">No forecasts yet</h2><div id="plots"></div>
<output id="readout" class="readout" aria-live="polite"></output></section>
<div class="pair">
<section class="card"><h2>Rejected by reason</h2><dl id="rejected" class="bars"></dl></section>
<section class="card"><h2>Configuration epochs</h2><ul id="epochs" class="list"></ul></section>
</div>
<section class="card"><h2>Newest alerts</h2><div class="tall" tabindex="0" role="region" aria-label="Newest alerts">
<ul id="alerts" class="list"></ul></div></section>
<noscript><p>This page draws with JavaScript. Without it: usp dashboard</p></noscript>
<footer>Times are UTC. A forecast is drawn at the tick it was made for. Where there are more points than pixels, each
pixel shows the lowest and the highest; weights show their mean. In a chart, the arrow keys move the cursor.</footer>
</main>"""
SCRIPT = Path(__file__).with_name("live_page.js").read_text(encoding="utf-8")


def hashed(text: str) -> str:
    """How a content security policy names an inline text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {hashed(LIVE_STYLE)}; script-src {hashed(SCRIPT)}; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:"
)


@cache
def page() -> str:
    """The document; always the same."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<link rel="icon" href="data:,">'
        f"<title>USP live</title><style>{LIVE_STYLE}</style></head>"
        f"<body>{BODY}<script>{SCRIPT}</script></body></html>\n"
    )
