"""Many cases in one test: the loop around it, and the case that failed in what is told of it."""

import functools
import inspect

import pytest


def each(names, values):
    """Run a test once for each value of an argument, or of some: pytest.mark.parametrize, but one test in all.

    Fixtures are shared: a test that changes what one gives is for parametrize. No case may skip: others would not run.
    """
    names = [name.strip() for name in names.split(",")]
    values = list(values)
    assert values, "no case at all"

    def decorate(test):
        @functools.wraps(test)
        def of_all(*args, **others):
            __tracebackhide__ = True
            for value in values:
                case = dict(zip(names, value if len(names) > 1 else (value,), strict=True))
                try:
                    test(*args, **others, **case)
                except pytest.skip.Exception as skipped:
                    raise AssertionError(f"the case {case} skips those after it") from skipped
                except BaseException as error:
                    error.add_note("in the case of " + ", ".join(f"{name} = {given!r}" for name, given in case.items()))
                    raise

        signature = inspect.signature(test)
        assert set(names) <= set(signature.parameters), f"{test.__name__} does not take {names}"
        left = [parameter for name, parameter in signature.parameters.items() if name not in names]
        of_all.__signature__ = signature.replace(parameters=left)
        return of_all

    return decorate
