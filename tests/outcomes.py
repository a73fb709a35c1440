"""What several tests ask of an outcome: that it worked, or was refused in one line."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from clir_cli.corpus.formats.reading import Faults
from clir_cli.corpus.records import SentencePair
from clir_cli.errors import UserError

Read = Callable[[Faults], Iterator[SentencePair]]


def well(outcome: Any) -> Any:
    assert outcome.code == 0, outcome.err
    return outcome


def refused(outcome: Any) -> str:
    """Return the one line of a refusal."""
    assert outcome.code == 2, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err


def check_faults(read: Read, fault: str, skipped: dict[str, int], kept: list[str]) -> None:
    """A reader stops at the first fault with one line that names it, or counts it and continues."""
    with pytest.raises(UserError, match=fault) as error:
        list(read(Faults("stop")))
    assert "--set bitext.on_error=skip" in str(error.value)
    faults = Faults("skip")
    assert [pair.query for pair in read(faults)] == kept
    assert faults.skipped == skipped
