"""The page to draw on, made in Python: its parts, what it is told about a run, and the weights in it."""

import base64
import hashlib
import re

import numpy as np
import pytest

from digits.errors import UserError
from digits.models import families, summary
from digits.runs import loading
from digits.serving import drawing_page
from tests import made_runs

CNN = {
    "family": "cnn", "blocks": ((4,), (6, 8)), "batch_norm": "block", "block_dropout": 0.25,
    "separable": (False, True), "hidden": (16,),
}  # fmt: skip


@pytest.mark.parametrize("precision, error", [("float32", 0), ("float16", 2e-3)])
def test_the_page_holds_every_layer_of_the_summary_and_its_weights(precision, error):
    run = made_runs.run(**CNN)
    network, weights = drawing_page.network(run, precision)
    page, _ = drawing_page.render({"network": network}, weights)
    found = drawing_page.read_about(page)["network"]
    rows = summary.describe(run.model)
    assert [(row["name"], tuple(row["output"]), row["parameters"]) for row in found["layers"]] == [
        (row.name, row.output, row.trainable + row.rest) for row in rows
    ]
    kinds = {row["kind"] for row in found["layers"]}
    assert kinds == {"conv", "depthwise", "max_pool", "batch_norm", "dropout", "flatten", "dense"}
    _, params, _ = families.parts(run.model)
    read = dict(zip((row.name for row in rows), drawing_page.read_weights(page, found), strict=True))
    for name, arrays in read.items():
        if not name.startswith("batch_norm"):
            assert set(arrays) == set(params.get(name, ()))
            for key, array in arrays.items():
                np.testing.assert_allclose(array, params[name][key], rtol=error, atol=error)
    assert len(base64.b64decode(weights)) == sum(a.size for one in read.values() for a in one.values()) * (
        2 if precision == "float16" else 4
    )


def test_text_from_elsewhere_stays_text():
    odd = "</script><script>alert(1)</script><!--"
    page, _ = drawing_page.render({"facts": [odd], "classNames": [odd], "network": None})
    assert odd not in page and page.count("<script") == page.count("</script>") == 3
    assert drawing_page.read_about(page) == {"facts": [odd], "classNames": [odd], "network": None}
    with pytest.raises(ValueError, match="no page to draw on"):
        drawing_page.read_about("<html></html>")


def test_the_policy_lets_nothing_run_but_the_page_s_own_parts():
    page, policy = drawing_page.render({}, connect_src="'self'")
    script, style = (re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL) for tag in ("script", "style"))
    for directive, (text,) in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"; {directive} 'sha256-{digest}'; " in policy
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    assert policy.endswith("connect-src 'self'") and "connect-src" not in drawing_page.render({})[1]
    # A namespace is a name, not an address.
    assert set(re.findall(r"https?://[^\s'\"]+", page)) == {"http://www.w3.org/2000/svg"}


def test_a_network_that_is_too_large_for_a_page_or_has_an_unknown_layer_is_refused(monkeypatch):
    run = made_runs.run()
    with monkeypatch.context() as patch:
        patch.setattr(drawing_page, "MOST_PARAMETERS", 1000)
        with pytest.raises(UserError, match=r"networks of up to 1,000 parameters, not of 12,\d+\.$"):
            drawing_page.network(run, "float32")
    monkeypatch.setattr(drawing_page.layers, "Flatten", families.Network)  # No rule is for those there.
    with pytest.raises(UserError, match="no rule for the layer flatten_1"):
        drawing_page.network(run, "float32")


def test_the_page_says_which_run_it_is_of():
    run = made_runs.run(result={"test_accuracy": 0.98765, "config_file": "configs/mine.py"})
    assert drawing_page.facts(run, "mine,epochs=3") == ["mine,epochs=3", "test accuracy 0.9877", "seed 0"]
    assert drawing_page.facts(run) == ["mine", "test accuracy 0.9877", "seed 0"]
    assert drawing_page.facts(made_runs.run(), "folder") == ["folder", "not finished: epoch 2 of 3", "seed 0"]
    other = made_runs.run(result={"test_accuracy": 0.98565, "config_file": "configs/mine.py"})
    facts = drawing_page.facts(loading.Ensemble((run, other)))
    assert facts == ["mine", "2 runs together", "each alone: test accuracy 0.9867 ± 0.0014"]
