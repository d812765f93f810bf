/* The page's style: light and dark by the reader's setting, one column on a telephone. */
#ifndef MLTFR_REPORT_STYLE_H
#define MLTFR_REPORT_STYLE_H

static const char report_style[] =
    "\n:root{color-scheme:light dark;--page:#fafaf8;--card:#fff;--ink:#1d2430;--dim:#5c6675;"
    "--rule:#e2e4e8;--c0:#0b6bb8;--c1:#c2410c;--c2:#15803d;--c3:#8b3fae;--c4:#a16207;--c5:#0e7490;"
    "--c6:#be185d;--c7:#57534e}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#12161c;--card:#1a2028;--ink:#e6e9ee;"
    "--dim:#9aa5b4;--rule:#2c3541;--c0:#5aaeee;--c1:#fb923c;--c2:#4ade80;--c3:#c792ea;"
    "--c4:#facc15;--c5:#22d3ee;--c6:#f472b6;--c7:#b8b0a8}}\n"
    "*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);"
    "font:16px/1.5 system-ui,sans-serif}main{max-width:1120px;margin:auto;padding:1rem}\n"
    "h1{font-size:1.6rem;margin:.5rem 0 1rem;overflow-wrap:anywhere}h2{font-size:1.2rem;"
    "margin:0 0 .5rem}h3{font-size:1rem;margin:1rem 0 .25rem}h4{font-size:.9rem;margin:.75rem 0 "
    "0}\n"
    "small,p,figcaption,summary{color:var(--dim)}section{background:var(--card);border:1px solid "
    "var(--rule);border-radius:10px;padding:1rem;margin:0 0 1rem}p{margin:.25rem 0}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%}th,td{text-align:left;"
    "padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--rule);white-space:nowrap;"
    "font-variant-numeric:tabular-nums}\n"
    ".charts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),"
    "1fr))}figure{margin:0;min-width:0;max-width:620px}figcaption{font-size:.9rem}svg{display:"
    "block;width:100%;"
    "height:auto}svg text{font-size:12px;fill:var(--dim)}\n"
    ".grid{stroke:var(--rule)}.line{fill:none;stroke-width:1.8;stroke-linejoin:round}"
    ".whisker{stroke:var(--ink);stroke-width:1.2;fill:none}\n"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.25rem 0 0;"
    "padding:0 0 0 3rem;font-size:.85rem}.legend i{display:inline-block;width:.8em;height:.8em;"
    "border-radius:2px;margin-right:.4em}\n"
    ".tokens span{display:inline-block;border:1px solid var(--rule);border-radius:6px;"
    "padding:0 .4rem;margin:.15rem .1rem;color:var(--ink)}\n"
    "pre{overflow-x:auto;font-size:.8rem}\n"
    ".line.s0{stroke:var(--c0)}.line.s1{stroke:var(--c1)}.line.s2{stroke:var(--c2)}"
    ".line.s3{stroke:var(--c3)}.line.s4{stroke:var(--c4)}.line.s5{stroke:var(--c5)}"
    ".line.s6{stroke:var(--c6)}.line.s7{stroke:var(--c7)}\n"
    ".dot.s0,.bar.s0{fill:var(--c0)}.dot.s1,.bar.s1{fill:var(--c1)}.dot.s2,.bar.s2{fill:var(--c2)}"
    ".dot.s3,.bar.s3{fill:var(--c3)}.dot.s4,.bar.s4{fill:var(--c4)}.dot.s5,.bar.s5{fill:var(--c5)}"
    ".dot.s6,.bar.s6{fill:var(--c6)}.dot.s7,.bar.s7{fill:var(--c7)}\n"
    "i.s0{background:var(--c0)}i.s1{background:var(--c1)}i.s2{background:var(--c2)}"
    "i.s3{background:var(--c3)}i.s4{background:var(--c4)}i.s5{background:var(--c5)}"
    "i.s6{background:var(--c6)}i.s7{background:var(--c7)}\n";

#endif
