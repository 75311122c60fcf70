"""Serves the page to draw digits on, for `digits.demo`."""

from collections.abc import Callable
from concurrent import futures
import contextlib
import ipaddress
import os
import pathlib
import signal
import sys
import threading
from typing import Any
import urllib.parse
import webbrowser

import flask
import numpy as np
from werkzeug.exceptions import HTTPException

from digits.analysis.figures import sheet
from digits.data.pictures import opening, segment
from digits.errors import UserError
from digits.runs import loading
from digits.runtime import environment
from digits.serving import drawing_page, http_server, reading

MOST_BYTES = 25 * 2**20  # Of a picture: the cameras of phones write smaller ones.
_LARGE = 500_000  # Pixels: drawings have 120,000.
_MOST_LARGE = http_server.THREADS - 2  # Pictures that are read or wait for it: drawings find threads.
_BATCH = 8  # Images are padded to a multiple of this, so that the network is compiled for one number of images.
_REFUSALS = {
    400: "The request is no HTTP that can be read.",
    404: "There is nothing here: the page is at /.",
    405: "Only GET / and POST /read are answered.",
    413: f"The picture is too large: it may have {MOST_BYTES // 2**20} MiB.",
    431: "The request's headers are too long.",
    500: "The server made a mistake: its terminal says which.",
    503: "Other large pictures are being read: send this one again in a few seconds.",
}


def make_app(run: loading.Run | loading.Ensemble, name: str = "", loopback: bool = True) -> flask.Flask:
    """Makes a Flask application that answers GET / with the page and POST /read with readings; compiles the network.

        make_app(digits.load("runs/simple_cnn")).test_client().get("/")

    POST /read takes the bytes of an image file and answers with JSON: {"digits": [...]} in the order of `segment.read`,
    each with its "box" (left, top, right, bottom in the picture's pixels), "pixels" (28 rows of 28, 0 to 255, white on
    black), "prediction" (a class's name) and "probabilities" (one a class). Where the picture holds none, "note" is a
    sentence about that. A mistake is answered with {"error": a sentence} and a status of 4xx.

    Args:
      run: a run or an ensemble, as `digits.load` returns it.
      name: the page's name for the run. Default: that of its config.
      loopback: refuse requests whose Host is not this machine. A stranger's page cannot ask then by a name that it lets
        point to this machine (DNS rebinding).
    """
    answer = _answerer(run)
    html, policy = _page(run, name)
    app = flask.Flask(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=MOST_BYTES, PROVIDE_AUTOMATIC_OPTIONS=False)
    app.json.sort_keys = False

    @app.before_request
    def refuse_strangers():
        host = urllib.parse.urlsplit(flask.request.host_url).hostname
        if loopback and not _is_loopback(host):
            flask.abort(403, f"This page is for its own machine, not for {host or 'a request without a host'}.")
        # Pages of other sites must not have pictures decoded here. No page can change this header of its browser's.
        asker = flask.request.headers.get("Sec-Fetch-Site")
        if flask.request.method == "POST" and asker in ("cross-site", "same-site"):
            flask.abort(403, "Only this page itself may ask, not another site.")

    @app.get("/")
    def page():
        # A page cannot say itself who may frame it.
        return html, {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"}

    @app.post("/read")
    def read():
        try:
            return answer(flask.request.get_data())
        except segment.NoDigit as error:  # No mistake: a drawing begins with too little to be read.
            return {"digits": [], "note": _capitalized(error)}
        except UserError as error:
            return {"error": _capitalized(error)}, 422

    @app.errorhandler(HTTPException)
    def refuse(error):
        return {"error": _REFUSALS.get(error.code, error.description)}, error.code

    @app.after_request
    def add_headers(response):
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    return app


def _page(run: loading.Run | loading.Ensemble, name: str) -> tuple[str, str]:
    """The page and its policy. An ensemble and a network that is too large for a page stay with the server."""
    about = {"facts": drawing_page.facts(run, name), "classNames": run.class_names, "mostBytes": MOST_BYTES}
    about |= {"server": True, "network": None}
    weights = ""
    if isinstance(run, loading.Run) and run.parameters <= drawing_page.MOST_PARAMETERS:
        about["network"], weights = drawing_page.network(run, "float32")
    return drawing_page.render(about, weights, connect_src="'self'")


def _capitalized(error: UserError) -> str:
    sentence = str(error)
    return sentence[0].upper() + sentence[1:]


def _answerer(run: loading.Run | loading.Ensemble) -> Callable[[bytes], dict[str, Any]]:
    """Makes and compiles the function behind POST /read; it raises UserError if the picture cannot be read."""
    # Reading a large picture takes seconds and half a gigabyte. Drawings do not wait for it. It always has the same
    # thread, because C's library keeps freed memory for the thread that had it.
    drawings, large = futures.ThreadPoolExecutor(2), futures.ThreadPoolExecutor(1)
    places, network = threading.BoundedSemaphore(_MOST_LARGE), threading.Lock()

    def find(content: bytes) -> list[segment.Digit]:
        if opening.declared_pixels(content) <= _LARGE:
            return drawings.submit(segment.read, content).result()
        if not places.acquire(blocking=False):
            flask.abort(503)
        try:
            return large.submit(segment.read, content).result()
        finally:
            places.release()

    def answer(content: bytes) -> dict[str, Any]:
        found = find(content)
        with network:
            images_Nx28x28 = np.stack([digit.image for digit in found])
            padded = np.pad(images_Nx28x28, ((0, -len(found) % _BATCH), (0, 0), (0, 0)))
            probabilities_NxK = run.predict(padded, _BATCH)[: len(found)]
        return {
            "digits": [
                {
                    "box": digit.box,
                    "pixels": digit.image.tolist(),
                    "prediction": run.class_names[int(probabilities.argmax())],
                    "probabilities": probabilities.tolist(),
                }
                for digit, probabilities in zip(found, probabilities_NxK, strict=True)
            ]
        }

    one = np.pad(np.zeros((40, 8), np.uint8), 20, constant_values=255)
    answer(sheet.png(one))  # Compiles, so that the first drawing does not wait.
    return answer


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def serve(folder: str, host: str, port: int, open_browser: bool) -> None:
    """Serves the page for a run or a sweep until Ctrl-C, and prints its address.

    Raises:
      UserError: the address is wrong or taken, or the folder holds nothing to load.
    """
    with contextlib.closing(http_server.listen(host, port)) as listening:  # First, because loading takes seconds.
        run = loading.load(folder)
        environment.prepare_jax(reading.members(run)[0].config)
        host, port = listening.getsockname()[:2]
        name = pathlib.Path(folder).expanduser().absolute().name
        server = http_server.Server(make_app(run, name, loopback=_is_loopback(host)), listening, MOST_BYTES, _REFUSALS)
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        address = f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}/"
        if warning := reading.other_form(run):
            print(warning)
        print(f"{', '.join(drawing_page.facts(run, name))}\nDraw at {address}  (Ctrl-C ends it.)", flush=True)
        # On a Linux without a screen, a text browser would take over the terminal.
        if open_browser and (sys.platform != "linux" or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
            webbrowser.open(address)
        # Ends at once, although clients are connected and a thread may read a picture for seconds.
        signal.signal(signal.SIGINT, lambda *_: os._exit(0))
        server.run()
