"""The page in a real browser: it sorts, filters, opens a row, logs no error and asks nobody for anything."""

import html
import json
import re
import shutil
import subprocess

import pytest
from delrec_bench.report.content import build
from delrec_bench.report.writing import write_page

from benchmarks.tests import made_up

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WATCH = """<script>
window.errors = []; window.onerror = text => { errors.push(text) }; console.error = window.onerror;
</script>"""
ACT = """<script>
const seen = {}, rows = () => [...document.querySelectorAll(".rows tbody tr:not(.more)")].filter(r => !r.hidden);
const methods = () => rows().map(r => r.dataset.method), click = e => e.click();
const head = name => [...document.querySelectorAll(".rows th button")].find(b => b.textContent === name);
const filter = (name, value) => { const f = document.querySelector(".filters"); f.elements[name].value = value;
  f.dispatchEvent(new Event("input")); };
filter("task", "digits"); seen.filtered = rows().map(r => r.dataset.task);
seen.said = document.querySelector("output").textContent;
click(head("score")); seen.up = methods(); click(head("score")); seen.down = methods();
seen.sort = head("score").parentElement.getAttribute("aria-sort");
click(head("parameters")); seen.missing = methods().at(-1);
filter("kind", "fixed delays"); seen.fixed = methods(); filter("kind", "");
filter("text", "axonal"); seen.named = methods();
const button = rows()[0].querySelector("button.open"), more = () => rows()[0].nextElementSibling;
seen.closed = more().hidden; click(button); seen.opened = !more().hidden;
seen.expanded = button.getAttribute("aria-expanded");
seen.inside = more().textContent; seen.curves = more().querySelectorAll("polyline").length;
seen.requests = performance.getEntriesByType("resource").length;
seen.wide = document.documentElement.scrollWidth <= window.innerWidth;
seen.errors = errors;
const out = document.createElement("pre"); out.id = "seen";
out.textContent = JSON.stringify(seen); document.body.append(out);
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("width", [1400, 500])
def test_a_browser_sorts_filters_and_opens(tmp_path, width):
    records = []
    for r in range(3):
        for i, m in enumerate(("lif", "dcls", "delrec-axonal", "delrec-axonal-fixed")):
            for task in ("digits", "tones"):
                records.append(made_up.history(made_up.scored_at(m, r, 0.5 + 0.1 * i, task=task)))
        records.append(made_up.scored_at("counts-only", r, 0.2, kind="floor", parameters={}))
    declared = made_up.declared(records, primary=None)
    write_page(tmp_path, build(declared, records))
    text = (tmp_path / "made-up.html").read_text()
    text = text.replace("<head>", "<head>" + WATCH).replace("</body>", ACT + "</body>")
    (tmp_path / "watched.html").write_text(text)
    words = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom"]
    words += [f"--user-data-dir={tmp_path / 'profile'}", f"file://{tmp_path / 'watched.html'}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-500:]
    seen = json.loads(html.unescape(found.group(1)))
    assert seen["errors"] == [] and seen["requests"] == 0 and seen["wide"]
    assert set(seen["filtered"]) == {"digits"} and seen["said"] == "5 of 9 rows"
    assert seen["up"] == ["counts-only", "lif", "dcls", "delrec-axonal", "delrec-axonal-fixed"]
    assert seen["down"] == seen["up"][::-1] and seen["sort"] == "descending"
    assert seen["missing"] == "counts-only"  # a floor has no parameters: last, whichever way
    assert seen["fixed"] == ["delrec-axonal-fixed"] and set(seen["named"]) == {"delrec-axonal", "delrec-axonal-fixed"}
    assert (seen["closed"], seen["opened"], seen["expanded"], seen["curves"]) == (True, True, "true", 3)
    assert "--repetition $r" in seen["inside"] and "r0 " in seen["inside"]
