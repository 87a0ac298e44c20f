"""One line per error, whatever is known of it."""

import pytest

from gaga.core.errors import Conflict, GagaError, InvalidInput, NotFound, Unavailable


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (GagaError("it broke"), "it broke."),
        (GagaError("it broke", received=0), "it broke (received 0)."),
        (GagaError("it broke", remedy="mend it"), "it broke. Mend it."),
        (GagaError("it broke", remedy="mend it."), "it broke. Mend it."),
        (GagaError("no qm8", remedy="did you mean qm9?"), "no qm8. Did you mean qm9?"),
        (GagaError("no curve", remedy="`gaga tstar x` makes one"), "no curve. `gaga tstar x` makes one."),
        (GagaError("bad t", received=2000, remedy="use 0 to 1000"), "bad t (received 2000). Use 0 to 1000."),
    ],
)
def test_line(error: GagaError, line: str) -> None:
    assert error.line == line
    assert str(error) == line


@pytest.mark.parametrize("kind", [InvalidInput, NotFound, Conflict, Unavailable])
def test_facts_are_attributes(kind: type[GagaError]) -> None:
    with pytest.raises(GagaError) as caught:
        raise kind("what", received=[1, 2], remedy="todo")
    assert type(caught.value) is kind
    assert (caught.value.what, caught.value.received, caught.value.remedy) == ("what", [1, 2], "todo")
