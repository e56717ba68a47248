"""``report.html``: what it says without a browser, and what it does in one (headless Chromium)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.compare_runs import bare, complete, folded, put, simulated, trained
from support.paths import SCRIPTS

from hls.compare.draw.page import write_page
from hls.compare.read.published import read_published
from hls.compare.read.run import read_runs
from hls.compare.table.columns import tabulate
from hls.compare.table.diff import compare as compare_layers
from qformers.records import write_record

SCRIPT = SCRIPTS / "compare_reports.py"
HOSTILE = "</script><img src=x onerror=alert(1)>"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1366,768",
)


class Tags(HTMLParser):
    """Elements with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def page_of(folder: Path, *runs: Path, reference: bool = True) -> str:
    read = read_runs(runs)
    diff = compare_layers(read[0], read[1]) if len(read) == 2 else None
    path = folder / "report.html"
    write_page(tabulate(read), diff, read_published() if reference else (), [], path)
    return path.read_text()


def test_the_page_needs_no_network(tmp_path: Path) -> None:
    page = page_of(tmp_path / "out", complete(tmp_path, "part_a", 0.7, 90_000))
    for tag, attributes in Tags(page).found:
        assert tag not in ("iframe", "object", "embed", "base")
        if "src" in attributes or tag == "link":
            assert (attributes.get("src") or attributes.get("href") or "").startswith("data:"), tag
    assert "default-src 'none'" in page
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", page)


def test_text_of_files_is_escaped(tmp_path: Path) -> None:
    run = complete(tmp_path / HOSTILE.replace("/", "_"), "part_a", 0.7, 90_000)
    audit = json.loads((run / "qat" / "audit.json").read_text())
    row = {**audit["quantisers"][0], "layer": HOSTILE, "widest": HOSTILE}
    put(run / "qat" / "audit.json", {**audit, "quantisers": [row]})
    report = json.loads((run / "reports" / "alkaid.json").read_text())
    write_record(run / "reports" / "alkaid.json", {**report, "tool": HOSTILE, "error_bar": HOSTILE})
    put(run / "rtl.json", {**json.loads((run / "rtl.json").read_text()), "flavour": HOSTILE})
    page = page_of(tmp_path / "out", run)
    assert [tag for tag, _ in Tags(page).found if tag == "img"] == []
    assert page.count("<script") == page.count("</script>") == 2
    assert "onerror=alert(1)&gt;" in page


def test_the_data_of_the_plot_cannot_leave_its_element(tmp_path: Path) -> None:
    run = complete(tmp_path, "part_a", 0.7, 90_000)
    put(run / "rtl.json", {**json.loads((run / "rtl.json").read_text()), "backend": HOSTILE})
    report = json.loads((run / "reports" / "alkaid.json").read_text())
    page = page_of(tmp_path / "out", run)
    text = page.partition('<script type="application/json" id="data">')[2].partition("</script>")[0]
    assert not set("<>&'") & set(text)
    costs = json.loads(text)["builds"][0]["costs"]["lut"]
    assert report["resources"]["lut"] in [point["value"] for point in costs]


def test_the_page_says_what_is_missing_stale_and_different(tmp_path: Path) -> None:
    wrong, late = trained(tmp_path, "part_wrong"), trained(tmp_path, "part_late")
    simulated(wrong, equal=False, rtl=False)
    simulated(late, build_hash="abcdefabcdef")
    page = page_of(tmp_path / "out", wrong, late, bare(tmp_path, "part_bare"))
    assert "part_wrong: C simulation differs, vitis: 3 of 53,425 outputs differ" in page
    assert "Out of date, see below: part_late" in page
    assert f"not run: qformers train {tmp_path}/part_bare/build.yaml --run {tmp_path}/part_bare" in page
    assert 'href="../part_late/csim.json"' in page


def test_without_references_none_are_shown(tmp_path: Path) -> None:
    page = page_of(tmp_path / "out", complete(tmp_path, "part_a", 0.7, 90_000), reference=False)
    assert "JEDI-linear pT-sorted" not in page
    assert "measured on other data" not in page


def test_two_builds_are_compared_on_the_page(tmp_path: Path) -> None:
    runs = complete(tmp_path, "part_a", 0.7, 90_000, pairs="onchip"), complete(tmp_path, "part_b", 0.69, 60_000)
    page = page_of(tmp_path / "out", *runs)
    assert "From part_a to part_b, layer by layer" in page
    assert "90,000 → 60,000" in page
    assert "model.pairs" in page


def test_the_script_writes_everything_and_refuses_what_is_wrong(tmp_path: Path) -> None:
    run, out = complete(tmp_path, "part_a", 0.7, 90_000), tmp_path / "out"

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = call(run, "--out", out, "--budget", "lut<=20%")
    assert done.returncode == 0, done.stderr
    names = {"comparison.csv", "comparison.json", "comparison.md", "pareto.png", "pareto.pdf", "report.html"}
    assert {path.name for path in out.iterdir()} == names
    failed = call(run, "--out", out, "--budget", "lut<=1%", "--no-reference")
    assert failed.returncode == 1
    assert "fail part_a: lut<=1%" in failed.stdout
    absent = call(tmp_path / "nowhere")
    assert (absent.returncode, "is no run folder" in absent.stderr) == (2, True)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium with its logs; skipped with the reason where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    chromium, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("chromium or chromedriver not found: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.chrome.service.Service(driver)
    started = webdriver.Chrome(options=options, service=service)
    started.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    yield started
    started.quit()


@pytest.fixture(scope="module")
def opened(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A page of four builds, one of them incomplete, opened from disk."""
    root = tmp_path_factory.mktemp("runs")
    values = {"part_c": (0.66, 70_000), "part_a": (0.68, 90_000), "part_b": (0.70, 300_000)}
    runs = [complete(root, name, *numbers) for name, numbers in values.items()]
    page_of(root / "out", *runs, bare(root, "part_d"))
    browser.get((root / "out" / "report.html").as_uri())
    return browser


def names_in_order(browser: Any) -> list[str]:
    return [cell.text for cell in browser.find_elements("css selector", "#table tbody th")]


def click_heading(browser: Any, text: str) -> Any:
    headings = browser.find_elements("css selector", "#table thead th[aria-sort]")
    heading = next(heading for heading in headings if heading.text.startswith(text))
    button = heading.find_element("tag name", "button")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", button)
    button.click()
    return heading


def test_a_click_sorts_and_says_so(opened: Any) -> None:
    heading = click_heading(opened, "LUT")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names_in_order(opened) == ["part_c", "part_a", "part_b", "part_d"]  # as numbers; the unknown one stays last
    click_heading(opened, "LUT")
    assert heading.get_attribute("aria-sort") == "descending"
    assert names_in_order(opened) == ["part_b", "part_a", "part_c", "part_d"]
    other = click_heading(opened, "build")
    assert (heading.get_attribute("aria-sort"), other.get_attribute("aria-sort")) == ("none", "ascending")
    assert names_in_order(opened) == ["part_a", "part_b", "part_c", "part_d"]


def test_hovering_and_the_keyboard_show_a_points_details(opened: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    details = opened.find_element("id", "details")
    points = opened.find_elements("css selector", "#plot .point.ours")
    assert len(points) == 9  # three builds, three sources of LUT each
    before = details.text
    target = next(
        p for p in points if "part_b" in p.get_attribute("aria-label") and "route" in p.get_attribute("aria-label")
    )
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", target)
    ActionChains(opened).move_to_element(target).perform()
    assert details.text != before
    assert "part_b" in details.text
    assert "312,000 (vivado-route [route])" in details.text
    assert [row.get_attribute("data-build") for row in opened.find_elements("css selector", "tr.lit")] == ["part_b"]
    opened.execute_script("document.querySelector('#plot [tabindex=\"0\"]').focus()")
    focused = details.text
    ActionChains(opened).send_keys(Keys.ARROW_LEFT).perform()
    assert details.text != focused


def test_axes_and_published_points_can_be_chosen(opened: Any) -> None:
    from selenium.webdriver.support.ui import Select

    def count(kind: str) -> int:
        return len(opened.find_elements("css selector", f"#plot .point.{kind}"))

    published = Select(opened.find_element("id", "published"))
    everything = count("work")
    published.select_by_value("same")
    assert 0 < count("work") < everything
    published.select_by_value("none")
    assert count("work") == 0
    Select(opened.find_element("id", "x")).select_by_value("latency_ns")
    assert count("ours") == 6  # alkaid's estimate and the RTL simulation
    Select(opened.find_element("id", "source")).select_by_value("verilator [rtlsim]")
    assert count("ours") == 3
    Select(opened.find_element("id", "y")).select_by_value("auc")
    assert "AUC" in opened.find_element("id", "plot").text
    opened.find_element("id", "log").click()
    assert count("ours") == 3
    for name, value in (("y", "accuracy"), ("x", "lut")):
        Select(opened.find_element("id", name)).select_by_value(value)
    published.select_by_value("all")
    opened.find_element("id", "log").click()
    assert (count("ours"), count("work")) == (9, everything)


def test_columns_and_constant_layers_can_be_hidden(opened: Any) -> None:
    hidden = "return [...document.querySelectorAll(arguments[0])].filter((cell) => cell.hidden).length"
    box = opened.find_element("css selector", "#groups input")
    opened.execute_script("arguments[0].click()", box)
    assert opened.execute_script(hidden, "#table [data-group='1']") > 0
    opened.execute_script("arguments[0].click()", box)
    assert opened.execute_script(hidden, "#table [data-group='1']") == 0
    opened.execute_script("document.getElementById('learned').click()")
    assert opened.execute_script(hidden, "#heat tr.fixed") == 1
    opened.execute_script("document.getElementById('learned').click()")


def test_the_laptop_screen_is_not_left_sideways(opened: Any) -> None:
    assert opened.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_no_console_errors_and_no_requests(opened: Any) -> None:
    assert [entry for entry in opened.get_log("browser") if entry["level"] != "INFO"] == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    sent = [
        r["request"]["url"] for r in requests if r["documentURL"] == opened.current_url
    ]  # not those of the start page
    assert opened.current_url in sent
    assert [url for url in sent if not url.startswith(("file:", "data:"))] == []


def test_builds_of_one_interval_can_be_chosen(browser: Any, tmp_path: Path) -> None:
    """The last test of the browser: it opens another page."""
    from selenium.webdriver.support.ui import Select

    runs = [complete(tmp_path, "part_a", 0.68, 90_000), folded(tmp_path, "fold1", 0.69, 9_000)]
    runs.append(folded(tmp_path, "fold4", 0.70, 30_000, 4))
    page_of(tmp_path / "out", *runs)
    browser.get((tmp_path / "out" / "report.html").as_uri())
    chosen = Select(browser.find_element("id", "ii"))
    assert [option.text for option in chosen.options] == ["all", "1", "4", "16"]

    def names() -> set[str]:
        return {label.text for label in browser.find_elements("css selector", "#plot .name")}

    def count(kind: str) -> int:
        return len(browser.find_elements("css selector", f"#plot .point.{kind}"))

    assert names() == {"part_a, II = 1", "fold1, II = 16", "fold4, II = 4"}
    published = count("work")
    chosen.select_by_value("16")
    assert (names(), count("ours"), count("work")) == ({"fold1"}, 2, 0)
    assert not browser.find_elements("css selector", "#plot .absent")  # the others are not missing
    chosen.select_by_value("1")
    assert names() == {"part_a"}
    assert 0 < count("work") < published  # those that say their interval
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
