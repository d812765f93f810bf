#!/usr/bin/env python3
"""A chart of a page that `mltfr_dist report` made, as an SVG file of its own with title and legend.

    figure.py REPORT.html CAPTION OUT.svg [--nth N]

CAPTION is the chart's, as it is on the page; where several have it, one for each run, N says which (1)."""
import argparse
import pathlib
import re
import sys

FIGURE = re.compile(r'<figure><figcaption>(?P<caption>.*?)</figcaption>\s*<svg viewBox="0 0 (?P<width>\d+) (?P<height>\d+)"'
                    r'[^>]*>(?P<drawing>.*?)</svg>\s*(?P<legend><ul.*?</ul>)?\s*</figure>', re.S)
ENTRY = re.compile(r'<i class="s(\d+)"></i>(.*?)</li>')
LINE, LETTER, INDENT = 18, 7, 54  # units of the drawing: a line of text, a letter at most, where legends begin


def legend(entries, width, top):
    """Drawn entries, and the height that they take."""
    drawn, x, y = [], INDENT, top
    for colour, name in entries:
        wide = 24 + LETTER * len(name)
        if x > INDENT and x + wide > width:
            x, y = INDENT, y + LINE
        drawn.append(f'<rect class="bar s{colour}" x="{x}" y="{y + 3}" width="10" height="10" rx="2"/>'
                     f'<text x="{x + 15}" y="{y + 12}">{name}</text>')
        x += wide
    return drawn, y + LINE - top if entries else 0


def standalone(page, caption, nth):
    found = [f for f in FIGURE.finditer(page) if f["caption"] == caption]
    if len(found) < nth:
        captions = sorted({f["caption"] for f in FIGURE.finditer(page)})
        sys.exit(f"figure.py: {len(found)} charts with the caption '{caption}'; there are: " + "; ".join(captions))
    chart = found[nth - 1]
    width, height = int(chart["width"]), int(chart["height"])
    entries, more = legend(ENTRY.findall(chart["legend"] or ""), width, LINE + height)
    whole = LINE + height + more + 4
    style = re.search(r"<style>(.*?)</style>", page, re.S)[1].strip()
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {whole}" width="{width * 3 // 2}">',
        f"<style>{style}svg{{font-family:sans-serif}}</style>",
        f'<rect width="{width}" height="{whole}" fill="var(--card)"/>',
        f'<text x="{INDENT}" y="14">{caption}</text>',
        f'<g transform="translate(0 {LINE})">{chart["drawing"].strip()}</g>', *entries, "</svg>\n"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", metavar="REPORT.html", type=pathlib.Path)
    parser.add_argument("caption", metavar="CAPTION")
    parser.add_argument("out", metavar="OUT.svg", type=pathlib.Path)
    parser.add_argument("--nth", metavar="N", type=int, default=1)
    args = parser.parse_args()
    args.out.write_text(standalone(args.page.read_text(), args.caption, args.nth))


if __name__ == "__main__":
    main()
