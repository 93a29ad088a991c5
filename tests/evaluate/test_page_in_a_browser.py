"""The report in a real browser: it fits a phone and a desk, asks for nothing, and shows hostile text as text."""

import pytest

from rlnlp.errors import safe_text
from rlnlp.evaluate.page import draw_figures, report_html
from rlnlp.evaluate.preferences import write_preference_report
from support import browser
from support.evaluation import pair, record, row
from support.judgements import whole

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)]
HOSTILE = (
    "<script>document.title='taken'</script></style></pre><style>body{display:none}</style>{{ 7*7 }}"
    "<img src=http://evil.example/x.png onerror=\"document.title='taken'\"> *bold* # head \x1b[2J \u202eesrever"
)
LONG = "a" * 300  # a word that no line holds


@pytest.fixture(scope="module")
def driver():
    with browser.browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    directory = tmp_path_factory.mktemp("page")
    rate = {"win_rate": 0.6, "win_rate_interval": [0.5, 0.7], "length_controlled": None}
    whole = record(
        terms={HOSTILE: row(0.3, 0.25, [-0.09, -0.01]), LONG: row(0.1, 0.2, [0.05, 0.15])},
        judges={LONG: row(1234.5, 0.2, [-1300, -1200])}, win_rates={HOSTILE: rate, LONG: rate},
        regressions=[pair(HOSTILE, LONG, HOSTILE, -0.4), pair("السؤال", "الجواب", "", -0.2)], settings={LONG: HOSTILE},
        not_shown=[HOSTILE, LONG], command=f"rlnlp evaluate {LONG}",
    )  # fmt: skip
    path = directory / "report.html"
    path.write_text(report_html(whole, draw_figures(whole, directory)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def preferences_page(tmp_path_factory):
    return write_preference_report(whole(f"{HOSTILE} {LONG}"), tmp_path_factory.mktemp("preferences"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_asks_for_nothing_and_has_no_error(driver, page, width, scheme):
    browser.check_it_fits(driver, page, width, scheme)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_of_a_reward_model_fits_too(driver, preferences_page, width, scheme):
    browser.check_it_fits(driver, preferences_page, width, scheme)
    assert not driver.find_elements("css selector", "script, pre img, pre style, pre h2")
    assert driver.title.startswith("Reward model: accuracy ")
    shown = [each.text for each in driver.find_elements("css selector", "pre")]
    assert sum(safe_text(HOSTILE) in text for text in shown) > 2


def test_hostile_text_is_text_and_changes_nothing(driver, page):
    browser.show(driver, page, 1400, "light")
    assert driver.title == record()["title"]
    shown = [each.text for each in driver.find_elements("css selector", "pre")]
    assert shown.count(safe_text(HOSTILE)) == 2, "as prompt and as response, seen by the eye"
    assert not driver.find_elements("css selector", "script, pre img, pre style, pre h2")


def test_on_a_phone_names_stand_above_their_figures_and_remain_a_table(driver, page):
    browser.show(driver, page, 390, "light")
    name, figures = driver.find_elements("css selector", ".stacked tbody tr")[0].find_elements("xpath", "*")[:2]
    assert name.rect["y"] + name.rect["height"] <= figures.rect["y"] + 1
    assert name.aria_role == "rowheader"
    assert figures.aria_role == "cell"
    browser.show(driver, page, 1400, "light")
    name, figures = driver.find_elements("css selector", ".stacked tbody tr")[0].find_elements("xpath", "*")[:2]
    assert abs(name.rect["y"] - figures.rect["y"]) <= 1
