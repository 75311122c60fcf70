"""The fuzzers fit the readers: seeds and some mutations pass. A stand-in replaces atheris, which may be absent."""

import contextlib
import importlib
import pathlib
import sys
import types

import numpy as np
import pytest


@pytest.fixture
def fuzzer(monkeypatch):
    """Imports a fuzzer."""
    rng = np.random.default_rng(0)

    def flip(data, max_size):
        changed = bytearray(data[:max_size])
        for place in rng.integers(0, len(changed), 3):
            changed[place] ^= 1 << int(rng.integers(8))
        return bytes(changed)

    atheris = types.ModuleType("atheris")
    atheris.instrument_imports = lambda include: contextlib.nullcontext()
    atheris.Mutate = flip
    monkeypatch.setitem(sys.modules, "atheris", atheris)
    return lambda name: importlib.import_module(f"tests.fuzz.{name}")


def try_all(fuzzer, seeds, mutations):
    seeds = list(seeds)
    for number, seed in enumerate(seeds):
        fuzzer.target(seed)
        for mutation in range(mutations):
            fuzzer.target(fuzzer.mutate(seed, 20_000, number * mutations + mutation))
    assert len(seeds) >= 6


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["fuzz_idx", "fuzz_npz", "fuzz_rows", "fuzz_parquet"])
def test_readers_of_datasets(name, fuzzer):
    if name == "fuzz_parquet":
        pytest.importorskip("pyarrow")
    module = fuzzer(name)
    try_all(module, module.seeds(), 10)


@pytest.mark.filterwarnings("ignore::Warning")  # Pillow warns of damaged pictures.
def test_readers_of_pictures(fuzzer, tmp_path, monkeypatch):
    module = fuzzer("fuzz_picture")
    monkeypatch.setattr(module, "IMAGE", module.fill_folder(pathlib.Path(module.FOLDER.name)), raising=False)
    try_all(module, module.seeds(), 3)


def test_the_reader_of_runs(fuzzer, monkeypatch):
    module = fuzzer("fuzz_run")
    monkeypatch.setattr(module, "FILES", module.prepare(), raising=False)
    monkeypatch.setattr(module, "NAMES", sorted(module.FILES), raising=False)
    monkeypatch.setattr(module, "LATEST", len(module.NAMES), raising=False)
    for number, name in enumerate(module.NAMES):
        if name in ("config.json", "metrics.jsonl", "result.json"):
            seed = bytes([number]) + module.FILES[name]
            module.target(seed)
            module.target(module.mutate(seed, 20_000, number))
