"""The page in a real browser: it runs without errors or a network, plays, sorts, and follows dark and light."""

import shutil

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: see CONTRIBUTING.md"),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, page_file):
    """Open the page: (page, what it complained of and asked for from elsewhere)."""
    contexts = []

    def open_page(width=1280, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        contexts.append(context)
        page, heard = context.new_page(), []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda asked: heard.extend([asked.url] * (not asked.url.startswith(("file:", "data:")))))
        page.goto(page_file.as_uri())
        return page, heard

    yield open_page
    for context in contexts:
        context.close()


def canvas(page):
    """The pixels of the first player's lanes, as one text."""
    script = (
        "[...document.querySelectorAll('section.player')[0].querySelectorAll('canvas')].map(c => c.toDataURL()).join()"
    )
    return page.evaluate(script)


def test_a_sample_is_played_step_by_step_up_to_its_exit(opened, report):
    page, heard = opened()
    player, played = page.locator("section.player").first, report.runs[0].played
    choice, said = player.get_by_label("Sample"), player.locator("[data-part=said]")
    assert choice.locator("option").count() == played.trace.samples == 20
    choice.select_option(index=3)
    steps = int(played.trace.hardware_steps[3])
    assert player.get_attribute("data-step") == "1" and "Hardware step 1 of 19" in said.inner_text()
    frames = [canvas(page)]
    for step in range(2, steps + 1):
        player.get_by_label("One step on").click()
        assert player.get_attribute("data-step") == str(step)
        frames.append(canvas(page))
    assert len(set(frames)) == steps
    assert "the cutoff exits, predicted" in said.inner_text()
    player.get_by_label("One step on").click()
    assert player.get_attribute("data-step") == str(steps)  # and not beyond the exit
    player.get_by_label("One step back").click()
    assert player.get_attribute("data-step") == str(steps - 1) and canvas(page) == frames[-2]
    assert heard == []


def test_the_keyboard_is_enough(opened, report):
    from playwright.sync_api import expect

    page, heard = opened()
    player = page.locator("section.player").first
    steps = int(report.runs[0].played.trace.hardware_steps[0])
    player.get_by_label("Step", exact=True).focus()
    page.keyboard.press("ArrowRight")
    assert player.get_attribute("data-step") == "2"
    page.keyboard.press("End")
    assert player.get_attribute("data-step") == str(steps)
    player.get_by_role("button", name="Play").focus()
    page.keyboard.press("Enter")
    expect(player).to_have_attribute("data-step", str(steps), timeout=30_000)
    head = page.locator("#compare th button", has_text="mean timesteps")
    head.focus()
    page.keyboard.press("Enter")
    assert page.locator("#compare th[aria-sort=ascending]").inner_text().startswith("mean timesteps")
    assert heard == []


def test_the_comparison_sorts_by_numbers_both_ways(opened, report):
    page, heard = opened()
    heads = page.locator("#compare thead th")
    column = heads.all_inner_texts().index("mean timesteps")
    order = sorted((run.timesteps.value, run.name) for run in report.runs)
    names = page.locator("#compare tbody th")
    heads.nth(column).get_by_role("button").click()
    assert names.all_inner_texts() == [name for _, name in order]
    heads.nth(column).get_by_role("button").click()
    assert names.all_inner_texts() == [name for _, name in reversed(order)]
    assert heads.nth(column).get_attribute("aria-sort") == "descending" and heard == []


@pytest.mark.parametrize("width", [1280, 400])
def test_dark_and_light_and_narrow_windows(opened, width):
    colours = {}
    for scheme in ("light", "dark"):
        page, heard = opened(width, color_scheme=scheme)
        script = """() => ['body', 'figure svg text'].map((each) => {
            const found = [...document.querySelectorAll(each)].find((one) => one.getClientRects().length);
            const style = getComputedStyle(found);
            return each === 'body' ? style.backgroundColor : style.fill; })"""
        colours[scheme] = [sum(map(int, text.strip("rgb()").split(","))) / 3 for text in page.evaluate(script)]
        assert page.evaluate("document.documentElement.scrollWidth") == width  # wide tables scroll on their own
        assert page.locator(f"figure .{'wide' if width > 720 else 'narrow'}").first.is_visible()
        assert heard == []
    assert colours["light"][0] > 240 > 60 > colours["dark"][0]
    assert colours["light"][1] < 110 and colours["dark"][1] > 150


def test_without_javascript_tables_and_charts_are_there(opened):
    page, heard = opened(java_script_enabled=False)
    assert page.locator("#compare tbody tr").count() == 2 and page.locator("#compare").is_visible()
    assert page.locator("#run-1-layers tbody tr").count() == 3
    assert page.locator("figure svg").first.is_visible()
    assert not page.locator("section.player").first.is_visible()
    assert page.get_by_text("Playing a sample needs JavaScript").first.is_visible()
    page.get_by_text("Table: Exits of tet").click()
    assert page.locator("#run-1-exits-table").is_visible() and heard == []


def test_a_mark_tells_what_it_is_under_the_pointer(opened):
    page, heard = opened()
    mark = page.locator("#run-1-exits .wide .mark-rect path").first
    mark.scroll_into_view_if_needed()
    mark.hover()
    assert " at t = " in page.locator("#tip").inner_text() and heard == []
