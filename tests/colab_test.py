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


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, in a folder like a checkout; its kernel goes on serving meanwhile."""
    folder = tmp_path_factory.mktemp("colab")
    for name in ("digits", "configs", "experiments"):
        (folder / name).symlink_to(ROOT / name)
    notebook = nbformat.read(PATH, as_version=4)
    for cell in notebook.cells:  # One epoch instead of ten.
        cell.source = cell.source.replace(
            'ARGUMENTS = ""', 'ARGUMENTS = "--config.epochs=1 --config.tensorboard=False --noreport"'
        )
        cell.source = cell.source.replace(
            "quickstart.py",
            "quickstart.py --workdir=runs/quickstart --config.epochs=2 --config.tensorboard=False --noreport",
        )
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        yield notebook


def outputs(notebook, words, kind):
    """What the cell that contains `words` shows, of a MIME type or "text" for what it prints."""
    (cell,) = [cell for cell in notebook.cells if words in cell.source]
    if kind == "text":
        return "".join(output.text for output in cell.outputs if output.output_type == "stream")
    return [output.data[kind] for output in cell.outputs if kind in output.get("data", {})]


@pytest.mark.mnist
def test_every_cell_shows_what_it_promises(executed):
    assert "test accuracy" in outputs(executed, "configs/quickstart.py", "text")
    assert "val_accuracy" in outputs(executed, "history.tail", "text/html")[0]
    for words in ("columns=5", "sheet.examples"):
        assert len(outputs(executed, words, "image/png")) == 1
    plots = [cell for cell in executed.cells if "run.plot()" in cell.source]
    assert len(plots) == 2
    for cell in plots:  # Once each: not again by pyplot.
        assert len([output for output in cell.outputs if "image/png" in output.get("data", {})]) == 1
    assert float(re.search(r"test accuracy (0\.\d+)", outputs(executed, "digits.load(FOLDER)", "text"))[1]) > 0.95


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
