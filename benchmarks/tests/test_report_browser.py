"""The page in a real browser: it sorts, filters, opens a row, logs no error and asks nobody for anything."""

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


class Watched:
    """A page in the browser, with every request and error that it makes."""

    def __init__(self, page):
        self.page, self.errors, self.requests = page, [], []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path):
        self.page.goto(path.as_uri())
        assert self.requests == [path.as_uri()] and self.errors == []

    def rows(self, what="method"):
        """A data attribute of every row that is seen, in order."""
        return self.page.eval_on_selector_all(
            ".rows tbody tr:not(.more)", f"rows => rows.filter(r => !r.hidden).map(r => r.dataset.{what})"
        )

    def fits(self):
        return self.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(params=[1400, 500])
def watched(browser, request):
    context = browser.new_context(viewport={"width": request.param, "height": 900}, offline=True)
    context.set_default_timeout(120_000)
    yield Watched(context.new_page())
    context.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    records = []
    for r in range(3):
        for i, m in enumerate(METHODS):
            for task in ("digits", "tones"):
                records.append(made_up.history(made_up.scored_at(m, r, 0.5 + 0.1 * i, task=task)))
        records.append(made_up.scored_at("counts-only", r, 0.2, kind="floor", parameters={}))
    write_page(folder, build(made_up.declared(records, primary=None), records))
    return folder / "made-up.html"


def test_it_filters_by_task_kind_and_name(watched, path):
    watched.open(path)
    page = watched.page
    page.select_option(".filters [name=task]", "digits")
    assert set(watched.rows("task")) == {"digits"} and page.inner_text(".filters output") == "5 of 9 rows"
    page.select_option(".filters [name=kind]", "fixed delays")
    assert watched.rows() == ["delrec-axonal-fixed"]
    page.select_option(".filters [name=kind]", "")
    page.fill(".filters [name=text]", "axonal")
    assert set(watched.rows()) == {"delrec-axonal", "delrec-axonal-fixed"}
    assert watched.errors == [] and watched.fits()


def head(page, name):
    return page.get_by_role("button", name=name, exact=True)


def test_it_sorts_both_ways_and_what_is_missing_stays_last(watched, path):
    watched.open(path)
    page = watched.page
    page.select_option(".filters [name=task]", "digits")
    score = head(page, "score")
    score.click()
    up = watched.rows()
    assert up == ["counts-only", *METHODS]
    score.click()
    assert watched.rows() == up[::-1]
    assert page.locator(".rows th[aria-sort]").get_attribute("aria-sort") == "descending"
    for _ in range(2):
        head(page, "parameters").click()
        assert watched.rows()[-1] == "counts-only"  # a floor has no parameters, whichever way
    assert watched.errors == []


def test_a_row_opens_by_the_keyboard_to_repetitions_curves_and_command(watched, path):
    watched.open(path)
    page = watched.page
    button = page.locator(".rows button.open").first
    more = page.locator(f"#{button.get_attribute('aria-controls')}")
    assert not more.is_visible() and button.get_attribute("aria-expanded") == "false"
    button.focus()
    page.keyboard.press("Enter")
    assert more.is_visible() and button.get_attribute("aria-expanded") == "true"
    text = more.inner_text()
    assert "--repetition $r" in text and "r0 " in text
    assert more.locator("polyline").count() == 3 and "3 repetitions" in more.locator("svg").get_attribute("aria-label")
    page.keyboard.press("Enter")
    assert not more.is_visible() and watched.errors == []


def test_every_figure_has_a_name_and_the_page_a_way_past_them(watched, path):
    watched.open(path)
    page = watched.page
    assert page.locator("figure").count() >= 3
    names = page.eval_on_selector_all(
        "figure svg", "all => all.map(s => [s.getAttribute('role'), s.getAttribute('aria-label')])"
    )
    assert all(role == "img" and name for role, name in names)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_ink_follows_the_theme(browser, path):
    inks = []
    for theme in ("light", "dark"):
        context = browser.new_context(color_scheme=theme, offline=True)
        page = context.new_page()
        page.goto(path.as_uri())
        inks.append(
            page.evaluate("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
        )
        context.close()
    assert (
        inks[0] == [inks[0][0], "rgb(246, 247, 249)"] and inks[1][1] == "rgb(17, 21, 27)" and inks[0][0] != inks[1][0]
    )
