# SPDX-License-Identifier: MIT
"""Looks of the dashboard: one style sheet, light and dark, phone and paper."""

STYLE = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#14181f;--dim:#5b6675;--line:#e3e7ed;--grid:#eceff3;
--actual:#14181f;--fore:#2457d6;--band:#2457d626;--err:#7a8696;--kA:#2457d6;--kB:#0e9384;--kC:#d97b06;--kD:#8b46d1;
--warn:#d97b06;--bad:#d0342c;--info:#7a8696;--good:#0e8345;--chip:#eef1f5;
--toldWarn:#8a4b00;--toldBad:#b3261e;--toldGood:#0a6b33}
@media (prefers-color-scheme:dark){:root{--page:#0e1116;--card:#161b22;--ink:#e8ecf2;--dim:#9aa6b5;--line:#262d37;
--grid:#20262f;--actual:#f2f5f9;--fore:#6ea0ff;--band:#6ea0ff33;--err:#8b97a7;--kA:#6ea0ff;--kB:#37c2b1;--kC:#f0a13c;
--kD:#b98af2;--warn:#f0a13c;--bad:#ff7b72;--info:#8b97a7;--good:#4cc38a;--chip:#212833;--toldWarn:#f0a13c;
--toldBad:#ff7b72;--toldGood:#4cc38a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:var(--wide);margin:0 auto;padding:28px 20px 48px}
h1{font-size:26px;line-height:1.2;letter-spacing:-.02em;margin:0}
h2{font-size:14px;font-weight:600;margin:0 0 12px}
.sub{color:var(--dim);margin:6px 0 22px}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px 20px;margin:0 0 16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px;margin:0 0 16px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tile b{display:block;font-size:24px;line-height:1.25;font-weight:650;letter-spacing:-.01em;overflow-wrap:anywhere}
.tile span{color:var(--dim);font-size:13px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:16px}
.pair .card{margin:0}.pair{margin:0 0 16px}
.bars{display:grid;grid-template-columns:minmax(90px,max-content) 1fr max-content;gap:6px 12px;align-items:center;
font-size:13px;margin:0}
.bars dt{overflow-wrap:anywhere}.bars dd{margin:0}
.bars .bar{height:10px;border-radius:5px;background:var(--kA);min-width:3px}
.scroll{overflow-x:auto;margin:0 -20px;padding:0 20px}
table{border-collapse:collapse;width:100%;font-size:14px;white-space:nowrap}
th{font-weight:500;color:var(--dim);font-size:12.5px;text-align:right;padding:0 0 8px 16px;border-bottom:1px solid
var(--line)}
td{text-align:right;padding:9px 0 9px 16px;border-bottom:1px solid var(--line)}
tr:last-child td{border-bottom:0}
th:first-child,td:first-child{text-align:left;padding-left:0}
td a{color:inherit;font-weight:600;text-decoration:none;display:inline-block;max-width:200px;overflow:hidden;
text-overflow:ellipsis;vertical-align:middle}td a:hover,td a:focus-visible{text-decoration:underline}
.spark{width:110px;display:inline-block;vertical-align:middle}
.mix{display:inline-flex;width:96px;height:10px;border-radius:5px;overflow:hidden;vertical-align:middle;background:
var(--grid)}
.mix u{display:block;height:100%}
.chip{display:inline-block;background:var(--chip);border-radius:99px;padding:1px 9px;font-size:12.5px;margin:0 0 0 4px}
.chip.warn{color:var(--toldWarn)}.chip.bad{color:var(--toldBad)}.chip.good{color:var(--toldGood)}
details.card{padding:0}
summary{cursor:pointer;padding:16px 20px;display:flex;flex-wrap:wrap;align-items:baseline;gap:4px 14px;list-style:none}
summary::-webkit-details-marker{display:none}
summary::before{content:"";width:7px;height:7px;border:solid var(--dim);border-width:0 2px 2px 0;
transform:rotate(-45deg);align-self:center;transition:transform .15s}
details[open]>summary::before{transform:rotate(45deg)}
summary strong{overflow-wrap:anywhere;font-size:18px;letter-spacing:-.01em}
summary span{color:var(--dim)}
.body{padding:0 20px 18px}
.name{display:flex;flex-wrap:wrap;justify-content:space-between;gap:2px 16px;font-size:13px;color:var(--dim);
margin:14px 0 6px}
.name b{color:var(--ink);font-weight:600}
.key{display:inline-flex;align-items:center;gap:6px;margin-left:14px;white-space:nowrap;vertical-align:top}
.key:first-child{margin-left:0}
.key::before{content:"";width:14px;height:3px;border-radius:2px;background:var(--c)}
.key.area::before{height:10px}
.plot{position:relative;padding-right:64px}
svg{display:block;width:100%;overflow:hidden;border-bottom:1px solid var(--line)}
.line{fill:none;vector-effect:non-scaling-stroke;stroke-linejoin:round;stroke-linecap:round;stroke-width:1.5}
.grid{fill:none;stroke:var(--grid);vector-effect:non-scaling-stroke;stroke-width:1}
.actual{stroke:var(--actual)}.fore{stroke:var(--fore);stroke-width:1.5;stroke-dasharray:1 3}
.range{fill:var(--band)}.err{stroke:var(--err);stroke-width:1.2}.zero{stroke:var(--dim)}
.spark .actual{stroke-width:1.3}.spark svg{border:0}
.diag{stroke:var(--kB)}.epoch{stroke:var(--good)}
.mark{fill:none;vector-effect:non-scaling-stroke;stroke-width:7;stroke-linecap:round}
.held{stroke:var(--bad)}.next{stroke:var(--fore)}
.kA{fill:var(--kA);--c:var(--kA)}.kB{fill:var(--kB);--c:var(--kB)}.kC{fill:var(--kC);--c:var(--kC)}
.kD{fill:var(--kD);--c:var(--kD)}
.band.kA,.band.kB,.band.kC,.band.kD{fill-opacity:.82}
u.kA,u.kB,u.kC,u.kD{background:var(--c)}
.ticks i{position:absolute;right:0;width:58px;font-style:normal;font-size:11.5px;line-height:14px;color:var(--dim);
transform:translateY(-7px);overflow:hidden;text-overflow:clip;white-space:nowrap}
.times{display:flex;justify-content:space-between;padding-right:64px;font-size:11.5px;color:var(--dim);margin-top:5px}
.lanes{display:grid;grid-template-columns:1fr;gap:3px}
.lane{position:relative;padding-right:64px}
.lane svg{border:0;background:var(--grid);border-radius:4px}
.lane em{display:block;font-style:normal;font-size:12px;color:var(--dim);margin:3px 0 2px}
.warn{fill:var(--warn)}.bad{fill:var(--bad)}.info{fill:var(--info)}.good{fill:var(--good)}
.minor{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:0 24px}
footer{color:var(--dim);font-size:13px;margin-top:22px}
.empty{color:var(--dim);padding:30px 0;text-align:center}
@media (max-width:560px){main{padding:18px 12px 32px}.card{padding:14px}.scroll{margin:0 -14px;padding:0 14px}
summary{padding:14px}.body{padding:0 14px 14px}.tiles{grid-template-columns:1fr 1fr;gap:8px}.tile{padding:11px 12px}
.tile b{font-size:20px}.plot,.times,.lane{padding-right:58px}.ticks i{width:54px;font-size:10.5px}h1{font-size:22px}
.key{margin-left:10px}}
@media print{:root{--page:#fff;--line:#ccc}main{max-width:none;padding:0}.card,.tile{break-inside:avoid}}
@media (prefers-reduced-motion:reduce){*{transition:none!important}}
"""
