"""The page to draw on: what its server answers and refuses, and the page itself in a browser."""

import concurrent.futures
import contextlib
import io
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import numpy as np
import pytest

from digits import models
from digits.data.pictures import segment
from digits.runs import loading
from digits.serving import demo_server, drawing_page
from digits.training import train
from tests import drawing
from tests.browsing import expect_reading, on_screen, quiet_pages, with_mouse
from tests.conftest import ROOT, tiny_config

pytest.importorskip("flask")

NAMES = tuple("0123456789")


def drawn(*numbers, kind="PNG"):
    """An image file with the digits side by side, black on white."""
    parts = [drawing.written(number, 120, 0.1, seed=number) for number in numbers]
    page = np.pad(np.concatenate([np.pad(part, ((0, 0), (15, 15))) for part in parts], 1), 20)
    return drawing.encoded(drawing.coloured(page, (0, 0, 0), (255, 255, 255)), kind)


def untrained(names=NAMES, **result):
    config = tiny_config()
    model = models.build(config.model, len(names), jax.random.key(0))
    return loading.Run(pathlib.Path("made"), "made", {}, config, model, tuple(names), 2, [], result or None)


@pytest.fixture(scope="module")
def run():
    return untrained(test_accuracy=0.98765, config_file="configs/mine.py")


@pytest.fixture(scope="module")
def client(run):
    return demo_server.make_app(run).test_client()


def test_every_digit_is_answered_with_what_the_network_is_given_and_says(run, client):
    pictures = drawn(*range(10)), drawn(7, kind="JPEG")  # More than are predicted at once, and one.
    for picture in pictures:
        response = client.post("/read", data=picture)
        assert response.status_code == 200 and list(response.json) == ["digits"]
        expected = segment.read(picture)
        images = np.stack([digit.image for digit in expected])
        answers = response.json["digits"]
        assert [answer["box"] for answer in answers] == [list(digit.box) for digit in expected]
        np.testing.assert_array_equal([answer["pixels"] for answer in answers], images)
        probabilities = run.predict(images)
        np.testing.assert_allclose([answer["probabilities"] for answer in answers], probabilities, rtol=1e-5)
        assert [answer["prediction"] for answer in answers] == [NAMES[i] for i in probabilities.argmax(-1)]
    assert len(answers) == 1


@pytest.mark.parametrize(
    "method, path, body, status, words",
    [
        ("POST", "/read", b"no picture at all", 422, "The picture "),
        ("POST", "/read", b"", 422, "empty"),
        ("POST", "/read", drawn(1)[:-40], 422, "The picture "),
        ("POST", "/read", bytes(demo_server.MOST_BYTES + 1), 413, "it may have 25 MiB"),
        ("GET", "/read", None, 405, "POST /read"),
        ("POST", "/", b"", 405, "GET /"),
        ("OPTIONS", "/read", None, 405, "POST /read"),
        ("GET", "/static/page.html", None, 404, "the page is at /"),
    ],
)
def test_a_mistake_is_answered_with_one_sentence(client, method, path, body, status, words):
    response = client.open(path, method=method, data=body)
    assert response.status_code == status and list(response.json) == ["error"]
    sentence = response.json["error"]
    assert words in sentence and sentence[0].isupper() and sentence.endswith(".") and "\n" not in sentence


def test_a_picture_without_a_digit_is_no_mistake(client):
    blank = client.post("/read", data=drawing.encoded(np.full((200, 300, 3), 255, np.uint8)))
    assert blank.status_code == 200 and blank.json["digits"] == []
    assert blank.json["note"].startswith("The picture holds no digit: ") and blank.json["note"].endswith(".")


def test_an_error_of_the_server_does_not_show_its_message(client, monkeypatch, caplog):
    def fails(_):
        raise RuntimeError("a secret")

    monkeypatch.setattr(segment, "read", fails)
    response = client.post("/read", data=drawn(1))
    assert response.status_code == 500 and "secret" not in response.text and list(response.json) == ["error"]
    assert "RuntimeError: a secret" in caplog.text  # The terminal has it.


def test_only_this_machine_and_this_page_may_ask(run, client):
    asks = [("GET", "/", None), ("POST", "/read", drawn(1))]
    for method, path, body in asks:
        for host in ("localhost", "localhost:9000", "127.0.0.1:8000", "[::1]:8000"):
            assert client.open(path, method=method, data=body, headers={"Host": host}).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example:8000", "192.168.0.1", "localhost.evil.example", ""):
            response = client.open(path, method=method, data=body, headers={"Host": host})
            assert response.status_code == 403 and "its own machine" in response.json["error"]
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        assert client.post("/read", data=drawn(1), headers={"Sec-Fetch-Site": site}).status_code == status
    everywhere = demo_server.make_app(run, loopback=False).test_client()
    assert everywhere.get("/", headers={"Host": "school.example"}).status_code == 200


def test_the_page_may_ask_its_server_and_nobody_else(run, client):
    response = client.get("/")
    about, (weights,) = drawing_page.read_about(response.text), weights_of(response.text)
    page, policy = drawing_page.render(about, weights, connect_src="'self'")
    assert response.text == page  # The page that `digits.export` writes, with a server.
    assert response.headers["Content-Security-Policy"] == f"{policy}; frame-ancestors 'none'"
    assert response.headers["Cache-Control"] == "no-store"
    assert about["facts"] == ["mine", "test accuracy 0.9877", "seed 0"] and about["classNames"] == list(NAMES)
    assert about["server"] and [layer["kind"] for layer in about["network"]["layers"]][0] == "flatten"


def weights_of(page):
    return re.findall('id="weights">(.*)</script>', page)


def test_an_ensemble_and_a_very_large_network_stay_with_the_server(run, monkeypatch):
    pages = [demo_server.make_app(loading.Ensemble((run, run))).test_client().get("/").text]
    monkeypatch.setattr(drawing_page, "MOST_PARAMETERS", 1000)
    pages.append(demo_server.make_app(run).test_client().get("/").text)
    for page in pages:
        assert drawing_page.read_about(page)["network"] is None and weights_of(page) == [""]


def test_the_network_is_asked_by_one_request_at_a_time(run):
    class Slow:
        class_names, config, epoch, result, busy, most = NAMES, run.config, 1, None, 0, 0
        counting = threading.Lock()

        def predict(self, images, batch_size):
            with self.counting:
                self.busy += 1
                self.most = max(self.most, self.busy)
            time.sleep(0.05)
            with self.counting:
                self.busy -= 1
            return np.full((len(images), 10), 0.1, np.float32)

    slow = Slow()
    app, picture = demo_server.make_app(slow), drawn(3)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        posts = [pool.submit(lambda: app.test_client().post("/read", data=picture).status_code) for _ in range(4)]
    assert [post.result() for post in posts] == [200] * 4 and slow.most == 1


def test_a_drawing_does_not_wait_for_a_large_picture_and_few_of_those_wait(run, monkeypatch):
    monkeypatch.setattr(demo_server, "_MOST_LARGE", 1)
    client, read = demo_server.make_app(run).test_client, segment.read
    large, reading, finish = drawing.encoded(np.full((1000, 1000), 255, np.uint8)), threading.Event(), threading.Event()

    def slowly(content):
        if content == large:
            reading.set()
            finish.wait(20)
        return read(content)

    monkeypatch.setattr(segment, "read", slowly)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(client().post, "/read", data=large)
        assert reading.wait(20)
        assert len(client().post("/read", data=drawn(3)).json["digits"]) == 1
        refused = client().post("/read", data=large)
        finish.set()
    assert refused.status_code == 503 and "send this one again" in refused.json["error"]
    assert held.result().status_code == client().post("/read", data=large).status_code == 200


# From here on in a browser, with a network that reads strokes.


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Of the command, serving a dense network that was trained on MNIST for an epoch; stopped as Ctrl-C does."""
    config, folder = tiny_config(), tmp_path_factory.mktemp("runs") / "strokes"
    config.augment.rotation, config.model.hidden_dropout, config.model.hidden_batch_norm = 0.0, 0.0, False
    config.data.name, config.data.validation, config.model.hidden = "mnist", "none", (64,)
    config.epochs, config.batch_size = 1, 64
    with contextlib.redirect_stdout(io.StringIO()):
        train.train_and_evaluate(config, folder, origin={"config_file": "configs/strokes.py", "overrides": {}})
    command = [sys.executable, "-m", "digits.demo", f"--workdir={folder}", "--port=0", "--noopen"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as server:
        lines = server.stdout.readline() + server.stdout.readline()
        try:
            assert lines.startswith("strokes, test accuracy 0.9"), server.communicate()
            yield (url := re.search(r"http://127\.0\.0\.1:\d+/", lines)[0])
            port = int(url.rstrip("/").rpartition(":")[2])
            clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]  # The end waits for none.
            clients[0].sendall(b"POST /read HTTP/1.1\r\nContent-Length: 9\r\n\r\n")
        finally:
            server.send_signal(signal.SIGINT)
            try:
                rest, errors = server.communicate(timeout=5)
            finally:
                server.kill()  # Otherwise the end of this block would wait for it for ever.
    assert (server.returncode, rest, errors) == (0, "", "")


@pytest.fixture
def open_page(browser, address):
    """Opens the page in a context of its own. In the end, none may have complained or asked another server."""
    with quiet_pages(browser, address, "data:") as open_:

        def opened(**options):
            page = open_(address, **options)
            assert page.locator("#facts").inner_text().startswith("strokes · test accuracy 0.9")
            return page

        opened.complaints = open_.complaints
        yield opened


def with_finger(page, digit, left):
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for stroke in drawing.STROKES[digit]:
        first, *rest = on_screen(page, stroke, left)
        touch("touchStart", first)
        for point in rest:
            touch("touchMove", point)
        touch("touchEnd")


def cards(page):
    """(prediction, its percentage, what is bold, how bright the shown pixels are in the mean) of every digit."""
    return page.locator(".card").evaluate_all(
        """cards => cards.map(card => {
            const canvas = card.querySelector("canvas");
            const pixels = canvas.getContext("2d").getImageData(0, 0, 28, 28).data;
            const best = card.querySelectorAll("tr.best");
            return {
                rows: card.querySelectorAll("tr").length,
                answer: card.querySelector(".answer b").textContent,
                best: [...best].map(row => row.querySelector("th").textContent),
                percent: [...best].map(row => parseFloat(row.lastChild.textContent)),
                bar: [...best].map(row => 100 * parseFloat(row.querySelector(".bar").style.transform.slice(7))),
                bright: pixels.filter((v, i) => i % 4 === 0 && v > 127).length,
            };
        })"""
    )


@pytest.mark.slow
@pytest.mark.mnist
def test_digits_drawn_with_the_mouse_are_read_while_they_are_drawn(open_page):
    page = open_page(viewport={"width": 1280, "height": 800})
    expect_reading(page, "–")
    with_mouse(page, 1, 0.1, lift=False)  # The pointer is still down.
    expect_reading(page, "1")
    page.mouse.up()
    with_mouse(page, 0, 0.55)
    expect_reading(page, "10")
    for card, name in zip(cards(page), "10", strict=True):
        assert card["rows"] == 10 and card["answer"] == name and card["best"] == [name]
        assert card["percent"][0] > 50 and card["bar"] == pytest.approx(card["percent"], abs=0.06)
        assert 30 < card["bright"] < 250
    page.keyboard.press("Control+z")
    expect_reading(page, "1")
    page.get_by_role("button", name="Clear").click()
    expect_reading(page, "–")
    assert page.get_by_role("button", name="Clear").is_disabled()
    page.get_by_role("button", name="Undo").click()
    expect_reading(page, "1")


@pytest.mark.mnist
def test_the_beginning_of_a_digit_asks_for_more_and_is_no_mistake(open_page):
    page = open_page()
    left, right = on_screen(page, [(0, 0), (0.9, 0)], 0.1)  # The bar of a 5, say: too flat for a digit.
    page.mouse.move(*left)
    page.mouse.down()
    page.mouse.move(*right, steps=5)
    page.wait_for_timeout(300)
    assert page.get_by_role("alert").is_hidden()  # Nobody is told while the pen is down.
    page.mouse.up()
    page.get_by_role("alert").get_by_text("Draw more").wait_for()
    expect_reading(page, "–")
    page.get_by_role("button", name="Clear").click()
    with_mouse(page, 1, 0.1)
    expect_reading(page, "1")
    assert page.get_by_role("alert").is_hidden()


@pytest.mark.mnist
def test_a_probable_second_guess_is_said_in_words(open_page):
    page = open_page()
    for second, words in ((0.3, "7 70.0%, perhaps 1"), (0.04, "7 70.0%")):
        page.evaluate(
            """second => show([{
                prediction: "7", probabilities: [0, second, 0, 0, 0, 0, 0, 0.7, 0, 0], box: [0, 0, 1, 1],
                pixels: new Uint8Array(784),
            }])""",
            second,
        )
        assert page.locator(".answer").inner_text() == words


@pytest.mark.mnist
def test_digits_drawn_with_a_finger_on_a_phone_are_read_and_the_page_stays_where_it_is(open_page):
    page = open_page(viewport={"width": 390, "height": 600}, has_touch=True, is_mobile=True, color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("document.documentElement.scrollHeight") > 700  # It could scroll.
    with_finger(page, 1, 0.1)
    expect_reading(page, "1")
    with_finger(page, 0, 0.55)
    expect_reading(page, "10")
    assert page.evaluate("scrollY") == 0
    assert page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.mnist
def test_a_picture_is_dropped_or_chosen_and_a_wrong_one_is_refused_with_the_server_s_sentence(open_page):
    page = open_page(viewport={"width": 900, "height": 800})

    def drop(content, name):
        files = page.evaluate_handle(
            """([bytes, name]) => {
                const files = new DataTransfer();
                files.items.add(new File([new Uint8Array(bytes)], name));
                return files;
            }""",
            [list(content), name],
        )
        page.dispatch_event("#paper", "drop", {"dataTransfer": files})

    drop(drawn(0, 1), "digits.png")
    expect_reading(page, "01")
    with_mouse(page, 1, 0.3)  # A drawing makes room for itself.
    expect_reading(page, "1")
    page.locator("#file").set_input_files(
        {"name": "one.jpg", "mimeType": "image/jpeg", "buffer": drawn(1, 1, kind="JPEG")}
    )
    expect_reading(page, "11")
    assert page.locator("#mistake").is_hidden() and open_page.complaints == []
    drop(b"no picture", "notes.txt")
    expect_reading(page, "–")
    assert page.get_by_role("alert").inner_text().startswith("The picture ")
    assert ["422" in complaint for complaint in open_page.complaints] == [True]  # The browser's, of the answer.
    open_page.complaints.clear()


@pytest.mark.mnist
def test_an_answer_about_what_is_cleared_is_not_shown(open_page):
    page, held = open_page(), []
    with_mouse(page, 1, 0.1)
    expect_reading(page, "1")
    page.route("**/read", lambda route: held.append(route))
    with page.expect_request("**/read"):
        with_mouse(page, 1, 0.6)
    page.get_by_role("button", name="Clear").click()
    answered = held[0].fetch()
    assert answered.json()["digits"]
    held[0].fulfill(response=answered)
    page.wait_for_timeout(200)
    assert page.locator("#reading").inner_text() == "–"
