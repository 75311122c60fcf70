"""A digit that was read, as text and as rows."""

import dataclasses

import numpy as np

from digits.data.pictures.segment import Digit
from digits.serving import reading


def made(probabilities, names="0123456789"):
    image = np.zeros((28, 28), np.uint8)
    image[2], image[5], image[8:10], image[11] = 255, 200, 128, 127
    probabilities = np.array(probabilities, np.float32)
    return reading.Reading("my.png", 1, 2, Digit(image, (0, 0, 9, 9)), tuple(names), probabilities)


def test_the_drawing_is_what_the_network_saw_and_the_bars_are_the_probabilities():
    p = [0.5, 0.25, 0.125, 0.0625, 0.0625, 0, 0, 0, 0, 0]
    lines = reading.text(made(p)).split("\n")
    assert lines[0] == "my.png, digit 2: 0 (50.0%)"
    drawn = [line[:28] for line in lines[1:15]]
    assert drawn[1] == "▀" * 28 and drawn[2] == "▄" * 28 and drawn[4] == "█" * 28 and not drawn[5].strip()
    assert lines[3][30:] == "0 ██████████            50.0%" and lines[4][30:] == "1 █████                 25.0%"
    plain = reading.text(made(p), reading.ASCII)
    assert plain.isascii() and plain.split("\n")[2][:28] == "'" * 28 and plain.split("\n")[5][:28] == "#" * 28


def test_a_file_tells_the_terminal_nothing():
    one = dataclasses.replace(made([0.1] * 10), file="\x1b[2J.png")
    assert reading.text(one).startswith("'\\x1b[2J.png', digit 2: ")


def test_of_many_classes_the_ten_most_probable_are_shown_in_80_columns():
    names = [f"class number {k:02} with a long name" for k in range(40)]
    p = np.zeros(40)
    p[5], p[30], p[7:17] = 0.4, 0.3, 0.03
    text = reading.text(made(p, names))
    assert "digit 2: class number 05 with a long name (40.0%)" in text
    assert [line[30:46] for line in text.split("\n")[3:13]] == [
        name[:16] for name in names[5:6] + names[7:15] + [names[30]]
    ]
    assert max(map(len, text.split("\n")[1:])) <= 80


def test_an_answer_is_a_row_for_each_line_of_writing():
    def one(file, number, prediction, left, top, names="0123456789"):
        p = np.eye(len(names))[prediction]
        digit = Digit(np.zeros((28, 28), np.uint8), (left, top, left + 8, top + 9))
        return dataclasses.replace(made(p, names), file=file, number=number, digit=digit)

    two_lines = [one("a.png", 1, 2, 0, 3), one("a.png", 2, 7, 20, 0), one("a.png", 3, 4, 5, 30)]
    read = [*two_lines, one("\x1b.png", 1, 0, 0, 0), one("c.png", 1, 1, 0, 0, ("a coat", "b"))]
    read.append(one("c.png", 2, 0, 20, 0, ("a coat", "b")))
    assert list(reading.answers(read)) == ["a.png: 2 7\n       4", "'\\x1b.png': 0", "c.png: b, a coat"]
    assert list(reading.answers([])) == []


def test_rows_have_a_header_and_all_probabilities():
    header, row = reading.rows([made([0.25, 0.75], "ab")], "ab")
    assert header[:7] == ["file", "page", "digit", "left", "top", "right", "bottom"]
    assert header[7:] == ["prediction", "class_name", "probability_a", "probability_b"]
    assert row == ["my.png", 1, 2, 0, 0, 9, 9, 1, "b", 0.25, 0.75]
