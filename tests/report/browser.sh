#!/usr/bin/env bash
# browser.sh PROGRAM DIRECTORY: make the page of two runs and look at it in headless Chromium, in the
# light and the dark theme and at the width of a telephone.  Screenshots stay in DIRECTORY.
# Exit status: 0 as it should be, 1 not, 77 no Chromium or no Pillow here.
set -euo pipefail
program=$1 directory=$2
figure=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/jobs/study/figure.py
python=/usr/bin/python3
browser=$(command -v chromium || command -v chromium-browser || true)
if [[ -z $browser ]] || ! "$python" -c 'import PIL' 2>/dev/null; then
    echo "skipped: needs chromium and python3-pil"
    exit 77
fi

rm -rf "$directory"
mkdir -p "$directory"
cd "$directory"
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT

small=(--quiet --set train.epochs=4 --set train.warmup_epochs=1 --set model.dim=16 --set filter.pool=64)
"$program" train "${small[@]}" --set run.dir=experts
"$program" train "${small[@]}" --set run.dir='plain<b>&amp' --set model.experts=false
echo nonsense >.json # beside no token spaces
"$program" report experts 'plain<b>&amp' --out page.html

fail() {
    echo "browser.sh: $*" >&2
    exit 1
}

# chromium OPTION...: once, headless, with a home of its own.
chromium() {
    HOME=$home timeout 60 "$browser" --headless --no-sandbox --disable-gpu --hide-scrollbars \
        --user-data-dir="$home" "$@" 2>"$home/log" || { cat "$home/log" >&2 && return 1; }
}

# Self-contained: nothing in it points elsewhere, and it runs no script.
if grep -nE 'https?:|src=|href=|url\(|@import|<script' page.html; then
    fail "the page refers to something outside"
fi

# What the browser makes of it: all charts, and no element from a directory's name.
chromium --dump-dom "file://$PWD/page.html" >dom.html
charts=$(grep -o '<svg' dom.html | wc -l)
((charts >= 10)) || fail "$charts charts"
grep -q '<b>' dom.html && fail "a name became markup"
grep -q 'Top tokens' dom.html || fail "no top tokens"
# Every phase that took time, those of metrics.jsonl and no others, and the limit.
"$python" - <<'END' || fail "the phases are not those of metrics.jsonl"
import json
import re

times = [x for x in map(json.loads, open("experts/metrics.jsonl")) if x["kind"] == "time"]
page = re.search("<h2>Time.*?</section>", open("dom.html").read(), re.S)[0].split("</figure>")[0]
for phase in times[0]["wait"]:
    seconds = sum(x[phase] for x in times) / len(times)
    assert (f">{phase}<" in page) == (seconds > 0), phase
    waits = sum(x["wait"][phase] for x in times) / len(times)
    assert seconds == 0 or f">{seconds:.3g} s ({100 * waits / seconds:.0f} %)<" in page, (phase, seconds)
limit = sum(x["gflop"] for x in times) / sum(x["peak"] for x in times)
assert f"{limit:.3g} s<" in page and "GF/s" in page
END
# A chart alone: as many lines as runs, and a legend that names both.
"$python" "$figure" page.html 'Validation NDCG@10' chart.svg
chromium --dump-dom "file://$PWD/chart.svg" >chart.xml
[[ $(grep -o '<path class="line' chart.xml | wc -l) == 2 && $(grep -c '<rect class="bar' chart.xml) == 2 ]] ||
    fail "chart.svg does not have two lines and their legend"
grep -q '>plain&lt;b&gt;&amp;amp<' chart.xml || fail "chart.svg does not name the second run"
if "$python" "$figure" page.html 'No such chart' none.svg 2>message; then fail "a chart from nowhere"; fi
grep -q 'there are: .*Validation NDCG@10' message || fail "no list of the charts"

grep -Eq 'NaN|-?inf' <(sed 's/<pre>.*//' dom.html | grep -o 'd="[^"]*"\|cx="[^"]*"\|width="[^"]*"') &&
    fail "a coordinate that is no number"

# The page is as wide as the window, even a telephone's; the copy says how wide it came out.
{
    sed 's,</body></html>,,' page.html
    echo '<script>document.title=document.documentElement.scrollWidth</script></body></html>'
} >wide.html
# Headless Chromium has no windows narrower than 500: a frame of 390 stands in for the telephone.
cat >telephone.html <<'END'
<body style="margin:0"><iframe id="f" src="wide.html" width="390" height="3000"></iframe>
<script>f.onload=()=>document.title=f.contentDocument.title</script></body>
END
width=$(chromium --allow-file-access-from-files --virtual-time-budget=3000 --dump-dom \
    "file://$PWD/telephone.html" | sed -n 's,.*<title>\([0-9]*\)</title>.*,\1,p')
[[ $width == 390 ]] || fail "on a telephone of 390 the page is ${width:-?} wide"

for theme in light dark; do
    options=()
    [[ $theme == dark ]] && options=(--force-dark-mode --blink-settings=preferredColorScheme=0)
    chromium "${options[@]}" --window-size=1200,3000 --screenshot="$PWD/$theme.png" \
        "file://$PWD/page.html" >/dev/null
done
"$python" - <<'END' || fail "the themes do not look as they should"
from PIL import Image, ImageStat

light, dark = (Image.open(f"{theme}.png").convert("L") for theme in ("light", "dark"))
mean = {name: ImageStat.Stat(image).mean[0] for name, image in (("light", light), ("dark", dark))}
contrast = min(ImageStat.Stat(image).stddev[0] for image in (light, dark))
print("mean brightness", mean, "least contrast", contrast)
assert light.size == dark.size == (1200, 3000)
assert mean["light"] > 200 and mean["dark"] < 80 and contrast > 8
END
echo "$charts charts; screenshots: $PWD/light.png, $PWD/dark.png"
