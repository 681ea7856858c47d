"""A real browser without a window, for pages that the commands write."""

import contextlib
import json
import os
import shutil

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

# For every element with text of its own that is to be seen: its colour on what is behind it, as WCAG counts it.
CONTRASTS = """
const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
const light = ([r, g, b]) => { const f = [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const behind = element => { for (let at = element; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor); if (colour[3] > 0) { return colour; } }
    return [255, 255, 255, 1]; };
const found = [];
for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.tagName === 'SCRIPT' || element.closest('.unseen, .filter legend')) { continue; }
    if (!element.checkVisibility({contentVisibilityAuto: true})) { continue; }
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), element.tagName + '.' + element.className,
        element.textContent.trim().slice(0, 40)]);
}
return found;
"""


def binaries():
    """The browser and its driver, or None."""
    browser = next(filter(None, map(shutil.which, BINARIES)), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


class Browser:
    """One window. `driver` is Selenium's."""

    def __init__(self, browser, driver, profile):
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"]
        arguments += ["--disable-crash-reporter", "--disable-background-networking", "--no-first-run"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")  # the browser's own sandbox does not work for root
        for argument in arguments:
            options.add_argument(argument)
        self.driver = webdriver.Chrome(options=options, service=Service(driver))

    def open(self, path, width=1280, scheme="light", media=""):
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.media(scheme, media)
        self.driver.get("about:blank")
        self.console()
        self.requests()
        self.driver.get(path.as_uri())

    def media(self, scheme="light", media=""):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=media, features=features)

    def command(self, name, **arguments):
        return self.driver.execute_cdp_cmd(name, arguments)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys):
        webdriver.ActionChains(self.driver).send_keys(*keys).perform()

    def console(self):
        """What it complained of since it was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self):
        """The addresses that it asked for since then."""
        messages = [entry["message"] for entry in self.driver.get_log("performance")]
        told = [json.loads(message)["message"] for message in messages]
        return [one["params"]["request"]["url"] for one in told if one["method"] == "Network.requestWillBeSent"]

    def close(self):
        with contextlib.suppress(OSError):
            self.driver.quit()
