"""The notebook for Colab: every cell of it, and digits drawn with a mouse on the page that its last one shows."""

import functools
import http.server
import re
import threading

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


def test_only_the_first_cell_runs_other_programs_and_it_imports_nothing_for_later_ones():
    """Forking after JAX has started its threads would warn; the first cell may be skipped in a checkout."""
    first, *others = [cell.source for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"]
    assert re.findall(r"^import .*|^from .*", first, re.MULTILINE) == ["import os"]
    for cell in others:
        assert not re.search(r"^\s*[!%]|\bos\.", cell, re.MULTILINE)


def test_without_an_address_and_without_the_code_it_says_what_to_do(tmp_path):
    notebook = nbformat.read(PATH, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}})
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="Write the repository's address into REPOSITORY"):
        client.execute()


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, in a folder like a checkout; its kernel goes on serving meanwhile."""
    folder = tmp_path_factory.mktemp("colab")
    for name in ("digits", "configs", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:  # Few epochs.
        cell.source = re.sub(
            r'(digits\.train\("(?:quickstart|simple_cnn)".*)\)$', few_epochs, cell.source, flags=re.MULTILINE
        )
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        yield notebook


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
    drawn = ("sheet.sheet", "run.plot()", "conv_1", "dense_1", "curves.curves", "evaluation.plot()")
    for words in (*drawn, "mnist_evaluation.mistakes"):  # Once each: not again by pyplot.
        assert len(outputs(executed, words, "image/png")) == 1
    errors = [
        output.text for cell in executed.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"
    ]
    assert "Warning" not in "".join(errors)


@pytest.mark.mnist
def test_digits_drawn_on_its_page_are_read(executed, browser, tmp_path):
    """The page is a frame in that of another server on this machine, as Jupyter is one."""
    (html,) = outputs(executed, "demo_server.show", "text/html")
    (tmp_path / "index.html").write_text(html)
    serve = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 1100, "height": 950})
        page.goto(f"http://localhost:{server.server_address[1]}/")
        frame = page.frame_locator("iframe")
        assert frame.locator("#facts").inner_text().startswith("simple_cnn · test accuracy 0.9")
        with_mouse(page, 1, 0.1, within=frame)
        expect_reading(frame, "1")
        with_mouse(page, 0, 0.55, within=frame)
        expect_reading(frame, "10")
        server.shutdown()
