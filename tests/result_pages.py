"""Members that no run made, and readers of the pages of results."""

from digits.runs.documented import reported
from experiments.judging.study import Member
from experiments.rendering import pages


def made_up(seeds, documented_as="dense_sgd_momentum", shift=0.0):
    """Members whose figures lie around the documented ones."""
    history = reported()[documented_as]["history"]["accuracy"]
    result = {"test_loss": 0.2, "validation_is_test": False, "seconds": 5.0, "device": "cpu (2 cores)"}
    return [
        Member(
            seed,
            result | {"test_accuracy": 0.9354 + shift + 0.001 * (seed - (seeds - 1) / 2)},
            [
                {"epoch": e, "accuracy": a + 0.01 * seed / e, "loss": 1 / e}
                for e, a in enumerate(history, start=1)
                if a is not None
            ],
        )
        for seed in range(seeds)
    ]


def row_of(page, start):
    """The cells of the row of a table that starts so, by heading."""
    lines = page.splitlines()
    index = next(i for i, line in enumerate(lines) if line.startswith(f"| {start}"))
    head = max(i for i in range(index) if lines[i].startswith("| ---")) - 1
    headings, cells = (
        [cell.strip() for cell in lines[i].replace(r"\|", "¦").strip("|").split("|")] for i in (head, index)
    )
    return dict(zip(headings, cells, strict=True))


def notes_of(page, name):
    """What the list below a table of the page says of an arm or a claim."""
    return [line.removeprefix(f"- `{name}`: ") for line in page.splitlines() if line.startswith(f"- `{name}`: ")]


def study_page(study, found):
    """The page of a study."""
    return pages.render([study], found)[f"results/{study.name}.md"]
