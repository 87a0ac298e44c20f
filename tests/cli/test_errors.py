"""Library errors in the words of the command line."""

import pytest

from gaga.cli.errors import with_options


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("continue with `resume=True`, or `overwrite=True`", "continue with --resume, or --overwrite"),
        ("use `device=cpu`, or smaller `sizes`", "use --device cpu, or smaller --sizes"),
        ("a lower `learning_rate`, fewer `n_layers`", "a lower --lr, fewer --layers"),
        ("with `one_molecule_per_record=True`", "with --one-molecule-per-record"),
        ("run `gaga store list`, or the `Recipe`", "run `gaga store list`, or the `Recipe`"),
    ],
)
def test_arguments_become_options(text: str, typed: str) -> None:
    assert with_options(text) == typed
