"""Commands on small pictures with a tiny model: files, continued runs, messages."""

import csv
import json
import math
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("bjontegaard")
pytest.importorskip("plotly")
pytest.importorskip("pytorch_msssim")

from benchmarks import environment
from benchmarks.cli import main
from benchmarks.rd import sweep
from benchmarks.rd.datasets import Dataset, Photo
from benchmarks.rd.measure import measure
from benchmarks.rd.published import published_results
from benchmarks.rd.results import Result
from benchmarks.report.markdown import write_markdown
from benchmarks.report.page import write_page
from benchmarks.report.plots import plot_curves
from benchmarks.report.summary import Summary, rate

CODECS = ("vqc:tiny", "jpeg", "webp")
KEYS = ("bpp", "psnr-rgb", "ms-ssim-rgb", "encoding_time", "decoding_time")


def run(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module", autouse=True)
def one_core():
    """Use one core: threads slow down work on pictures this small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def report(tmp_path_factory, photo, tiny_weights):
    """Make a report on two pictures; return its folder, the arguments and the result of the command."""
    root = tmp_path_factory.mktemp("rd")
    (root / "cats").mkdir()
    photo.crop((0, 0, 176, 168)).save(root / "cats" / "a.png")
    photo.crop((180, 60, 360, 228)).save(root / "cats" / "b.png")
    arguments = ["rd", "--dataset", root / "cats", "--codecs", "vqc:nosuch,jpeg,webp", "--model-path", tiny_weights]
    arguments += ["--points", 3, "--out", root / "report", "--markdown", root / "RESULTS.md"]
    return root, arguments, run(*arguments, "-j", 1)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_json_is_in_compressai_s_schema(report):
    folder = report[0] / "report"
    for name in CODECS:
        record = read(folder / f"{name.replace(':', '-')}.json")
        assert {"name", "description", "results", "per_image", "environment"} <= set(record)
        assert isinstance(record["name"], str) and isinstance(record["description"], str)
        results = record["results"]
        assert set(KEYS) <= set(results)
        assert {len(values) for values in results.values()} == {3}
        assert all(isinstance(v, float | int) and math.isfinite(v) for values in results.values() for v in values)
        assert all(0 < v < 1 for v in results["ms-ssim-rgb"]), "linear, not in dB"
        for key in KEYS:
            assert set(record["per_image"]) == {"a.png", "b.png"}
            mean = [sum(both) / 2 for both in zip(*(s[key] for s in record["per_image"].values()), strict=True)]
            assert results[key] == pytest.approx(mean)


def test_rate_is_that_of_the_files(report):
    with (report[0] / "report" / "images.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 3
    for row in rows:
        expected = 8 * int(row["bytes"]) / (int(row["width"]) * int(row["height"]))
        assert float(row["bpp"]) == pytest.approx(expected, abs=1e-6)


def test_summary_says_what_bd_rates_rest_on(report):
    summary = read(report[0] / "report" / "summary.json")
    assert (summary["dataset"], summary["images"], summary["anchor"]) == ("cats", 2, "jpeg")
    assert "vqc:nosuch" in summary["left_out"]
    found = {(r["codec"], r["metric"], r["bpp_range"] and tuple(r["bpp_range"])) for r in summary["ratings"]}
    metrics, ranges = ("psnr-rgb", "ms-ssim-rgb"), (None, (0.1, 1.5))
    assert found == {(c, m, r) for c in ("vqc:tiny", "webp") for m in metrics for r in ranges}
    webp = next(r["bd_rate"] for r in summary["ratings"] if r["codec"] == "webp" and r["bpp_range"] is None)
    assert webp["percent"] < 0
    low, high = webp["overlap"]
    assert 15 < low < high < 50
    assert (webp["points"], webp["anchor_points"]) == (3, 3)


def test_command_reports_and_names_what_is_missing(report):
    result = report[2]
    assert result.exit_code == 0
    assert re.search(r"vqc:nosuch is left out: .*nosuch", result.stderr)
    assert re.search(r"^webp +psnr-rgb +-\d+\.\d+ % bits relative to JPEG$", result.stdout, re.M)


def test_pictures_and_pages_are_written(report):
    root = report[0]
    with Image.open(root / "report" / "rd.png") as image:
        assert image.width > image.height > 500
    page = (root / "report" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"?(https?:)?//", page), "needs the network"
    text = (root / "RESULTS.md").read_text(encoding="utf-8")
    assert "bin/rd-report --dataset cats --codecs vqc:nosuch,jpeg,webp --model-path tiny.safetensors" in text
    assert (root / "results" / "rd.png").exists()
    for content in (text, read(root / "report" / "summary.json")["command"]):
        assert str(root) not in content


def test_nothing_is_measured_twice(report, monkeypatch):
    measured = []

    def counting(codec, *arguments):
        measured.append(codec.choice.name)
        return measure(codec, *arguments)

    monkeypatch.setattr(sweep, "measure", counting)
    root, arguments, _ = report
    before = (root / "report" / "images.csv").read_bytes()
    again = run(*arguments, "-j", 1)
    assert "18 of 18 measurements exist already" in again.stderr
    assert run(*arguments, "-j", 1, "--quiet").stderr == ""
    assert not measured
    assert (root / "report" / "images.csv").read_bytes() == before

    journal = root / "report" / "measurements" / "jpeg.jsonl"
    text = journal.read_text(encoding="utf-8")
    journal.write_text(text[:-40], encoding="utf-8")  # as an interrupted run leaves it
    run(*arguments, "-j", 1)
    assert measured == ["jpeg"]
    run(*arguments, "-j", 1)
    assert measured == ["jpeg"]


def test_processes_measure_the_same(report):
    root, arguments, _ = report
    arguments = [*arguments[:4], "jpeg", "--points", 2, "--out", root / "parallel"]
    assert run(*arguments, "-j", 2).exit_code == 0
    one, two = (read(root / name / "jpeg.json")["results"] for name in ("report", "parallel"))
    for key in ("bpp", "psnr-rgb", "ms-ssim-rgb"):
        assert two[key] == pytest.approx([one[key][0], one[key][-1]], rel=1e-6)


def test_compare(report):
    folder = report[0] / "report"
    result = run("compare", folder / "jpeg.json", folder / "webp.json")
    assert re.search(r"psnr-rgb +-\d+\.\d\d % +over", result.stdout)
    assert "B is smaller for 2 of 2" in result.stdout
    change = json.loads(run("compare", folder / "jpeg.json", folder / "webp.json", "--json").stdout)
    summary = read(folder / "summary.json")
    webp = next(r["bd_rate"] for r in summary["ratings"] if r["codec"] == "webp" and r["bpp_range"] is None)
    assert change["bd_rates"]["psnr-rgb"]["percent"] == pytest.approx(webp["percent"])


def test_compare_with_a_published_curve(report, tmp_path):
    """Some of CompressAI's files have no pictures and no times."""
    curve = {"name": "x", "description": "", "results": {"bpp": [0.2, 0.9], "psnr-rgb": [25, 33]}}
    (tmp_path / "x.json").write_text(json.dumps(curve))
    result = run("compare", tmp_path / "x.json", report[0] / "report" / "jpeg.json")
    assert result.exit_code == 0 and "psnr-rgb" in result.stdout
    (tmp_path / "y.json").write_text('{"results": {"bpp": [1], "psnr-rgb": [1, 2]}}')
    result = run("compare", tmp_path / "x.json", tmp_path / "y.json")
    assert result.exit_code == 1
    assert re.search(r"benchmarks: .*y\.json: not a result", result.stderr)


def test_published_curves_join_a_report_of_their_data_set(tmp_path):
    """Published curves have no times and no qualities; they are rated, and marked in every table and plot."""
    photos = tuple(Photo(f"{i}.png", tmp_path / f"{i}.png") for i in range(24))
    assert published_results(Dataset("kodak", photos[:-1])) == {} == published_results(Dataset("others", photos))
    published = published_results(Dataset("kodak", photos))
    for result in published.values():
        assert result.source.startswith("https://") and result.label.endswith("(published)")
        bpp, psnr = result.results["bpp"], result.results["psnr-rgb"]
        assert bpp == sorted(bpp) and psnr == sorted(psnr) and len(bpp) == len(psnr) > 5
    jpeg = Result("JPEG", "", {**published["bmshj2018-factorized"].results, "quality": [*range(8)]})
    jpeg = replace(jpeg, results=jpeg.results | {f"{way}_time": [1.0] * 8 for way in ("encoding", "decoding")})
    results = {"jpeg": jpeg} | published
    ratings = rate(results, "jpeg", None)
    percents = {r.codec: r.bd_rate.percent for r in ratings if r.metric == "psnr-rgb"}
    assert percents["bmshj2018-factorized"] == pytest.approx(0, abs=1e-6)
    # The order is known from the papers.
    assert percents["ELIC"] < percents["VTM"] < percents["mbt2018"] < percents["bmshj2018-hyperprior"] < 0
    facts = {"jobs": 1, "threads": 1, "date": "", "processor": "", "cores": 1, "system": "", "python": ""}
    summary = Summary("kodak", 24, "", "jpeg", ratings, {}, facts)
    plot_curves(tmp_path / "rd.png", results, "")
    write_page(tmp_path / "index.html", summary, results, (), {})
    write_markdown(tmp_path / "RESULTS.md", summary, results, tmp_path / "rd.png")
    page, table = ((tmp_path / name).read_text(encoding="utf-8") for name in ("index.html", "RESULTS.md"))
    assert "1 codecs" in page and page.count('"dash":"dash"') + page.count('"dash": "dash"') == 11  # ELIC: PSNR only
    assert all(
        f"| {result.label} |" in table and f"[source]({result.source})" in table for result in published.values()
    )


def test_speed(report, tmp_path):
    result = run(
        "speed", "--dataset", report[0] / "cats", "--codecs", "jpeg", "--sizes", "0.05", "--runs", 1, "--out", tmp_path
    )
    assert result.exit_code == 0, result.output
    record = read(tmp_path / "speed.json")
    (point,) = record["throughput"]
    assert (point["width"], point["height"]) == (274, 183)
    assert point["encode_peak_mib"] > 10 and point["encode_seconds"] > 0
    with (tmp_path / "speed.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 1
    assert (tmp_path / "speed.png").exists()


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["rd", "--codecs", "gif"], 1, "unknown codec 'gif'"),
        (["rd", "--dataset", "nowhere"], 2, "does not exist"),
        (["speed", "--sizes", "big"], 2, "must be numbers"),
        (["speed", "--sizes", "-1"], 2, "must be numbers"),
        (["speed", "--sizes", "nan"], 2, "must be numbers"),
        (["rd", "--bpp", "2", "1"], 2, "LOW must be below HIGH"),
        (["rd", "--codecs", "jpeg", "--out", "/dev/null/report"], 1, "benchmarks: /dev/null/report: Not a directory"),
        (["rd", "--points", "1"], 2, "not in the range"),
    ],
)
def test_wrong_usage(arguments, code, message):
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
