"""The loops around tests."""

import pytest
from cases import each


def test_every_case_is_run_and_the_one_that_fails_is_named(tmp_path):
    seen = []

    @each("a, b", [(1, 2), (3, 4)])
    @each("c", "xy")
    def test(a, b, c, where):
        assert where is tmp_path
        seen.append((a, b, c))
        assert (a, c) != (3, "y")

    with pytest.raises(AssertionError) as caught:
        test(where=tmp_path)
    assert seen == [(1, 2, "x"), (1, 2, "y"), (3, 4, "x"), (3, 4, "y")]
    assert caught.value.__notes__ == ["in the case of c = 'y'", "in the case of a = 3, b = 4"]


def test_no_case_may_skip():
    @each("a", [1, 2])
    def test(a):
        pytest.skip("not today")

    with pytest.raises(AssertionError, match="skips those after it"):
        test()


def test_there_are_cases_of_arguments():
    with pytest.raises(AssertionError, match="no case at all"):
        each("a", [])
    with pytest.raises(AssertionError, match=r"test does not take \['b'\]"):

        @each("b", [1])
        def test(a):
            pass
