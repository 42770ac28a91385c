"""The page in a real browser: it sorts, unfolds, logs no error and makes no request."""

import itertools
import shutil

import pytest
from delrec_bench.report.content import build
from delrec_bench.report.writing import write_page

from benchmarks.tests import made_up

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright here: pip install playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]
METHODS = ("lif", "dcls", "delrec-axonal", "delrec-axonal-fixed")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(params=[1400, 500])
def opened(browser, request, path):
    """The page in the browser, which asks for nothing else and makes no error."""
    context = browser.new_context(viewport={"width": request.param, "height": 900}, offline=True)
    context.set_default_timeout(120_000)
    page, errors, requests = context.new_page(), [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    assert requests == [path.as_uri()] and errors == []
    context.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    like = itertools.product(range(3), enumerate(METHODS), ("digits", "formants-20"))
    records = [made_up.history(made_up.scored_at(m, r, 0.5 + 0.1 * i, task=task)) for r, (i, m), task in like]
    records += [made_up.scored_at("counts-only", r, 0.2, kind="floor", parameters={}) for r in range(3)]
    page = build(made_up.declared(records, primary=None), records)
    return write_page(tmp_path_factory.mktemp("page"), page)[0]


def test_it_sorts_both_ways_and_what_is_missing_stays_last(opened):
    def names():
        """The first cell of every line of the first table, in order."""
        rows = "all => [...all[0].tBodies[0].rows].map(row => row.cells[0].textContent)"
        return opened.eval_on_selector_all("table", rows)

    table = opened.locator("table").first
    head = table.get_by_role("button", name="accuracy (%)")
    head.focus()
    opened.keyboard.press("Enter")
    assert names() == ["counts-only", *METHODS]
    head.click()
    assert names() == ["counts-only", *METHODS][::-1]
    assert opened.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    for _ in range(2):
        table.get_by_role("button", name="parameters").click()
        assert names()[-1] == "counts-only"  # a floor has no parameters, whichever way
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_every_figure_has_a_name_and_what_is_folded_opens(opened):
    assert all(opened.eval_on_selector_all("figure img", "all => all.map(image => image.alt && image.naturalWidth)"))
    opened.locator("summary").last.click()
    assert opened.locator("details[open]").count() == 1
