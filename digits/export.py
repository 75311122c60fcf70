"""Exports a trained run: one file, or folder, that predicts without this project.

    python -m digits.export --workdir=runs/simple_cnn --format=onnx

Formats: jax (needs only JAX to run), savedmodel (TensorFlow), tflite
(TensorFlow Lite, LiteRT), onnx (ONNX Runtime and many others) and html (a page
to draw on that shows the network at work in any browser, without a network
connection). An export to jax can be read by the JAX versions of the next six
months at least. In each format but html

    images         uint8    n x 28 x 28  in: 0 to 255, white on black; any n
    probabilities  float32  n x classes  out: each row sums to 1

The run's normalisation is part of the export. The file also holds metadata:
the config, the names of the classes, the epoch, the test accuracy, and the
lines that load the file, which are printed too. Before it gets its name, an
export is loaded by its own runtime and compared with the run on test images of
the run's dataset, or on made images where that is not at hand.
"""

import sys

from absl import flags

from digits import command_line
from digits.errors import UserError
from digits.runs import found
from digits.runtime import screen

_FLAGS = flags.FlagValues()  # Its own: the flags of digits.main have the same names.
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder of a run; the flag may be left out: runs/simple_cnn.", flag_values=_FLAGS
)
_FORMAT = flags.DEFINE_string("format", None, "One of jax, savedmodel, tflite, onnx, html.", flag_values=_FLAGS)
_OUTPUT = flags.DEFINE_string(
    "output", None,
    "The file, or for savedmodel the folder, to write. Default, in WORKDIR: model.jax.zip (jax), savedmodel "
    "(savedmodel), model.tflite (tflite), model.onnx (onnx), model.html (html).",
    flag_values=_FLAGS,
)  # fmt: skip
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As for digits.main.", flag_values=_FLAGS)


def main(argv: list[str]) -> int:
    """Runs the command line; returns the exit code: 0, or 2 for a user's mistake."""
    return command_line.run(argv, __name__, _FLAGS, _main, files="a run")


def _main(runs: list[str]) -> int:
    workdir = found.one_run(_WORKDIR.value, runs)
    if not _FORMAT.value:
        raise UserError("--format is missing: name one of jax, savedmodel, tflite, onnx, html.")
    from digits.serving import export_formats, exporting  # Import JAX.

    exported = exporting.export(workdir, _FORMAT.value, _OUTPUT.value, _DATA_DIR.value)
    kind = "made images (--data_dir=FOLDER finds its dataset, which is not here)" if exported.made else "test images"
    within = f"within {exported.difference:.1e} of the run's on {exported.images} {kind}"
    about = ", ".join(filter(None, [f"{exporting.size(exported.path) / 1e6:.2f} MB", exported.about]))
    print(screen.wrap(f"{screen.pasted(exported.path)}: {about}, probabilities {within}"))
    written = export_formats.FORMATS[_FORMAT.value]
    if note := written.note():
        print(screen.wrap(note))
    print(f"{written.opens}:\n\n{exporting.usage(exported.path, _FORMAT.value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
