"""What the commands on runs share: exit codes, one sentence for a mistake, flags that do not linger."""

from absl import flags
import pytest

from digits import command_line
from digits.errors import UserError

OWN = flags.FlagValues()
COUNT = flags.DEFINE_integer("count", 1, "How many.", flag_values=OWN)


def call(*arguments, files=""):
    seen = []

    def body(rest):
        seen.append((COUNT.value, rest))
        return 0

    return command_line.run(["program", *arguments], __name__, OWN, body, files), seen


def test_flags_are_parsed_anew_and_may_stand_behind_files():
    assert call("--count=3") == (0, [(3, [])])
    assert call() == (0, [(1, [])])
    assert call("a.png", "--count=2", "b.png", files="pictures") == (0, [(2, ["a.png", "b.png"])])


@pytest.mark.parametrize(
    "argument, words",
    [("--cuont=3", "'cuont'"), ("--count=x", "x"), ("a.png", "'a.png' is no flag: flags start with --.")],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(argument, words, capsys):
    assert call(argument) == (2, [])
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and words in err and err.count("\n") == 1


def test_a_workdir_without_its_flag_and_with_one_too_many(capsys):
    own = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "A run.", flag_values=own)
    assert command_line.run(["program", "runs/a"], __name__, own, len) == 2
    assert capsys.readouterr().err.endswith("; did you mean --workdir=runs/a?\n")
    assert call("--workdir=runs/a", files="runs") == (2, [])
    assert capsys.readouterr().err == "error: Unknown command line flag 'workdir'; name runs without a flag.\n"


def test_a_path_that_the_system_refuses_is_a_mistake(capsys, tmp_path):
    long = tmp_path / ("x" * 300)
    assert command_line.run(["program"], __name__, OWN, lambda _: long.stat()) == 2
    assert capsys.readouterr().err == f"error: {long} cannot be used (File name too long).\n"
    with pytest.raises(FileNotFoundError):  # A file of the program's own that is gone is no mistake of the user's.
        command_line.run(["program"], __name__, OWN, lambda _: (tmp_path / "gone").stat())


def test_what_the_work_refuses_is_a_mistake_too(capsys):
    def body(_):
        raise UserError("--workdir is wrong.")

    assert command_line.run(["program"], __name__, OWN, body) == 2
    assert capsys.readouterr().err == "error: --workdir is wrong.\n"
    assert command_line.given("runs/a") == "runs/a"
    with pytest.raises(UserError, match="--workdir is missing"):
        command_line.given("")


def test_help_is_the_docstring_and_the_flags(capsys):
    assert call("--help", "--cuont") == (0, [])
    out = capsys.readouterr().out
    assert out.startswith(__doc__) and "--count" in out and "How many." in out
