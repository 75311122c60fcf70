"""The exported page: its probabilities, the pictures that it reads, and what it shows, in a browser and without one."""

import base64
import dataclasses
import io
import itertools

import jax
import numpy as np
from PIL import Image
import pytest

from digits import data
from digits.analysis import robustness
from digits.config.values import with_values
from digits.data.pictures import segment
from digits.errors import UserError
from digits.models import layers
from digits.serving import drawing_page, export_html, exporting
from tests import drawing, made_runs
from tests.browsing import expect_reading, quiet_pages, with_mouse
from tests.conftest import slow, slow_but

CNN = {"family": "cnn", "blocks": ((4,), (6, 8)), "batch_norm": "none", "hidden": (16,), "convolution": "stock"}
NETWORKS = {
    "dense": {"normalization": "column_l2", "hidden": (32, 16), "activation": "tanh", "input_dropout": 0.1},
    "linear": {"hidden": ()},
    "conv_norm": CNN | {"kernel_size": (3, 4), "padding": "same", "batch_norm": "conv", "pool": (2, 3), "hidden": ()},
    "block_norm": CNN | {"batch_norm": "block", "block_dropout": 0.25, "activation": "elu", "hidden_batch_norm": True},
    "separable": CNN | {"separable": (False, True), "stride": (3, 2), "padding": "same", "pool": 0, "conv_bias": False},
    "global_average": CNN | {"global_pool": "average", "pool": (0, 2), "stride": (2, 1), "activation": "gelu"},
    "global_max": CNN | {"global_pool": "max", "kernel_size": (5, 2), "activation": "silu"},
    "sigmoid": {"hidden": (32,), "activation": "sigmoid", "hidden_dropout": 0.5},
}


def wait_until_read(page, drawn="!stroke"):
    """Waits until one digit is read to its last point. Playwright's waiting needs `eval`, which the page refuses."""
    for _ in range(200):
        if page.evaluate(f"found.length === 1 && !reading && {drawn}"):
            return
        page.wait_for_timeout(50)
    raise AssertionError("no digit was read in 10 s")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The page of a small network, as it is written."""
    path = tmp_path_factory.mktemp("export") / "model.html"
    run = made_runs.run(**NETWORKS["block_norm"])
    return run, exporting.export(run, "html", path)


@pytest.fixture
def open_page(browser):
    """Opens a file in a context of its own. In the end, nothing may have complained or been asked for elsewhere."""
    with quiet_pages(browser, "file:", "data:", "blob:") as open_:

        def opened(path, **options):
            return open_(path.as_uri(), **options)

        opened.complaints = open_.complaints
        yield opened


@pytest.mark.parametrize("name", slow_but(["conv_norm"], NETWORKS))
def test_every_network_of_the_families_gives_its_run_s_probabilities(name, open_page, exported):
    run = made_runs.run(**NETWORKS[name])
    network, weights = drawing_page.network(run, "float32")
    images = data.load("optdigits").test_images[:9].copy()
    images[0] = 0
    page = open_page(exported[1].path)
    found = page.evaluate(
        """([about, weights, images]) => {
            const network = new Network(about, weights);
            return images.map(pixels => network.probabilities(Uint8Array.from(pixels)));
        }""",
        [network, weights, images.reshape(len(images), -1).tolist()],
    )
    expected = run.predict(images)
    assert np.ptp(expected, axis=0).max() > 0.05  # Otherwise nothing could be told from it.
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_without_a_browser_the_weights_are_checked_in_python_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(export_html, "BROWSERS", ("no-such-browser",))
    for name, values in NETWORKS.items():
        done = exporting.export(made_runs.run(**values), "html", tmp_path / f"{name}.html")
        assert done.difference < 1e-3 and done.about in ("weights in float16", "weights in float32")
    assert export_html.note().startswith("No browser (") and export_html.note().endswith(".")
    right = drawing_page.network

    def wrong(run, precision):
        about, weights = right(run, precision)
        return about, base64.b64encode(base64.b64decode(weights)[::-1]).decode()

    monkeypatch.setattr(drawing_page, "network", wrong)
    with pytest.raises(UserError, match="The export to html was not kept"):
        exporting.export(made_runs.run(hidden=()), "html", tmp_path / "wrong.html")
    assert not (tmp_path / "wrong.html").exists()


def test_a_browser_checks_the_page_and_weights_take_half_where_that_is_exact_enough(exported, tmp_path, monkeypatch):
    if not export_html.browser():
        pytest.skip("no browser is installed")
    run, done = exported
    assert done.about == "weights in float16" and 1e-7 < done.difference < 1e-3 and export_html.note() == ""
    images = data.load("optdigits").test_images[:5]
    np.testing.assert_allclose(export_html.load(done.path)(images), run.predict(images), atol=1e-3)
    large = made_runs.run(**NETWORKS["block_norm"]).model
    large.conv_1.kernel[...] *= 1e5  # More than float16 holds.
    large.batch_norm_1.var[...] *= 1e10
    large = dataclasses.replace(run, model=large)
    again = exporting.export(large, "html", tmp_path / "large.html")
    assert again.about == "weights in float32" and again.difference < 1e-4
    monkeypatch.setattr(export_html, "_CHECK", "<script>throw new Error()</script>")
    with pytest.raises(UserError, match="which checks the page, failed"):
        exporting.export(run, "html", tmp_path / "other.html")


def pages_of_digits():
    """(picture file, label) of a hundred drawings, on nothing and on paper, and of digits printed and photographed."""
    rng = np.random.default_rng(0)
    for i in range(100):
        side, pen = int(rng.integers(40, 225)), rng.uniform(0.03, 0.14)
        coverage = drawing.page(i % 10, side, pen, 300, 225, *rng.uniform(size=2), seed=100 + i)
        yield drawing.encoded(drawing.coloured(coverage, drawing.BLACK, None if i % 2 else drawing.WHITE))
    for _, content, _ in drawing.forty():
        with Image.open(io.BytesIO(content)) as picture:
            if max(picture.size) < 1000:  # Larger ones are reduced likewise, and take seconds.
                yield content


FIND = """async (encoded) => {
    const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
    return findDigits(pixelsOf(await createImageBitmap(new Blob([bytes])))).map(({ box, pixels }) => ({
        box, pixels: [...pixels], probabilities: inside.network.probabilities(pixels),
    }));
}"""


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 6])
def test_pictures_come_into_mnist_s_form_and_are_read_as_predict_reads_them(open_page, exported, every):
    run, done = exported
    page, count = open_page(done.path), 0
    for content in itertools.islice(pages_of_digits(), 0, None, every):
        expected, found = segment.read(content), page.evaluate(FIND, base64.b64encode(content).decode())
        assert [digit["box"] for digit in found] == [list(digit.box) for digit in expected]
        pixels = np.reshape([digit["pixels"] for digit in found], (-1, 28, 28))
        images = np.stack([digit.image for digit in expected])
        assert np.abs(pixels - images.astype(int)).max() <= 2
        probabilities = run.predict(images)
        np.testing.assert_allclose([digit["probabilities"] for digit in found], probabilities, atol=0.02)
        count += len(found)
    assert count > 120 / every


def test_a_picture_of_several_digits_is_read_from_left_to_right_and_one_without_is_refused(open_page, exported):
    run, done = exported
    parts = [np.pad(drawing.written(number, 120, 0.1, seed=number), ((20, 20), (35, 35))) for number in (3, 0, 8)]
    content = drawing.encoded(drawing.coloured(np.concatenate(parts, 1), drawing.BLACK, drawing.WHITE))
    page = open_page(done.path)
    page.locator("#file").set_input_files({"name": "<i>.png", "mimeType": "image/png", "buffer": content})
    probabilities = run.predict(np.stack([digit.image for digit in segment.read(content)]))
    expect_reading(page, "".join(made_runs.NAMES[k] for k in probabilities.argmax(-1)))
    for buffer, words in (
        (b"no picture", "cannot read this file"),
        (drawing.encoded(np.zeros((50, 50), np.uint8)), "no digit"),
    ):
        page.locator("#file").set_input_files({"name": "other.png", "mimeType": "image/png", "buffer": buffer})
        page.get_by_role("alert").get_by_text(words).wait_for()
        expect_reading(page, "–")


def test_a_digit_drawn_on_the_page_is_answered_while_it_is_drawn_and_layers_light_up(open_page, exported):
    run, done = exported
    page = open_page(done.path, viewport={"width": 1280, "height": 900})
    lit = "document.querySelector('#layers canvas').toDataURL()"
    dark = page.evaluate(lit)
    with_mouse(page, 3, 0.3, lift=False)
    wait_until_read(page, "stroke")
    assert page.evaluate(lit) != dark
    page.mouse.up()
    wait_until_read(page)
    png = page.evaluate("sheet().toDataURL()")
    (digit,) = segment.read(base64.b64decode(png.partition(",")[2]))
    shown = np.reshape(page.evaluate("[...found[0].pixels]"), (28, 28))
    assert np.abs(shown - digit.image.astype(int)).max() <= 2
    expect_reading(page, made_runs.NAMES[run.predict(digit.image).argmax()])
    names = page.locator(".layer h3").all_inner_texts()
    assert names == [layer["name"] for layer in drawing_page.read_about(done.path.read_text())["network"]["layers"]]
    texts = page.locator(".layer").all_inner_texts()
    assert "26 × 26 × 4" in texts[0] and "elu" in texts[0] and "40 parameters" in texts[0]
    page.get_by_role("button", name="Clear").click()
    expect_reading(page, "–")
    assert page.evaluate(lit) == dark


def test_a_map_shows_its_filter_and_where_it_looked_by_pointer_finger_and_keyboard(open_page, exported):
    page = open_page(exported[1].path, viewport={"width": 1280, "height": 900})
    with_mouse(page, 3, 0.3)
    name, text, maps = page.locator("#closer-name"), page.locator("#closer-text"), page.locator("#layers canvas")
    assert name.inner_text() == "conv_1, map 1 of 4"
    maps.nth(0).hover(position={"x": 60, "y": 20})
    assert name.inner_text() == "conv_1, map 2 of 4" and "3\u00a0×\u00a03" in text.inner_text()
    page.mouse.move(5, 5)
    assert name.inner_text() == "conv_1, map 1 of 4"  # Only chosen maps stay.
    slider = page.get_by_role("slider", name="conv_2: 6 maps; the arrow keys choose one")
    slider.press("End")
    assert name.inner_text() == "conv_2, map 6 of 6" and slider.get_attribute("aria-valuenow") == "6"
    slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext").startswith("map 5 of 6, is strongest, ")
    # After a pooling of 2, a kernel of 3 looks at 3 + 2 * 2 + 1 = 8 pixels.
    assert "8\u00a0×\u00a08" in text.inner_text()
    assert page.evaluate("[...inside.network.seen.map(field => field && field.reach)]")[:2] == [3, 4]
    maps.last.click(position={"x": 20, "y": 5})
    assert name.inner_text() == "dense_2, class 1"


@pytest.mark.slow
def test_what_is_broken_changes_the_answer_and_is_mended(open_page, exported):
    run, done = exported
    page = open_page(done.path)
    with_mouse(page, 3, 0.3)
    wait_until_read(page)
    clean, probabilities = page.evaluate("[...found[0].pixels]"), "found[0].probabilities"
    before = page.evaluate(probabilities)
    np.testing.assert_allclose(before, run.predict(np.reshape(clean, (28, 28)).astype(np.uint8)), atol=2e-3)
    mend, said = page.get_by_role("button", name="Mend everything"), page.locator("#unharmed")
    assert mend.is_disabled() and said.inner_text() == ""
    kill = page.get_by_role("button", name="Kill it")
    breaks = [lambda id_=id_, v=v: page.locator(f"#{id_}").fill(v) for id_, v in
              (("turn", "90"), ("noise", "0.8"), ("across", "4"), ("down", "-3"), ("rate", "0.5"))]  # fmt: skip
    for break_ in (*breaks, kill.click):
        break_()
        assert np.abs(np.subtract(page.evaluate(probabilities), before)).max() > 1e-3
        assert said.inner_text().startswith("Unbroken, it reads ")
        if break_ is kill.click:
            assert page.get_by_role("button", name="Revive it").get_attribute("aria-pressed") == "true"
        mend.click()
        assert page.evaluate(probabilities) == before and said.inner_text() == "" and mend.is_disabled()
    page.locator("#across").fill("4")
    shifted = np.reshape(page.evaluate("[...found[0].pixels]"), (28, 28))
    np.testing.assert_array_equal(shifted[:, 4:], np.reshape(clean, (28, 28))[:, :-4])
    page.locator("#across").fill("0")
    page.locator("#turn").fill("35")
    turned = np.reshape(page.evaluate("[...found[0].pixels]"), (28, 28))
    expected = robustness.rotate(np.reshape(clean, (1, 28, 28)).astype(np.uint8), -35)[0]
    np.testing.assert_allclose(turned, expected, atol=1)
    # A dead map is one whose outputs are 0: so says the network itself.
    page.locator("#turn").fill("0")
    page.get_by_role("slider", name="conv_1").press("ArrowRight")
    kill.click()
    x = jax.numpy.asarray(np.reshape(clean, (1, 28, 28, 1)), np.float32) / 255
    for name in run.model.names:
        x = layers.apply_layer(getattr(run.model, name), x, None)
        if name == "conv_1":
            x = x.at[..., 1].set(0)
    np.testing.assert_allclose(page.evaluate(probabilities), jax.nn.softmax(x[0]), atol=2e-3)


HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"


def test_names_that_contain_html_are_shown_as_text_and_nothing_leaves_the_page(open_page, tmp_path):
    run = made_runs.run((HOSTILE, *made_runs.NAMES[1:]), hidden=())
    config = with_values(run.config, {"data.name": "optdigits"})
    run = dataclasses.replace(run, name=HOSTILE, config=config)
    path = exporting.export(run, "html", tmp_path / "<img src=x onerror=alert(1)>.html").path
    page = open_page(path)
    assert page.locator("#facts").inner_text().startswith(HOSTILE)
    assert page.locator("th").first.inner_text() == HOSTILE
    content = drawing.encoded(drawing.coloured(drawing.page(), drawing.BLACK, drawing.WHITE))
    page.locator("#file").set_input_files({"name": f"{HOSTILE[9:]}.png", "mimeType": "image/png", "buffer": content})
    wait_until_read(page)
    assert page.title() == "Draw digits" and page.locator("img").count() == 0
    # The page's own policy: even a script that got in could ask nobody.
    refused = page.evaluate("fetch('https://example.com/').then(() => 'sent', (error) => error.name)")
    assert refused == "TypeError"
    assert all("Content Security Policy" in text or "violates" in text for text in open_page.complaints)
    open_page.complaints.clear()


@pytest.mark.parametrize("width", [390, *slow(820, 1600)])
def test_the_page_fits_every_screen_and_all_controls_have_names(width, open_page, exported):
    page = open_page(exported[1].path, viewport={"width": width, "height": 800}, color_scheme="dark")
    with_mouse(page, 3, 0.3)
    wait_until_read(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for control in page.locator("button, input:not([hidden]), select, canvas").all():
        name = control.evaluate("e => e.ariaLabel || e.labels?.[0]?.textContent.trim() || e.textContent.trim()")
        assert name, control.evaluate("e => e.outerHTML")
    assert page.locator("output#reading").evaluate("e => e.tagName") == "OUTPUT"  # Read out when it changes.
