"""trinity/limits.py"""

from trinity import limits


def test_every_bound_is_a_positive_number() -> None:
    """A bound of zero or below would switch off what it protects; a series of bounds grows."""
    bounds = {name: value for name, value in vars(limits).items() if name.isupper()}
    assert bounds
    for name, value in bounds.items():
        if isinstance(value, tuple):
            assert list(value) == sorted(value), name
        else:
            assert isinstance(value, int | float), name
            assert value > 0, name
