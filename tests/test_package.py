"""What importing the package does, and what it must not do."""

import ast
import doctest
import hashlib
import importlib
import inspect
import os
import pathlib
import pkgutil
import platform
import re
import subprocess
import sys

import numpy as np
import pytest
from cases import each
from graddesc._kernels import processor
from graddesc._kernels._build import LEVELS

import graddesc
from graddesc import _build, _kernels, isa, processors

MODULES = [m.name for m in pkgutil.walk_packages(graddesc.__path__, "graddesc.")]
MODULES = [name for name in MODULES if name != "graddesc.__main__" and not name.startswith("graddesc._kernels")]

RESTORE = """
import hashlib, numpy as np, graddesc
image = np.random.default_rng(0).random((70, 1100)).astype(np.float32)
mask = np.random.default_rng(1).random(image.shape) < 0.9
step = graddesc.InverseTime(1.5, floor=0.015)
results = graddesc.restore(image, mask), graddesc.restore(image, mask, step=step, init="image", max_iter=20)
print(graddesc.build_config()["isa"], *(hashlib.sha256(r.tobytes()).hexdigest() for r in results))
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=False
    )


def test_build_config():
    config = graddesc.build_config()
    assert config["version"] == graddesc.__version__ == _build.VERSION
    assert config["isa"] in config["isa_available"]
    assert config["isa_available"][0] == "baseline"
    assert config["compiler"]


def test_the_citation_is_of_this_version():
    citation = pathlib.Path(__file__).parents[1] / "CITATION.cff"
    assert re.search(r"^version: (.+)$", citation.read_text(encoding="utf-8"), re.MULTILINE)[1] == graddesc.__version__


def test_every_public_name_is_there():
    for name in graddesc.__all__:
        assert getattr(graddesc, name) is not None
    assert set(graddesc.__all__) <= set(dir(graddesc))
    with pytest.raises(AttributeError, match="module 'graddesc' has no attribute 'nothing'"):
        _ = graddesc.nothing


def test_type_checkers_see_the_names_that_python_finds():
    """The imports in __init__.py are those that its tables make on first use."""
    tree = ast.parse(pathlib.Path(graddesc.__file__).read_text(encoding="utf-8"))
    (block,) = (part for part in tree.body if isinstance(part, ast.If) and ast.unparse(part.test) == "TYPE_CHECKING")
    seen = {}
    for statement in block.body:
        for name in statement.names:
            assert name.asname == name.name  # or it would not be exported
            seen[name.name] = f"{statement.module}.{name.name}" if statement.module == "graddesc" else statement.module
    assert seen == {
        **{name: f"graddesc.{module}" for name, module in graddesc._HOME.items()},
        **{name: f"graddesc.{name}" for name in graddesc._MODULES},
    }


def test_every_module_has_types():
    """In the code: of all parameters and results of all functions. Only compiled modules have stubs."""
    root = pathlib.Path(graddesc.__file__).parent
    assert (root / "py.typed").exists()
    stubs = {path.stem for path in root.rglob("*.pyi")}
    modules = {path for path in root.rglob("*.py") if path.name != "_build.py"}
    assert stubs == {"cython_descent"}
    assert len(modules) > 30
    for path in modules:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef) and (path.name, function.name) != ("__init__.py", "__getattr__"):
                given = function.args
                parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
                untyped = [p.arg for p in parameters if p is not None and p.annotation is None]
                assert untyped in ([], ["self"], ["cls"]), f"{path.name}: {function.name}"
                assert function.returns is not None, f"{path.name}: {function.name}"


def test_import_loads_nothing_and_a_restoration_only_numpy():
    heavy = "scipy PIL matplotlib tqdm"
    slow = f"{heavy} numpy dataclasses graddesc.losses graddesc.descent"
    code = f"import sys, graddesc; print([m for m in {slow.split()} if m in sys.modules])"
    assert run(code).stdout == "[]\n"
    # A restoration needs none of them either.
    code = f"""
import sys, numpy, graddesc
graddesc.restore(numpy.eye(9), numpy.eye(9) == 0)
print([m for m in {heavy.split()} if m in sys.modules])
"""
    assert run(code).stdout == "[]\n"


def test_restore_stays_a_function_whatever_is_imported():
    code = """
import graddesc.restoration.api, graddesc.restoration, graddesc.losses
from graddesc.restoration.api import restore
from graddesc.restoration.plan import Plan
import graddesc
assert graddesc.restore is restore and callable(restore)
assert graddesc.Plan is Plan
"""
    assert run(code).returncode == 0


# Each of them is imported at the start of a compiled module, which does not look whether that went well.
@pytest.mark.parametrize("absent", ["inspect", "collections.abc", "types", "copyreg"])
@pytest.mark.parametrize(
    "statement",
    [
        "import graddesc",
        "import graddesc.cython_descent",
        "from graddesc._kernels import pool",
        "from graddesc import isa",
    ],
)
def test_what_compiled_modules_need_is_missing(absent, statement):
    result = run(f"import sys; sys.modules[{absent!r}] = None; {statement}")
    assert result.returncode == 1, result
    assert re.match(r"(ImportError|ModuleNotFoundError): ", result.stderr.splitlines()[-1])


@pytest.mark.posix
def test_an_interrupt_at_any_import_comes_out():
    """At each import a child of the process goes on in its place, and is interrupted there."""
    code = """
import os, signal, sys
import numpy
signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
parent = os.getpid()
ends = []

class Finder:
    def find_spec(name, path=None, target=None):
        if os.getpid() == parent:
            child = os.fork()
            if child == 0:
                os.kill(os.getpid(), signal.SIGINT)
            else:
                ends.append((name, os.waitpid(child, 0)[1]))

sys.meta_path.insert(0, Finder)
try:
    import graddesc.cython_descent
    graddesc.restore(numpy.eye(9), numpy.eye(9) == 0)
    from graddesc._kernels import box, direct, kriging, line, patches, regions
except KeyboardInterrupt:
    os._exit(0)
if os.getpid() == parent:
    print(sum(name.startswith("graddesc._kernels.") for name, _ in ends), [end for end in ends if end[1]])
"""
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    count, ends = result.stdout.split(maxsplit=1)
    assert int(count) >= 10
    assert (ends, result.stderr) == ("[]\n", "")


@pytest.mark.parametrize("handler", ["signal.default_int_handler", "lambda number, frame: told.append(number)"])
def test_an_interrupt_while_kernels_are_loaded_is_told_afterwards(handler):
    code = f"""
import importlib, signal
from graddesc import _kernels
told = []
signal.signal(signal.SIGINT, {handler})
handler = signal.getsignal(signal.SIGINT)
load = importlib.import_module

def interrupted(name):
    signal.raise_signal(signal.SIGINT)
    assert not told
    return load(name)

importlib.import_module = interrupted
try:
    _kernels.stencil
except KeyboardInterrupt:
    told.append("raised")
importlib.import_module = load
print(told, signal.getsignal(signal.SIGINT) is handler, _kernels.stencil is not None)
"""
    expected = "['raised']" if "default" in handler else "[2]"
    assert run(code).stdout == f"{expected} True True\n"


def test_import_leaves_subnormals_alone():
    code = """
import numpy as np
tiny = np.full(4, 1e-310)
import graddesc
graddesc.restore(np.eye(300), np.eye(300) == 0, threads=2)
assert (tiny * 0.5 > 0).all()
assert (np.full(4, 1e-40, np.float32) * np.float32(0.5) > 0).all()
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.posix
def test_threads_survive_a_fork():
    code = """
import os, signal
import numpy as np, graddesc
image = np.random.default_rng(0).random((120, 1500))
mask = np.random.default_rng(1).random(image.shape) < 0.9
from graddesc import isa
from graddesc._kernels import pool
expected = graddesc.restore(image, mask, threads=2)
assert pool.helpers() == isa.team_size(2) - 1
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if (graddesc.restore(image, mask, threads=2) == expected).all() else 3)
print(os.waitpid(child, 0)[1])
"""
    assert run(code).stdout == "0\n"


def test_no_more_threads_than_processors_nor_than_there_is_work_for():
    available = processors.available()
    assert isa.team_size(1) == 1
    assert isa.team_size(10**6) == available
    assert isa.team_size(10**6, 10**9) == available
    assert isa.team_size(10**6, 64 * 64) == 1
    assert isa.team_size(10**6, 2 * 2**15) == min(2, available)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to processors")
def test_no_more_threads_than_this_process_may_use():
    code = """
import os
from graddesc import isa
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
print(isa.team_size(8))
"""
    assert run(code).stdout == "1\n"


def test_each_family_of_kernels_is_loaded_when_it_is_used():
    code = """
import sys, numpy, graddesc
families = lambda: sorted(name.split(".")[2].split("_")[0] for name in sys.modules if "graddesc._kernels." in name)
print(families())
graddesc.restore(numpy.eye(9), numpy.eye(9) == 0)
print({"kriging", "patches"} & set(families()))
from graddesc._kernels import kriging, LEVEL
assert kriging.__name__ == f"graddesc._kernels.kriging_{LEVEL}"
"""
    assert run(code).stdout == "[]\nset()\n"
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from graddesc._kernels import nothing  # noqa: F401


@pytest.mark.parametrize("level", _kernels.AVAILABLE)
@pytest.mark.once
def test_environment_forces_a_level_with_the_same_bits(level):
    forced = run(RESTORE, GRADDESC_ISA=level)
    assert forced.stderr == ""
    name, *hashes = forced.stdout.split()
    assert name == level
    baseline = run(RESTORE, GRADDESC_ISA="baseline")
    assert hashes == baseline.stdout.split()[1:]
    assert len(set(hashes)) == 2
    assert hashes[0] != hashlib.sha256(np.zeros((70, 1100), np.float32).tobytes()).hexdigest()


def test_unknown_level_is_refused():
    result = run("import graddesc; graddesc.restore", GRADDESC_ISA="v5")
    assert result.returncode == 1
    assert result.stderr.strip().endswith(f"GRADDESC_ISA must be one of {', '.join(LEVELS)}, got 'v5'")


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="this system does not list what its processor can do")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="other processors have no levels")
def test_levels_are_those_of_the_processor():
    with open("/proc/cpuinfo") as file:
        flags = set(next(line for line in file if line.startswith("flags")).split())
    v3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"} <= flags
    v4 = v3 and {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags
    assert processor.supported_levels() == ("baseline", *["v3"] * v3, *["v4"] * v4)


def test_highest_level_is_chosen():
    assert run(RESTORE, GRADDESC_ISA="").stdout.split()[0] == _kernels.AVAILABLE[-1]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.once
def test_examples_run(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in finder.find(module, extraglobs={"graddesc": graddesc}):
        runner.run(test)
    assert runner.failures == 0


def public_callables():
    """The functions and classes that the package offers, but for exceptions, which take a message."""
    for name in graddesc.__all__:
        value = getattr(graddesc, name)
        inner = value.__all__ if inspect.ismodule(value) else []
        for label, item in [(name, value), *((f"{name}.{i}", getattr(value, i)) for i in inner)]:
            if inspect.isfunction(item) or (inspect.isclass(item) and not issubclass(item, Exception)):
                yield label, item


@each("name, item", public_callables())
def test_public_docstrings_name_every_parameter(name, item):
    doc = inspect.getdoc(item)
    assert doc, name
    for parameter in inspect.signature(item).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        lines = [line.split(":")[0] for line in doc.splitlines() if " : " in line]
        named = {word.strip(" *") for line in lines for word in line.split(",")}
        assert parameter.name in named, f"the docstring of {name} does not describe {parameter.name}"


@pytest.mark.parametrize("needed", ["inspect", "types", "collections.abc"])
@pytest.mark.parametrize(
    "module", ["graddesc.cython_descent", "graddesc._kernels.pool", "graddesc._kernels.processor", "graddesc.masks"]
)
def test_what_compiled_modules_need_is_missed_by_an_error(module, needed):
    """Not by a crash, as where they themselves import it."""
    code = f"import sys, importlib; sys.modules[{needed!r}] = None\n"
    code += f"try:\n    importlib.import_module({module!r})\nexcept ImportError as error:\n    print(error)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")
    assert needed in process.stdout
