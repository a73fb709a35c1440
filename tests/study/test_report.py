"""The report: one file that opens from disk, from whatever results there are."""

import csv
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_tables import experiment_rows, write_experiment
from tiny_encoders import tiny_bert

from clir_cli import runtime
from clir_cli.cli import run
from clir_cli.errors import UserError
from clir_cli.stages.support.workspace import Workspace
from clir_cli.study.report.blocks import number, p_text
from clir_cli.study.report.data import Results, read
from clir_cli.study.report.experiment_sections import experiment
from clir_cli.study.report.focus import focus_on
from clir_cli.study.report.page import FOLDER, report
from clir_cli.suites import load_settings

METHODS = "bm25,dictionary-bm25,english-bm25"
WORDS = ("--set", "dictionary.induced=false", "--quiet")
MADE_FROM = "Training data, index and machine"


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        self._hidden = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def suite(tmp_path_factory, models) -> Path:
    """Artifacts and results: three methods of BM25, one small student, one experiment."""
    folder = tmp_path_factory.mktemp("report")
    home, results = folder / "artifacts", folder / "results"
    home.mkdir()
    (home / "models").symlink_to(models)
    teacher = tiny_bert(folder / "tiny", models)
    small = ("--set", f"teacher.model={teacher}", "--home", str(home))
    train = ("--set", "bitext.max_pairs=120", "--set", "training.epochs=2")
    assert run(["distill", "--lang", "sw-en", *small, *train, "--quiet"]) == 0
    pairs = ("--lang", "sw-en,de-en", "--method", METHODS)
    assert run(["search", *pairs, "--home", str(home), *WORDS]) == 0
    words = ("--metric", "map,mrr,rank-distance", "--results", str(results))
    assert run(["evaluate", *pairs, *words, "--home", str(home), *WORDS]) == 0
    write_experiment(results / "sample", experiment_rows(), "eps_ablation")
    return folder


@pytest.fixture(scope="module")
def html(suite: Path) -> str:
    output = suite / "report.html"
    words = ("--home", str(suite / "artifacts"), "--results", str(suite / "results"))
    tiny = ("--set", f"teacher.model={suite / 'tiny'}")
    assert run(["report", "--output", str(output), *words, *tiny, "--quiet"]) == 0
    return output.read_text(encoding="utf-8")


# -------------------------------------------------------------------------------- one file


def test_it_needs_nothing_from_elsewhere(html):
    page = Page(html)
    assert not [name for name, _ in page.elements if name in ("link", "img", "iframe", "object")]
    for name, attributes in page.elements:
        for key in ("src", "href", "xlink:href", "data", "poster"):
            assert attributes.get(key, "#").startswith("#"), (name, attributes)
    style = (FOLDER / "page.css").read_text() + html
    assert not re.search(r"@import|url\((?!#)", style)
    assert len(html) < 3_000_000


def test_its_parts_are_named_once_and_every_link_leads_somewhere(html):
    page = Page(html)
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    inside = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert inside
    assert set(inside) <= set(names)


def test_every_picture_says_in_words_what_it_shows(html):
    pictures = Page(html).all("svg")
    assert len(pictures) >= 8
    for each in pictures:
        assert each["role"] == "img"
        assert re.search(r"\d\.\d{3}|queries above", each["aria-label"])


def test_every_figure_tells_its_command_and_the_students_their_settings(html):
    for figure in re.findall(r"<figure>.*?</figure>", html, flags=re.DOTALL):
        assert re.search(r'<div class="how">\s*<pre><code>clir \w+ ', figure)
    learned = html[html.index('id="learning"') :]
    settings_ = re.search(r"<dt>training.epochs</dt><dd>(\d+)</dd>", learned)
    assert settings_
    assert settings_[1] == "2"
    assert "clir distill --suite sample --lang sw-en --method ot" in Page(learned).text


def test_training_data_with_licence_device_and_time_are_told_and_tables_their_n(html):
    environment = html[html.index('id="environment"') :]
    training = re.sub(r"<[^>]+>|\s+", " ", environment[: environment.index("Machine and")])
    machine = re.escape(runtime.hardware()["processor"])
    assert re.search(rf"sw-en, ot +\d+ +sample \d+ \(CC0-1\.0\) +{machine} +\d+\.\d", training)
    for caption in re.findall(r"<figcaption>.*?</figcaption>", html[: html.index('id="plans"')]):
        assert re.search(r"n = \d+ (queries|sentence pairs)", caption)
        assert re.search(r"95 % intervals by bootstrap|test", caption)


def test_the_numbers_are_those_of_the_tables(html, suite):
    with (suite / "results/sample/scores.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["metric"] == "map"]
    assert len(rows) == 6
    for row in rows:
        interval = f"[{number(float(row['ci_low']))}, {number(float(row['ci_high']))}]"
        value = re.escape(number(float(row["value"])))
        assert re.search(rf">{value}( [▲▼])?<small>{re.escape(interval)}", html)


def test_queries_stand_there_in_words_with_their_language(html, suite):
    page = Page(html)
    lines = (FOLDER.parents[2] / "data/sample/collection/queries.sw.jsonl").read_text("utf-8")
    texts = [json.loads(line)["text"] for line in lines.splitlines()]
    assert sum(text in page.text for text in texts) >= 6
    assert {"sw", "de"} <= {each.get("lang") for each in page.all("span")}


def test_the_plan_of_a_query_is_a_table_whose_rows_share_out_a_token(html):
    plan = html[html.index('class="plan"') :]
    plan = plan[: plan.index("</table>")]
    shares = [re.findall(r"--share: (\d+)%", row) for row in plan.split("<tr>")[2:]]
    assert len(shares) > 4
    for row in shares:
        assert sum(map(int, row)) == pytest.approx(100, abs=len(row))


def test_no_folder_of_the_machine_is_told(html, suite):
    assert str(suite) not in html
    assert "/home/someone" not in html
    assert (
        "--home artifacts" in Page(html).text
    )  # the command of a cell, without the way to the folder


def test_the_same_results_give_the_same_bytes(html, suite):
    workspace = Workspace(
        load_settings("sample", None, [f"teacher.model={suite / 'tiny'}"]), suite / "artifacts"
    )
    assert report(workspace, suite / "results").html == html


def test_versions_stand_at_the_end(html):
    end = Page(html).text.split(MADE_FROM)[-1]
    for name in ("python", "torch", "geomloss", "cores", "training precision"):
        assert name in end


# -------------------------------------------------------------------------------- what is missing


def draw(folder: Path, home: Path | None = None, **wanted: str):
    workspace = Workspace(load_settings("sample"), home or folder / "no-artifacts")
    return report(workspace, folder / "results", **wanted)


def test_without_results_one_line_says_what_makes_them(clir, tmp_path):
    outcome = clir("report", "--results", tmp_path, "--output", tmp_path / "r.html")
    assert outcome.code == 2
    assert "no score table to report; make one with: clir evaluate" in outcome.err
    assert not (tmp_path / "r.html").exists()


def test_a_damaged_table_and_a_missing_folder_are_told(clir, suite, tmp_path):
    shutil.copytree(suite / "results", tmp_path / "results")
    own = ("--results", tmp_path / "results")
    outcome = clir("report", *own, "--output", tmp_path / "no" / "r.html")
    assert outcome.code == 2
    assert "there is no folder" in outcome.err
    (tmp_path / "results/sample/mine.csv").write_text("a,b\n1,2\n")
    outcome = clir("report", *own, "--output", tmp_path / "r.html")
    assert outcome.code == 2
    assert "mine.csv: not a score table of clir" in outcome.err


def test_tables_that_a_kill_or_an_editor_left_are_refused(clir, suite, tmp_path):
    folder = tmp_path / "results" / "sample"
    shutil.copytree(suite / "results", tmp_path / "results")

    def told():
        own = ("--results", tmp_path / "results", "--output", tmp_path / "r.html")
        outcome = clir("report", *own)
        assert outcome.code == 2, outcome
        return outcome.err

    whole = (folder / "scores.csv").read_text()
    for broken, said in (
        (whole[: len(whole) // 2], "is damaged; move the file away"),
        (whole.replace(",0,map,", ",zero,map,"), "is damaged"),
        (whole.replace(",map,0", ",map,,0"), "is damaged"),
        (re.sub(r",map,[^,]*,", ",map,,", whole), "a score has no number"),
    ):
        (folder / "scores.csv").write_text(broken)
        assert said in told()
    (folder / "scores.csv").write_text(whole)
    (folder / "per_query.csv").unlink()
    assert "per_query.csv is missing; make it again with: clir evaluate" in told()
    assert not (tmp_path / "r.html").exists()


def test_scores_alone_make_a_report_that_tells_what_is_missing(suite, tmp_path):
    folder = tmp_path / "results" / "sample"
    folder.mkdir(parents=True)
    for name in ("scores.csv", "per_query.csv"):
        shutil.copy(suite / "results/sample" / name, folder)
    found = draw(tmp_path)
    assert any("no experiment has been run" in line for line in found.missing)
    assert any("clir distill --suite sample --lang all" in line for line in found.missing)
    text = Page(found.html).text
    for line in found.missing:
        assert line in text
    assert "Scores on sample" in found.sections
    assert MADE_FROM in found.sections


def test_an_experiment_alone_makes_a_report(tmp_path):
    write_experiment(tmp_path / "results/sample", experiment_rows(), "eps_ablation")
    found = draw(tmp_path)
    assert found.sections == ("eps ablation", MADE_FROM)
    assert found.verdicts == {"OK": 1, "FAIL": 1}
    assert found.failed == 1
    assert "kd-mse.eps0.2: it fell over" in Page(found.html).text


def test_what_is_wanted_must_have_scores(suite):
    for wanted in ({"metric": "ndcg@10"}, {"method": "ot"}, {"baseline": "nmt"}):
        (name, value) = next(iter(wanted.items()))
        with pytest.raises(UserError, match=f"--{name} {value}: no scores of it"):
            draw(suite, **wanted)
    found = draw(suite, metric="mrr", method="bm25", baseline="english-bm25")
    assert "bm25 against english-bm25, query by query." in found.html


# -------------------------------------------------------------------------------- reading


def test_variants_of_an_experiment_are_left_to_its_own_section(suite):
    workspace = Workspace(load_settings("sample"), suite / "artifacts")
    found = read(workspace, suite / "results")
    assert found.labels == ["bm25", "dictionary-bm25", "english-bm25"]
    (collection,) = found.collections
    assert collection.pairs == ["sw-en", "de-en"]  # low-resource languages first
    assert collection.metrics == ["map", "mrr"]
    focus = focus_on(found, 0.95, "t")
    assert (focus.metric, focus.method, focus.baseline) == ("map", "dictionary-bm25", "bm25")


def test_an_experiment_shows_its_question_its_line_and_its_verdicts(suite):
    workspace = Workspace(load_settings("sample"), suite / "artifacts")
    found = read(workspace, suite / "results")
    section = experiment(found, found.experiments[0], workspace.settings.evaluation)
    failed, figure, table = section.blocks
    assert failed.lines == ["sw-en kd-mse.eps0.2: it fell over"]
    chart = figure.panels[0].chart
    assert [shape.kind for shape in chart.shapes].count(
        "flat"
    ) == 1  # english: the same at every eps
    assert "ot: 0.500, 0.600, 0.400" in chart.text
    assert figure.made_by.commands[0] == "clir reproduce --suite sample eps_ablation.toml"
    assert [row[-1].text for row in table.rows] == ["OK", "FAIL", "-", "-"]
    assert [row[-1].kind for row in table.rows] == ["ok", "fail", "", ""]
    assert table.rows[0][4].text == "0.500 ▲"


# -------------------------------------------------------------------------------- words


def test_what_people_wrote_is_shown_and_never_run(tmp_path):
    rows = experiment_rows(error="<script>alert(1)</script> & more")
    write_experiment(tmp_path / "results/sample", rows, "eps_ablation")
    html = draw(tmp_path).html
    assert html.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in html


def test_numbers_are_written_as_papers_write_them() -> None:
    assert [number(each) for each in (0.39961, -0.0004, 46.924, -0.07)] == [
        "0.400", "0.000", "46.9", "-0.070",
    ]  # fmt: skip
    assert [p_text(each) for each in (0.0003, 0.0421, 1.0)] == ["p < .001", "p = .042", "p = 1.000"]
    assert Results("sample").labels == []
