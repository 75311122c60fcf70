"""The notebook for Colab: every cell of it, and its pages in a browser, drawn on with a mouse."""

import json
import os
import pathlib
import re
import signal
import sys
import time
import urllib.request

import nbclient
import nbformat
import pytest

from tests.browsing import expect_reading, with_mouse
from tests.conftest import ROOT

PATH = ROOT / "experiments" / "colab.ipynb"


def test_the_notebook_is_committed_without_outputs():
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(not cell.outputs and cell.execution_count is None for cell in code)


def test_its_addresses_are_one():
    """The repository's address: in the first cell of code, in the badge and the links, and so in README."""
    text = PATH.read_text()
    (repository,) = re.findall(r'REPOSITORY = \\"(\S+?)\\"', text)
    for page, links in ((text, 3), ((ROOT / "README.md").read_text(), 2)):
        linked = re.findall(r"(?:github\.com|research\.google\.com/github)/([\w.-]+/[\w.-]+)", page)
        assert len(linked) == links and set(linked) == {repository}


def test_its_texts_are_short_and_every_section_has_an_exercise():
    cells = nbformat.read(PATH, as_version=4).cells
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    for text in texts:
        words = re.sub(r"^#.*|^\[!.*", "", text, flags=re.MULTILINE).replace("**Exercise.**", "")
        assert len(re.findall(r"[.?!](?=\s|$)", words)) <= 2, text
    sections = "".join(texts).split("## ")[1:-1]  # The last one has links only.
    assert len(sections) >= 6 and all(section.count("**Exercise.**") == 1 for section in sections)
    explained = " ".join(texts)
    assert all(f"*{word}*" in explained for word in ("loss", "epoch", "convolution"))


def test_only_the_first_cell_forks_and_it_imports_nothing_for_later_ones():
    """Forking after JAX has started its threads would warn; the first cell may be skipped in a checkout.

    %run stays in the kernel, whose JAX may hold all memory of a GPU; %tensorboard starts its program without a fork.
    """
    first, *others = [cell.source for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"]
    assert re.findall(r"^import .*|^from .*", first, re.MULTILINE) == ["import os"]
    allowed = r"%(?:run -m digits\.\w+ -- |load_ext tensorboard$|tensorboard --logdir )"
    for cell in others:
        assert not re.search(rf"^\s*(?!{allowed})[!%]|\bos\.", cell, re.MULTILINE)


def test_without_an_address_and_without_the_code_it_says_what_to_do(tmp_path):
    notebook = nbformat.read(PATH, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}})
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="Write the repository's address into REPOSITORY"):
        client.execute()


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, in a folder like a checkout; TensorBoard goes on serving meanwhile."""
    folder = tmp_path_factory.mktemp("colab")
    for name in ("digits", "configs", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:  # Few epochs.
        cell.source = re.sub(
            r'(digits\.train\("(?:quickstart|simple_cnn)".*)\)$', few_epochs, cell.source, flags=re.MULTILINE
        )
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    programs = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # As after `activate`.
    with client.setup_kernel(env=os.environ | {"PATH": programs, "TMPDIR": str(folder)}):
        try:
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
            yield notebook
        finally:
            for path in folder.glob(".tensorboard-info/pid-*.info"):  # Of this kernel's, because of TMPDIR.
                os.kill(json.loads(path.read_text())["pid"], signal.SIGTERM)


def few_epochs(call):
    few = "epochs=1, batch_size=100" if "simple_cnn" in call[1] else "epochs=4"
    return f"{call[1]}, {few}, tensorboard=False)"


def outputs(notebook, words, kind):
    """The outputs of the cell of code that contains `words`: of a MIME type, or "text", what it prints."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and words in cell.source]
    if kind == "text":
        return "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]


@pytest.mark.mnist
def test_every_cell_shows_what_it_promises(executed):
    for words, name in (
        ('run = digits.train("quickstart")'[:-1], "quickstart"),
        ("dense = ", "quickstart, model.family=dense"),
        ("mnist_run = ", "simple_cnn"),
    ):
        (shown,) = outputs(executed, words, "text/plain")
        assert shown.startswith(f"Run({name}, ") and float(re.search(r"test accuracy (0\.\d+)", shown)[1]) > 0.8
        assert "test accuracy" in outputs(executed, words, "text/html")[0]
    assert [cell for cell in executed.cells if cell.source == "dataset" and "Dataset(optdigits: " in str(cell.outputs)]
    assert "val_accuracy" in outputs(executed, "history.tail", "text/html")[0]
    swept = outputs(executed, "digits.sweep", "text")
    assert "15/15" in swept and re.search(r"best: optimizer\.learning_rate=0\.[13], ", swept)
    drawn = ("train_images[:20]", "run.plot()", "conv_1", "dense_1", "curves.curves", "sweep.png", "evaluation.plot()")
    for words in (*drawn, "robustness.rotate", "mnist_evaluation.mistakes"):  # Once each: not again by pyplot.
        assert len(outputs(executed, words, "image/png")) == 1
    errors = [
        output.text for cell in executed.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"
    ]
    assert "Warning" not in "".join(errors)


@pytest.mark.mnist
def test_tensorboard_shows_the_runs_of_the_sweep(executed):
    (frame,) = outputs(executed, "%tensorboard", "text/html")
    port = re.search(r"const port = (\d+);", frame)[1]
    deadline, runs = time.monotonic() + 60, []
    while len(runs) < 15 and time.monotonic() < deadline:  # It reads the files after it has begun to serve.
        time.sleep(0.2)
        with urllib.request.urlopen(f"http://localhost:{port}/data/runs") as answer:
            runs = json.load(answer)
    assert sum(re.fullmatch(r"rates/learning_rate=[\d.]+,seed=\d/tensorboard", run) is not None for run in runs) == 15


@pytest.fixture
def show(executed, browser, tmp_path):
    """Opens the page that a cell shows, in a frame as in the notebook; returns the page and the frame in it."""

    def show(words):
        (html,) = outputs(executed, words, "text/html")
        (tmp_path / "notebook.html").write_text(html)
        page = browser.new_page(viewport={"width": 1100, "height": 1000})
        page.goto((tmp_path / "notebook.html").as_uri())
        return page, page.frame_locator("iframe")

    return show


@pytest.mark.mnist
def test_the_comparison_of_two_runs_names_both(show):
    _, frame = show("pages.compare")
    assert frame.locator("h1").inner_text() == "2 runs compared"
    verdict = frame.locator("h1 + p").inner_text()
    assert "quickstart" in verdict and "dense" in verdict


@pytest.mark.mnist
def test_digits_drawn_on_its_page_are_read_and_a_slider_turns_them(show):
    page, frame = show("exporting.export")
    assert frame.locator("#facts").inner_text().startswith("simple_cnn · test accuracy 0.9")
    with_mouse(page, 1, 0.1, within=frame)
    expect_reading(frame, "1")
    with_mouse(page, 0, 0.55, within=frame)
    expect_reading(frame, "10")
    frame.get_by_role("button", name="Clear").click()
    with_mouse(page, 6, 0.3, within=frame)
    expect_reading(frame, "6")
    frame.get_by_role("slider", name="Turn").fill("180")
    expect_reading(frame, "9")
