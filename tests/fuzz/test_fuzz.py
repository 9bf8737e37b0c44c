"""A short run of the fuzzer; `make fuzz` is the long one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parent))

from mutants import mutant
from readers import readers
from run import Fuzzer, TooLongError, alarm

NAMES = sorted(readers())


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    yield Fuzzer(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(1, 10**6).filter(lambda seed: seed % 50))
def test_a_mutant_is_read_or_refused(fuzzer: Fuzzer, name: str, seed: int) -> None:
    fault = fuzzer.try_one(name, seed)
    # Memory is that of the whole process here, which other tests have filled.
    assert fault is None or fault.endswith("MiB of memory"), fault


@pytest.mark.parametrize(
    "name", [name for name, reader in sorted(readers().items()) if reader.command]
)
def test_a_mutant_is_read_or_refused_by_the_command_line(fuzzer: Fuzzer, name: str) -> None:
    fault = fuzzer.try_one(name, 50)
    assert fault is None or fault.endswith("MiB of memory"), fault


def test_the_fuzzer_finds_what_it_looks_for(
    fuzzer: Fuzzer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback, a changed file and a reader that does not end are faults."""
    from readers import Reader

    def harm(path: Path) -> None:
        path.with_name("new").write_text("")

    broken = {
        "traceback": Reader("labels.json", lambda path: 1 // 0),
        "change": Reader("labels.json", harm),
    }
    monkeypatch.setattr(fuzzer, "readers", broken)
    assert "ZeroDivisionError" in (fuzzer.try_one("traceback", 1) or "")
    assert "changed" in (fuzzer.try_one("change", 1) or "")
    (fuzzer.folder / "new").unlink()
    with pytest.raises(TooLongError), alarm(1):
        while True:
            pass


def test_mutants_differ_and_are_the_same_again() -> None:
    import random

    content = b'{"a": [1, 2, {"b": "c"}]}'
    found = [mutant(content, random.Random(seed)) for seed in range(200)]
    assert found == [mutant(content, random.Random(seed)) for seed in range(200)]
    assert len(set(found)) > 150
