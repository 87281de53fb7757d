"""The pages in Chromium: they load nothing, can be used with mouse and keyboard and without scripts, and are accessible."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import layered
import pytest

import realmat as rm
from realmat.fit import Fit
from realmat.report import charts

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def fit(browser: Browser) -> Fit:  # without a browser nothing is computed
    return layered.fit(layered.model(), layered.table())


@pytest.fixture(scope="module")
def pages(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    other = layered.fit(layered.model(impurity=False), layered.table(), draws=60)
    comparison = rm.compare({"with oxygen": fit, "without": other}, by="specimen")
    return {"fit": fit.report(folder / "fit.html"), "comparison": comparison.report(folder / "models.html")}


@contextmanager
def opened(browser: Browser, path: Path, **kwargs: Any) -> Iterator[Page]:
    """A page that has been loaded; whatever the browser complains of, or asks of the network, is an error."""
    context = browser.new_context(**{"viewport": WIDE, **kwargs})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on("request", lambda request: complaints.append(f"request: {request.url}") if request.url != path.as_uri() else None)
    try:
        page.goto(path.as_uri())
        yield page
        assert complaints == []
    finally:
        context.close()


@pytest.fixture
def page(browser: Browser, pages: dict[str, Path]) -> Iterator[Page]:
    with opened(browser, pages["fit"]) as ready:
        yield ready


@pytest.mark.parametrize("name", ["fit", "comparison"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_no_serious_issue_of_accessibility(
    browser: Browser, pages: dict[str, Path], name: str, scheme: str, viewport: dict[str, int]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with opened(browser, pages[name], viewport=viewport, color_scheme=scheme) as page:
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        found = Axe().run(page).response["violations"]
        assert [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")] == []
        across = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert across[0] <= across[1], "the page scrolls sideways"


def amounts(page: Page) -> list[str]:
    return [text.strip() for text in page.locator("#fall .amount").all_inner_texts() if text.strip()]


def expected(fit: Fit, label: str) -> list[str]:
    gap = fit.gap()
    steps = ["theory", *gap.components, "residual", "measured"]
    return [row["text"] for row in charts.waterfall(gap.table.loc[label].to_dict(), steps, log=False)["rows"]]


def test_the_page_opens_with_the_largest_gap(page: Page, fit: Fit) -> None:
    largest = str(fit.gap().table["gap"].abs().idxmax())
    assert page.locator("#piece").input_value() == largest
    assert amounts(page) == expected(fit, largest)


def test_a_specimen_is_chosen_with_the_mouse(page: Page, fit: Fit) -> None:
    page.locator("#piece").select_option("S007")
    assert page.locator("#fall-title").inner_text().startswith("specimen S007")
    assert amounts(page) == expected(fit, "S007")
    labels = [str(label) for label in fit.gap().table.index]
    page.locator("#next").click()
    after = labels[labels.index("S007") + 1]
    assert page.locator("#piece").input_value() == after
    assert amounts(page) == expected(fit, after)


def test_a_specimen_is_chosen_with_the_keyboard(page: Page, fit: Fit) -> None:
    labels = [str(label) for label in fit.gap().table.index]
    start = labels.index(page.locator("#piece").input_value())
    for _ in range(60):  # Tab leads to the chooser, and the focus can be seen on the way
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "piece":
            break
    assert page.evaluate("document.activeElement.id") == "piece"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowUp" if start else "ArrowDown")
    there = labels[start - 1 if start else 1]
    assert page.locator("#piece").input_value() == there
    assert amounts(page) == expected(fit, there)
    page.keyboard.press("Home")
    assert page.locator("#piece").input_value() == labels[0]
    assert page.locator("#previous").is_disabled()


def test_a_point_opens_the_waterfall_of_its_specimen(page: Page) -> None:
    point = page.locator("#figure-parity circle[data-piece='5']").first
    point.scroll_into_view_if_needed()
    point.dispatch_event("click", {"bubbles": True})
    assert page.locator("#piece").evaluate("select => select.selectedIndex") == 5


def test_bars_stand_where_the_numbers_say(page: Page, fit: Fit) -> None:
    """Places of the script equal those that Python computes, to a tenth of a per cent, which rounded data allow."""
    page.locator("#piece").select_option("S011")
    gap = fit.gap()
    rows = charts.waterfall(gap.table.loc["S011"].to_dict(), ["theory", *gap.components, "residual", "measured"], log=False)["rows"]
    for row in rows[1:-1]:
        bar = page.locator(f"#fall li[data-step='{row['step']}'] rect")
        assert float(bar.get_attribute("x").rstrip("%")) == pytest.approx(row["x"], abs=0.1)
        assert float(bar.get_attribute("width").rstrip("%")) == pytest.approx(row["width"], abs=0.1)


def test_a_table_sorts_both_ways(page: Page, fit: Fit) -> None:
    table = page.locator("#budget details[open] table")
    head = table.locator("th", has_text="share").first
    shares = "rows => rows.map(row => Number(row.cells[4].dataset.sort))"
    for order, state in ((1, "ascending"), (-1, "descending")):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == state
        found = table.locator("tbody tr").evaluate_all(shares)
        assert found == sorted(found, reverse=order < 0)
    assert len(found) == len(fit.budget(new="specimen").table)
    head.get_by_role("button").press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"


def test_details_on_hover(page: Page) -> None:
    part = page.locator("#figure-budget rect").first
    part.scroll_into_view_if_needed()
    part.hover()
    tip = page.locator(".tip")
    assert tip.is_visible()
    assert "of the variance, u = " in tip.inner_text()
    page.mouse.move(2, 2)
    assert tip.is_hidden()


def test_light_and_dark_by_the_button(page: Page) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    page.get_by_role("button", name="Dark colours").click()
    dark = background()
    assert light == "rgb(255, 255, 255)"
    assert dark != light
    page.get_by_role("button", name="Light colours").click()
    assert background() == light


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_figure_shows_without_scripts(browser: Browser, pages: dict[str, Path], viewport: dict[str, int]) -> None:
    with opened(browser, pages["fit"], viewport=viewport, java_script_enabled=False) as page:
        while (folded := page.locator("details:not([open]) > summary:visible")).count():
            folded.first.click()  # the browser's own doing
        figures = page.locator("figure")
        assert figures.count() >= 11  # three waterfalls more than with scripts
        for k in range(figures.count()):
            box = figures.nth(k).bounding_box()
            assert box is not None
            assert box["height"] > 60
            assert box["x"] + box["width"] <= viewport["width"]
        assert page.locator("#figure-gap .amount").first.is_visible()
        assert page.locator(".choose").is_hidden()  # what needs scripts is not offered
        assert page.locator("#theme").is_hidden()


def test_nothing_is_cut_or_overlaps_on_a_narrow_page(browser: Browser, pages: dict[str, Path]) -> None:
    """Labels of every chart lie inside the page, and tick labels of an axis do not touch."""
    with opened(browser, pages["fit"], viewport=NARROW) as page:
        boxes = page.evaluate(
            """[...document.querySelectorAll('svg.plot, #fall .axis svg')].map(
                 svg => [...svg.querySelectorAll(':scope > text')].map(text => {
                   const box = text.getBoundingClientRect(), kind = text.classList;
                   return {left: box.left, right: box.right, across: !kind.contains('up') && !kind.contains('label')};
                 }))"""
        )
        assert len(boxes) >= 4
        for chart in boxes:
            assert all(box["left"] >= 0 and box["right"] <= 400 for box in chart)
            ticks = sorted((b["left"], b["right"]) for b in chart if b["across"])
            assert all(before[1] <= after[0] for before, after in itertools.pairwise(ticks))


def test_it_prints_without_what_paper_cannot_do(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("nav").is_hidden()
    assert page.locator("#theme").is_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
