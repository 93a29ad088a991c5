"""A real headless browser for the tests of pages."""

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "" if CHROMIUM and DRIVER else "chromium and chromedriver are not installed"


@dataclass(frozen=True)
class Seen:
    """What is true of a page that is shown: sizes in CSS pixels, messages of the console, addresses asked for."""

    overflow: int
    console: list[str]
    requests: list[str]


@contextmanager
def browser():
    """A headless chromium with its console and its requests recorded; the driver of selenium."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(DRIVER))
    try:
        driver.execute_cdp_cmd("Network.enable", {})
        yield driver
    finally:
        driver.quit()


def show(driver, page: Path, width: int, scheme: str) -> Seen:
    """Open the file ``page`` ``width`` CSS pixels wide, in the color scheme "light" or "dark"."""
    import json

    driver.get_log("browser"), driver.get_log("performance")
    emulate(driver, width, scheme)
    driver.get(page.as_uri())
    overflow = driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return Seen(
        max(0, overflow),
        [entry["message"] for entry in driver.get_log("browser")],
        [url for url in asked if not url.startswith("data:")],
    )


def emulate(driver, width: int, scheme: str) -> None:
    """Let what is opened be ``width`` CSS pixels wide, in the color scheme "light" or "dark"."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})


def check_it_fits(driver, page: Path, width: int, scheme: str) -> None:
    """Nothing is wider than the window, nothing is asked for, no error is told, and the colors are of the scheme."""
    seen = show(driver, page, width, scheme)
    assert seen.overflow == 0
    assert seen.console == []
    assert seen.requests == [page.as_uri()]
    script = "return [...document.images].every(image => image.complete && image.naturalWidth > 0)"
    assert driver.execute_script(script)
    ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (min(map(int, ground[4:-1].split(","))) > 200) == (scheme == "light")
    beyond = driver.execute_script(
        "return [...document.querySelectorAll('p, li, dd, h1, h2, h3, pre, figure')]"
        ".filter(each => each.getBoundingClientRect().right > window.innerWidth).length"
    )
    assert beyond == 0


def screenshot(driver, path: Path) -> Path:
    """A picture of the whole page."""
    import base64

    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    words = {"format": "png", "captureBeyondViewport": True, "clip": clip}
    path.write_bytes(base64.b64decode(driver.execute_cdp_cmd("Page.captureScreenshot", words)["data"]))
    return path
