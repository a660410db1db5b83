"""What restore() tells of a run."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import graddesc
from graddesc.result import Result


def test_entries_are_attributes():
    result = Result(fun=0.5, nit=3)
    assert (result.fun, result["nit"], list(result), dir(result)) == (0.5, 3, ["fun", "nit"], ["fun", "nit"])
    result.nit = 4
    result["status"] = 1
    assert (result["nit"], result.status) == (4, 1)
    del result.status
    assert result == {"fun": 0.5, "nit": 4}
    assert isinstance(result, dict)


def test_what_is_not_there_is_an_attribute_error():
    result = Result(fun=0.5)
    assert not hasattr(result, "jac")
    with pytest.raises(AttributeError, match="jac"):
        _ = result.jac
    with pytest.raises(AttributeError, match="jac"):
        del result.jac


def test_repr_is_a_table():
    result = Result(fun=0.5, message="Done.", x=np.eye(2))
    lines = ["     fun: 0.5", " message: 'Done.'", "       x: array([[1., 0.],", "                 [0., 1.]])"]
    assert repr(result) == "\n".join(lines)
    assert repr(Result()) == "Result()"


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(lambda r, p=p: pickle.loads(pickle.dumps(r, p)) for p in range(6))],
    ids=["copy", "deepcopy", *(f"pickle{p}" for p in range(6))],
)
def test_copies_are_results(copied):
    image = np.linspace(0, 1, 64).reshape(8, 8)
    info = graddesc.restore(image, np.eye(8, dtype=bool), full_output=True)[1]
    other = copied(info)
    assert type(other) is Result
    assert list(other) == list(info) == ["x", "fun", "nit", "success", "status", "message", "history"]
    assert_array_equal(other.x, info.x)
    assert (other.fun, other.message) == (info.fun, info.message)
    other.nit = -1
    assert info.nit != -1
