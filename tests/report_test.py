"""Reports: pages that need nothing else, say what the files say, and believe nothing of what stands in them."""

import base64
import html.parser
import io
import json
import shutil

import numpy as np
from PIL import Image
import pytest

from digits import data, report
from digits.analysis import statistics
from digits.config.values import with_values
from digits.errors import UserError
from digits.reports import pages
from digits.runs import loading
from digits.runs.workdir import Workdir
from digits.sweeps import population
from tests.conftest import is_one_mistake, tiny_config

HOSTILE = '<script>alert("1")</script>&<img src=x onerror=alert(2)>'
SHOWN = ["accuracy", "augmentation", "confusion", "filters", "loss", "reliability"]
VOID = {"img", "meta", "wbr"}


class Page(html.parser.HTMLParser):
    """A page's elements, in order, with their attributes and text; an error if one is not closed in its place."""

    def __init__(self, path):
        super().__init__()
        self.elements, self._open = [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), []))
        if tag not in VOID:
            self._open.append(self.elements[-1])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, text):
        if not any("aria-hidden" in attributes for _, attributes, _ in self._open):
            for _, _, content in self._open:
                content.append(text.replace("\xa0", " "))

    def texts(self, *tags):
        return ["".join(content) for tag, _, content in self.elements if tag in tags]

    def attributes(self, tag):
        return [attributes for name, attributes, _ in self.elements if name == tag]

    def table(self, caption):
        """The rows, as texts by the names of their columns, of the table below a caption."""
        (at,) = [
            i for i, (tag, _, text) in enumerate(self.elements) if tag == "p" and "".join(text).startswith(caption)
        ]
        rows = []
        for tag, _, text in self.elements[at + 1 :]:
            if tag == "tr":
                rows.append([])
            elif tag in ("th", "td") and rows is not None:
                rows[-1].append("".join(text))
            elif tag in ("p", "h2"):
                break
        return [dict(zip(rows[0], row)) for row in rows[1:]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sweep of four of `tiny`'s structure, which other tests compile: two seeds, another rate, one unfinished."""
    config, folder = tiny_config(), tmp_path_factory.mktemp("runs") / "sweep"
    config.early_stopping.restore_best = True
    config.documented.test_accuracy = 0.5
    rates = {"a": (0.01, 0), "b": (0.01, 1), "c": (1e-5, 0), "unfinished": (1e-5, 1)}
    values = {name: {"optimizer.learning_rate": rate, "seed": seed} for name, (rate, seed) in rates.items()}

    def origin(name):
        return {"config_file": "configs/tiny.py", "overrides": values[name]}

    members = [population.Member(with_values(config, v), folder / n, origin(n)) for n, v in values.items()]
    population.train_members(members)
    (folder / "unfinished" / "result.json").unlink()
    shutil.rmtree(folder / "unfinished" / "checkpoints")
    about = {"config_file": "configs/tiny.py", "fields": list(values["a"]), "chooses": "val_accuracy"}
    about |= {"members": [{"name": n, "values": v} for n, v in values.items()], "validation_is_test": False}
    (folder / "sweep.json").write_text(json.dumps(about))
    return folder


@pytest.fixture(scope="module")
def written(folder):
    return pages.write(folder / "a")


@pytest.fixture
def copy(folder, tmp_path):
    """A function that copies a run, with other content in one of its files."""

    def copied(file, change, name="a"):
        shutil.copytree(folder / name, tmp_path / "copy")
        path = tmp_path / "copy" / file
        content = json.loads(path.read_text())
        content.pop("check", None)  # As written by hand.
        change(content)
        path.write_text(json.dumps(content))
        return path.parent

    return copied


def test_a_page_needs_nothing_but_itself(written):
    page = Page(written)
    assert "<!DOCTYPE html>" in page.source and page.attributes("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.attributes("meta")
    for forbidden in ("http:", "https:", "<script", "<link", "@import", "url(", "<iframe"):
        assert forbidden not in page.source
    identifiers = {attributes.get("id") for _, attributes, _ in page.elements}
    links = [attributes["href"] for attributes in page.attributes("a")]
    assert links and all(link[0] == "#" and link[1:] in identifiers for link in links)
    assert len(page.source) < 700_000


def test_every_picture_is_in_the_page_and_in_a_file_of_its_own(written):
    images = Page(written).attributes("img")
    inline = [base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) for image in images]
    files = {path.stem: path.read_bytes() for path in (written.parent / "figures").iterdir()}
    # Mistakes and doubtful images are a sheet each in the files, and a small picture each in the page.
    assert sorted(files) == sorted([*SHOWN, "doubtful", "mistakes"])
    large = [png for png in inline if Image.open(io.BytesIO(png)).size != (28, 28)]
    assert sorted(large) == sorted(files[name] for name in SHOWN)
    assert "(rotation 5)" in "".join(Page(written).texts("figcaption"))
    for image in images:
        size = Image.open(io.BytesIO(base64.b64decode(image["src"].split(",")[1]))).size
        assert size == (int(image["width"]), int(image["height"])) and len(image["alt"]) > 10


def test_the_figures_are_those_of_the_files(written, folder):
    page, result = Page(written), Workdir(folder / "a").result()
    accuracy, n = result["test_accuracy"], 360
    low, high = statistics.wilson(round(accuracy * n), n)
    assert page.texts("title") == [f"a: test accuracy {accuracy:.4f} - digits"]
    headline = next(text for text in page.texts("p") if "95% interval" in text)
    assert headline == f"Test accuracy {accuracy:.4f} (95% interval {low:.4f} to {high:.4f}, n = 360)"
    weights = f"The weights of epoch {result['tested_epoch']}, the best by val_loss"
    rows = {row.pop("figure"): row for row in page.table(weights)}
    assert rows["test accuracy"] == {"this run": f"{accuracy:.4f}"}
    assert rows["test loss (nats)"]["this run"] == f"{result['test_loss']:.4f}"
    documented = "Documented for the experiment as it is: 0.5000. The run differs from the experiment in optimizer."
    assert documented in "".join(page.texts("p"))
    (command,) = page.texts("pre")
    assert (
        command
        == "python -m digits.main --config=configs/tiny.py --config.optimizer.learning_rate=0.01 --config.seed=0"
    )
    assert [row["parameters"] for row in page.table("Parameters")][1] == f"{784 * 16 + 16:,}"
    wrong = round((1 - accuracy) * n)
    classes = page.table(f"{wrong} of 360 test images are wrong")
    assert [row["class"] for row in classes] == list("0123456789")
    assert sum(int(row["images"]) for row in classes) == 360


def test_a_documented_figure_stands_beside_a_run_of_the_experiment_as_it_is(copy, folder, tmp_path):
    as_it_is = copy("config.json", lambda about: about.update(overrides={}))
    page = Page(pages.write(as_it_is))
    assert {"0.5000"} == {row["documented"] for row in page.table("The weights of epoch") if row["documented"]}
    assert "Documented: 0.5000, which lies outside this run's interval." in "".join(page.texts("p"))
    both = Page(pages.compare([as_it_is, folder / "a"], tmp_path / "page.html"))
    assert [row["documented"] for row in both.table("Test results")] == ["0.5000", ""]


def test_a_run_of_a_version_without_some_fields_is_reported(copy):
    def remove(about):
        del about["config"]["label_smoothing"], about["config"]["augment"]["elastic"]
        del about["config"]["augment"]["elastic_sigma"], about["config"]["augment"]["erasing"]

    assert "(rotation 5)" in "".join(Page(pages.write(copy("config.json", remove))).texts("figcaption"))


def test_hostile_words_are_shown_not_obeyed(copy):
    def poison(about):
        about |= {"config_file": HOSTILE, "overrides": {HOSTILE: HOSTILE}}
        about["config"]["documented"]["source"] = HOSTILE

    page = Page(pages.write(copy("config.json", poison)))
    assert not page.attributes("script")
    assert all(image["src"].startswith("data:image/png") and "onerror" not in image for image in page.attributes("img"))
    text = "".join(page.texts("body"))
    assert text.count(HOSTILE) >= 6 and f"Documented: {HOSTILE}." in text


def test_a_run_that_is_not_finished_shows_what_is_there(folder, tmp_path):
    page = Page(pages.write(folder / "unfinished", output=tmp_path / "page.html"))
    text = "".join(page.texts("body"))
    assert "This run is not finished: 3 of 3 epochs are recorded, and nothing is tested." in text
    assert page.texts("h2") == ["Curves", "Training", "Network", "Training images", "Words"]
    assert "Test accuracy" not in text and "goes on with it" in text
    assert not (folder / "unfinished" / "figures").exists() and [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_validation_on_the_test_set_and_other_data_are_marked(copy, tmp_path):
    def on_test(about):
        about["config"]["data"]["validation"] = "test"
        about["data"]["digest"] = "0"

    def notes(path):
        page = Page(pages.write(path, output=path.parent / "page.html"))
        return ["".join(text) for tag, attributes, text in page.elements if attributes.get("class") == "note"]

    assert notes(copy("config.json", lambda about: None)) == []
    shutil.rmtree(tmp_path / "copy")
    unseen, digest = notes(copy("config.json", on_test))
    assert unseen == "Validation was the test set: no figure here is of unseen images." and "SHA-256" in digest


def test_four_runs_are_compared_with_the_first(folder, tmp_path):
    names = ["a", "b", "c", "unfinished"]
    page = Page(pages.compare([folder / name for name in names], tmp_path / "four.html"))
    assert page.texts("title") == ["4 runs compared - digits"]
    results = page.table("Test results")
    assert [row["model"] for row in results] == names
    assert list(results[0])[:3] == ["model", "test accuracy", "95% interval"]
    assert {"training loss", "training accuracy", "test loss"} < set(results[0])
    result = Workdir(folder / "b").result()
    assert (results[1]["test accuracy"], results[1]["test loss"]) == tuple(
        f"{result[name]:.4f}" for name in ("test_accuracy", "test_loss")
    )
    assert results[3]["test accuracy"] == "" and "unfinished is not finished: 3 of 3 epochs." in "".join(
        page.texts("p")
    )
    rows = {row["model"]: row for row in page.table("Test accuracy minus that of a")}
    assert list(rows) == ["b", "c", "unfinished"] and rows["unfinished"]["difference"] == ""
    assert rows["unfinished"]["compared as"] == "not finished: 3 of 3 epochs"
    labels, images = data.load("optdigits").test_labels, data.load("optdigits").test_images
    right = {name: loading.load(folder / name).predict(images).argmax(-1) == labels for name in "ab"}
    counts = [int(np.sum(x & y)) for x in (right["b"], ~right["b"]) for y in (right["a"], ~right["a"])]
    low, high = statistics.paired_difference(*counts)
    assert rows["b"]["95% interval"] == f"{low:+.4f} to {high:+.4f}"
    assert (rows["b"]["only this one is right"], rows["b"]["only the first is right"]) == (
        str(counts[1]),
        str(counts[2]),
    )
    assert float(rows["b"]["difference"]) == pytest.approx((counts[1] - counts[2]) / 360, abs=5e-5)
    assert "not for training again with other seeds" in "".join(page.texts("li"))
    assert "after Holm's correction for the 2 comparisons of this page" in "".join(page.texts("p"))
    differing = {row.pop("field"): list(row.values()) for row in page.table("Fields that differ")}
    assert differing == {
        "config.optimizer.learning_rate": ["0.01", "0.01", "1e-05", "1e-05"],
        "config.seed": ["0", "1", "0", "1"],
    }
    styles = [attributes["style"] for attributes in page.attributes("span") if "style" in attributes]
    assert len(set(styles)) == 4 and len(page.attributes("img")) == 2


def test_runs_on_other_data_are_compared_unpaired(folder, copy, tmp_path):
    other = copy("config.json", lambda about: about["data"].update(digest="0"), name="b")
    page = Page(pages.compare([folder / "a", other], tmp_path / "page.html"))
    (row,) = page.table("Test accuracy minus that of a")
    assert row["compared as"] == "two runs on different test images"
    correct = [round(Workdir(folder / name).result()["test_accuracy"] * 360) for name in "ba"]
    low, high = statistics.difference(correct[0], 360, correct[1], 360)
    assert row["95% interval"] == f"{low:+.4f} to {high:+.4f}" and "only this one is right" not in row
    assert "Not all runs have the same data" in "".join(page.texts("p"))


def test_a_sweep_takes_part_with_its_best_point(folder, tmp_path):
    page = Page(pages.compare([folder / "c", folder], tmp_path / "page.html"))
    run, sweep = page.table("Test results")
    of = statistics.summarize(Workdir(folder / name).result()["test_accuracy"] for name in "ab")
    assert sweep["model"] == "sweep" and sweep["test accuracy"] == str(of) and sweep["runs"] == "2 of 2"
    points = page.table("Points, best first")
    assert [row["optimizer.learning_rate"] for row in points] == ["0.01", "1e-05"]
    assert [row["n"] for row in points] == ["2", "1"] and points[1]["not finished"] == "1 unfinished"
    assert len(page.attributes("img")) == 3
    (row,) = page.table("Test accuracy minus that of c")
    assert row["compared as"] == "no interval: sweep has 2 finished runs, but the spread of at least 3 is needed"
    assert "sweep is not finished: of 4 runs 1 unfinished." in "".join(page.texts("p"))
    assert "is best" in page.texts("p")[0]


@pytest.mark.parametrize(
    "break_it, words",
    [
        (lambda run: shutil.rmtree(run), "is no run"),
        (lambda run: (run / "config.json").unlink(), "without config.json"),
        (lambda run: (run / "metrics.jsonl").unlink(), "without metrics.jsonl"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "without checkpoints"),
        (lambda run: (run / "config.json").write_text("{"), "config.json cannot be read as JSON"),
        (lambda run: (run / "config.json").write_text("[]"), "config.json is damaged"),
        (lambda run: (run / "result.json").write_text("{}"), "result.json is damaged"),
        (lambda run: (run / "metrics.jsonl").write_text("{}\n"), "metrics.jsonl is damaged"),
        (lambda run: (run / "metrics.jsonl").write_text(""), "metrics.jsonl is damaged: it has 0 of the 3 epochs"),
    ],
)
def test_a_missing_or_damaged_file_is_named(break_it, words, folder, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(folder / "a", run, ignore=shutil.ignore_patterns("report.html", "figures"))
    break_it(run)
    with pytest.raises(UserError, match=words):
        pages.write(run)
    assert not (run / "report.html").exists() and not (run / "figures").exists()


@pytest.mark.parametrize(
    "args, words",
    [
        ([], "no run is named"),
        (["--otput=x", "{a}"], "'otput'"),
        (["{a}", "--output="], "--output is empty"),
        (["{a}", "{a}"], "given twice"),
        (["{a}", "{a}/../nothing"], "is no run"),
        (["{a}"] * 9, "9 runs are given, but a comparison takes 2 to 8; a sweep counts as one. digits.runs lists any"),
        (["{a}/../unfinished", "--output={a}/checkpoints"], "cannot be written"),
    ],
)
def test_mistakes_give_one_sentence_and_exit_code_2(args, words, folder, capsys):
    assert report.main(["report", *(argument.format(a=folder / "a") for argument in args)]) == 2
    out, error = capsys.readouterr()
    assert out == "" and is_one_mistake(error) and words in error


def test_the_command_writes_a_page_and_prints_its_path(folder, tmp_path, run_module):
    path = tmp_path / "page.html"
    done = run_module("digits.report", folder / "unfinished", f"--output={path}")
    assert (done.returncode, done.stdout) == (0, f"{path}\n"), done.stderr
    assert path.exists()
    help_ = run_module("digits.report", "--help", python=("-X", "importtime"))
    assert help_.returncode == 0 and "--output" in help_.stdout
    for heavy in ("jax", "matplotlib", "PIL"):
        assert f" {heavy}\n" not in help_.stderr


def test_several_are_compared_beside_the_first_and_the_path_can_be_pasted(folder, tmp_path, capsys, monkeypatch):
    runs, elsewhere = tmp_path / "my runs", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    shutil.copytree(folder / "unfinished", runs / "one")
    shutil.copytree(folder / "unfinished", runs / "two")
    assert report.main(["report", str(runs / "one"), str(runs / "two")]) == 0
    page = f"'{runs}/comparison.html'\n"
    assert capsys.readouterr().out == page and (runs / "comparison.html").exists()
    assert report.main(["report", *sorted(map(str, runs.iterdir()))]) == 0  # As of runs/*, the page among them.
    assert capsys.readouterr().out == page
    assert not list(elsewhere.iterdir())
