"""The page in a real browser: judged by keyboard and by mouse, on a phone and on a desk, by whoever cannot see it."""

import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("starlette")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from rlnlp.errors import safe_text
from rlnlp.feedback.pairs import pair_lines
from rlnlp.feedback.records import BETTER, RATED, SKIPPED, TIE, NewItem
from rlnlp.feedback.store import Store
from rlnlp.feedback.web.server import WebAnnotators
from support import browser
from support.page import served

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)]
HOSTILE = (
    "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">\x1b[2J\x07 \u202e esrever"
)
BUTTONS = {"left": "[data-answer=left]", "right": "[data-answer=right]", "tie": "[data-answer=tie]", "undo": "#undo"}
KEYS = {"left": "1", "right": "2", "tie": "=", "skip": "s", "undo": "u"}


@pytest.fixture(scope="module")
def driver():
    with browser.browser() as opened:
        yield opened


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "set.sqlite", 2, repeated=0) as opened:
        yield opened


def count(driver):
    return driver.find_element(By.ID, "count").text


def wait_for(driver, words):
    WebDriverWait(driver, 20, 0.02).until(lambda _: count(driver) == words)
    time.sleep(0.35)  # an answer within .3 s of the question is a double click


def press(driver, what):
    driver.find_element(By.TAG_NAME, "body").send_keys(KEYS[what])


def click(driver, what):
    driver.find_element(By.CSS_SELECTOR, BUTTONS[what]).click()


def test_twenty_pairs_by_keyboard_and_by_mouse_one_undone_reloaded_half_way_and_exported(driver, store):
    store.add(NewItem(f"question {i}", (f"good {i}", f"bad {i}")) for i in range(20))
    with served(store, "ann") as page:
        browser.emulate(driver, 1400, "light")
        driver.get(page.links["ann"])
        meant = []
        for i in range(20):
            wait_for(driver, f"{i} of 20")
            assert driver.find_element(By.ID, "prompt").text == f"question {i}"
            side = ("left", "right", "tie")[i % 3]
            left = driver.find_element(By.ID, "left").text
            (press if i % 2 == 0 else click)(driver, side)
            meant.append(TIE if side == "tie" else float((left[:4] == "good") != (side == "left")))
            if i == 5:
                wait_for(driver, "6 of 20")
                press(driver, "undo")
                wait_for(driver, "5 of 20")
                assert driver.find_element(By.ID, "prompt").text == "question 5"
                meant[5] = float(driver.find_element(By.ID, "left").text[:4] != "good")
                click(driver, "left")
            if i == 9:
                wait_for(driver, "10 of 20")
                assert "token" not in driver.current_url
                driver.refresh()
        WebDriverWait(driver, 20, 0.02).until(lambda _: driver.find_element(By.ID, "done").is_displayed())
        assert driver.switch_to.active_element.get_attribute("id") == "done-title"
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    standing = store.standing()
    assert [j.verdict.preference for _, j in standing] == meant
    assert [j.revision for _, j in standing] == [1] * 5 + [3] + [1] * 14
    assert all(0.3 <= j.seconds < 20 for _, j in standing)
    assert len(pair_lines(standing, {1: "ann"})) == 20


def test_a_double_click_answers_once_and_skips_ties_ratings_and_confidence_are_kept(driver, store):
    store.add([NewItem(f"q{i}", ("a", "b")) for i in range(3)] + [NewItem("q", ("rate me",)), NewItem(None, ("",))])
    with served(store, "ann", instructions="Which one would you rather hear?\n<b>Be kind.</b>") as page:
        driver.get(page.links["ann"])
        wait_for(driver, "0 of 5")
        driver.find_element(By.CSS_SELECTOR, "summary").click()
        assert "<b>Be kind.</b>" in driver.find_element(By.ID, "instructions").text
        driver.find_element(By.CSS_SELECTOR, "input[value='0.5']").click()
        button = driver.find_element(By.CSS_SELECTOR, BUTTONS["left"])
        driver.execute_script("arguments[0].click(); arguments[0].click()", button)
        wait_for(driver, "1 of 5")
        press(driver, "skip")
        wait_for(driver, "2 of 5")
        driver.find_element(By.ID, "keys").click()
        press(driver, "left")
        time.sleep(0.3)
        assert count(driver) == "2 of 5", "single keys can be turned off"
        driver.find_element(By.ID, "keys").click()
        driver.find_element(By.TAG_NAME, "body").send_keys(Keys.ARROW_RIGHT)
        wait_for(driver, "3 of 5")
        assert not driver.find_element(By.ID, "right").is_displayed()
        driver.find_element(By.TAG_NAME, "body").send_keys("0")
        wait_for(driver, "4 of 5")
        assert driver.find_element(By.ID, "left").text == "(empty)"
        driver.find_elements(By.CSS_SELECTOR, "#rating button")[2].click()
        wait_for(driver, "5 of 5")
    verdicts = [j.verdict for _, j in store.standing()]
    assert [v.kind for v in verdicts] == [BETTER, SKIPPED, BETTER, RATED, RATED]
    assert [v.rating for v in verdicts[3:]] == [10, 3]
    assert [v.confidence for v in verdicts] == [0.5, None, None, None, None]
    assert store.judgements()[2].verdict.preference == store.question(store.annotator("ann"), 3).order[1]


def test_hostile_text_is_shown_as_text(driver, store):
    store.add(
        [
            NewItem(
                [{"role": "user", "content": HOSTILE}],
                tuple({"role": "assistant", "content": t} for t in (HOSTILE, "ok")),
            )
        ]
    )
    with served(store, "ann") as page:
        driver.get(page.links["ann"])
        wait_for(driver, "0 of 1")
        shown = [driver.find_element(By.ID, name).text for name in ("left", "right")]
        assert safe_text(HOSTILE) in shown
        assert "\\x1b[2J" in driver.find_element(By.ID, "prompt").text
        assert driver.title == "Which response is better?"
        assert len(driver.find_elements(By.CSS_SELECTOR, "script, img")) == 1


def test_an_answer_that_cannot_be_sent_is_kept_and_sent_when_the_server_is_back(driver, store):
    store.add(NewItem(f"q{i}", ("a", "b")) for i in range(3))
    with served(store, "ann") as page:
        driver.get(page.links["ann"])
        wait_for(driver, "0 of 3")
    press(driver, "left")
    WebDriverWait(driver, 20).until(lambda d: "Not saved yet" in d.find_element(By.ID, "status").text)
    assert store.answers() == 0
    with served(store, "ann", port=page.port):
        wait_for(driver, "1 of 3")
        assert store.answers() == 1
    press(driver, "left")
    WebDriverWait(driver, 20).until(lambda d: "Not saved yet" in d.find_element(By.ID, "status").text)
    with served(store, "ann", port=page.port):
        driver.get(f"http://127.0.0.1:{page.port}/")  # reloaded before it was sent
        wait_for(driver, "2 of 3")
    assert store.answers() == 2


AXE = Path(find_spec("axe_core_python").origin).parent / "axe.min.js" if find_spec("axe_core_python") else None


@pytest.mark.skipif(AXE is None, reason="axe-core is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_it_fits_and_axe_core_finds_nothing_at_level_a_or_aa(driver, store, width, scheme):
    long = "a long answer with a word that fits no line: " + "x" * 200 + "\n\nsecond paragraph. " * 9
    store.add([NewItem("What is it?", (long, "short")), NewItem("q", ("rate me",))])
    with served(store, "a rather long name of an annotator", instructions="Be kind.") as page:
        browser.emulate(driver, width, scheme)
        driver.get(next(iter(page.links.values())))
        for state in ("compare", "rate", "done"):
            wait_for(driver, {"compare": "0 of 2", "rate": "1 of 2", "done": "2 of 2"}[state])
            assert driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
            ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (min(map(int, ground[4:-1].split(","))) > 200) == (scheme == "light")
            driver.execute_script(AXE.read_text())
            found = driver.execute_async_script(
                "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
                ".then(arguments[arguments.length - 1])"
            )
            assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
            assert len(found["passes"]) > 8
            driver.find_element(By.TAG_NAME, "body").send_keys("1")


def test_a_page_that_is_left_open_goes_on_in_the_next_round_by_the_same_link(driver, store):
    lines = []
    annotators = WebAnnotators(["ann"], 0, "", lines.append)

    def round_of(*items):
        store.add(items)
        thread = threading.Thread(target=annotators.collect, args=(store, lambda: store.wanted() == 0))
        thread.start()
        return thread

    first = round_of(*(NewItem(f"q{i}", ("a", "b")) for i in range(2)))
    WebDriverWait(driver, 20).until(lambda _: lines)
    driver.get(lines[0].partition(": ")[2])
    for i in range(2):
        wait_for(driver, f"{i} of 2")
        press(driver, "left")
    first.join(20)
    status = driver.find_element(By.ID, "status")
    WebDriverWait(driver, 20).until(lambda _: "not served for now" in status.text)
    assert "bad" not in (status.get_attribute("class") or "")
    second = round_of(NewItem("q2", ("a", "b")))
    wait_for(driver, "2 of 3")
    press(driver, "right")
    second.join(20)
    assert not second.is_alive()
    assert len(lines) == 1
