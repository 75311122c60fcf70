"""A headless browser, and drawing on the demo's page in it."""

import contextlib
import os
import shutil

import numpy as np
import pytest

from tests import drawing

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextlib.contextmanager
def launched():
    """The browser that is installed; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        found = next(filter(None, map(shutil.which, BROWSERS)), p.chromium.executable_path)
        if not os.path.exists(found):
            pytest.skip(f"none of {', '.join(BROWSERS)} is installed, and Playwright has no browser of its own")
        browser = p.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@contextlib.contextmanager
def quiet_pages(browser, *allowed):
    """Gives a function that opens an address in a context of its own, and whose `complaints` are the page's.

    In the end, no page may have complained, or asked for an address that does not begin with an allowed one.
    """
    contexts, complaints, asked = [], [], []

    def open_(address, **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        contexts[-1].on("request", lambda request: asked.append(request.url))
        page.goto(address)
        return page

    open_.complaints = complaints
    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert asked and all(url.startswith(allowed) for url in asked), asked


def on_screen(page, points, left, top=0.25, width=0.3, height=0.5):
    """Points of the unit square within a part of the paper, as the browser counts."""
    box = page.locator("#drawing").bounding_box()
    placed = np.array(points) * (width, height) + (left, top)
    return (placed * (box["width"], box["height"]) + (box["x"], box["y"])).tolist()


def with_mouse(page, digit, left, lift=True, within=None):
    """Draws a digit on the paper of the page, or of the frame `within` it."""
    for stroke in drawing.STROKES[digit]:
        points = on_screen(within or page, stroke, left)
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=3)
        if lift:
            page.mouse.up()


def expect_reading(page, text):
    from playwright.sync_api import expect

    expect(page.locator("#reading")).to_have_text(text, timeout=10_000)
