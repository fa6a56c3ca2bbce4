"""The page in headless Chromium: curves, sortable table, slider, and the layout on a phone."""

import shutil

import pytest
from PIL import Image

pytest.importorskip("plotly")
pytest.importorskip("pytorch_msssim")
pytest.importorskip("selenium")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from benchmarks.rd.results import Result
from benchmarks.report.page import write_page
from benchmarks.report.scenes import Scene, View, data_url
from benchmarks.report.summary import Summary, rate

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and its driver are not installed")

QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync")

ENVIRONMENT = {
    "date": "2026-01-01",
    "processor": "a processor",
    "cores": 2,
    "system": "Linux",
    "python": "3",
    "jobs": 2,
    "threads": 1,
}


def result(name, factor):
    rates = [0.1, 0.2, 0.4, 0.8, 1.6]
    series = {
        "quality": [1, 2, 3, 4, 5],
        "bpp": [rate * factor for rate in rates],
        "psnr-rgb": [26, 29, 32, 35, 38],
        "psnr-y": [27, 30, 33, 36, 39],
        "ssim-rgb": [0.7, 0.8, 0.9, 0.95, 0.98],
        "ms-ssim-rgb": [0.8, 0.9, 0.95, 0.98, 0.99],
        "encoding_time": [factor] * 5,
        "decoding_time": [0.1] * 5,
    }
    return Result(name, "settings </script> & such", series)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    results = {"vqc": result("vqcodec", 0.6), "jpeg": result("JPEG", 1), "webp": result("WebP", 0.75)}
    summary = Summary(
        "photos", 2, "bin/rd-report", "jpeg", rate(results, "jpeg", (0.1, 1.5)), {"jxl": "absent"}, ENVIRONMENT
    )
    views = [
        View(f"view {i}", data_url(Image.new("RGB", (600, 400), colour))) for i, colour in enumerate(("red", "blue"))
    ]
    scenes = [Scene(f"scene {i}", 600, 400, views[0], views[1], views[0]) for i in range(2)]
    path = tmp_path_factory.mktemp("page") / "index.html"
    write_page(path, summary, results, scenes, {"a.png": -30.0, "b.png": 5.0})
    return path


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", *QUIET):
        options.add_argument(f"--{argument}")
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(params=[(1300, False), (390, True)], ids=["wide", "phone"])
def shown(request, browser, page):
    width, mobile = request.param
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
    browser.get(page.as_uri())
    return browser


def lines(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#curves .scatterlayer .trace path.js-line")


def test_page(shown):
    assert len(lines(shown)) == 3
    assert "PSNR (RGB), dB" in shown.find_element(By.ID, "curves").text
    before = [line.get_attribute("d") for line in lines(shown)]
    shown.find_elements(By.CSS_SELECTOR, "#metrics button")[1].click()
    assert "MS-SSIM (RGB), dB" in shown.find_element(By.ID, "curves").text
    assert [line.get_attribute("d") for line in lines(shown)] != before

    def codecs():
        return [cell.text for cell in shown.find_elements(By.CSS_SELECTOR, "#ratings tbody td:first-child")]

    heads = shown.find_elements(By.CSS_SELECTOR, "#ratings th button")
    assert codecs() == ["vqcodec", "JPEG", "WebP"]
    shown.execute_script("arguments[0].click()", heads[-2])
    assert codecs() == ["vqcodec", "WebP", "JPEG"]
    shown.execute_script("arguments[0].click()", heads[-2])
    assert codecs() == ["JPEG", "WebP", "vqcodec"]

    compare = shown.find_element(By.ID, "compare")
    shown.execute_script("arguments[0].scrollIntoView({block: 'center'})", compare)
    slider = compare.find_element(By.TAG_NAME, "input")

    def split():
        script = "return getComputedStyle(arguments[0]).getPropertyValue('--split')"
        return float(shown.execute_script(script, compare).rstrip("%"))

    assert split() == 50
    quarter = compare.size["width"] // 4
    ActionChains(shown).move_to_element(slider).click_and_hold().move_by_offset(quarter, 0).release().perform()
    assert 70 < split() < 80
    images = compare.find_elements(By.TAG_NAME, "img")
    assert images[0].get_attribute("src") != images[1].get_attribute("src")
    assert f"{split():g}%" in images[1].value_of_css_property("clip-path")

    assert shown.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert not [entry for entry in shown.get_log("browser") if entry["level"] == "SEVERE"]
