"""Make C of a Cython source, in two files: what Python calls, and the kernels.

Half of what Cython writes runs once for each call from Python: it takes arguments, checks them, and lets go of them.
That is compiled once, and what needs no Python once for each instruction set: the `cdef` functions that raise nothing,
touch no object, and call only others like them. So a row function must be `noexcept nogil`, and no `def` function may
inline it. What both files use is no longer `static`; the names are those of Cython, and stay in the module.

If Cython ever writes its file otherwise than it is read here, all of it counts as kernels: the compiler takes longer.

All modules are made at once: a process that starts Cython for one of them has done half of its work when it begins; and
without a look for garbage, which Cython hardly makes. This Python does it itself if it has the Cython that was found.

Usage: python to_c.py DEPFILE CYTHON VERSION MODULE=SOURCE ... -- ARGUMENT ...; for a module graddesc.name it writes the
files name.c and name_kernels.c into the folder of the depfile, if they have changed, and the arguments are Cython's.
"""

import concurrent.futures
import functools
import gc
import importlib
import os
import pathlib
import re
import subprocess
import sys

NAMES = ["module_declarations", "module_code", "module_exttypes"]
SECTIONS = re.compile(rf"/\* #### Code section: ({'|'.join(NAMES)}) ### \*/\n")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CDEF = re.compile(r"\b__pyx_(?:fuse_[\d_]*__pyx_)?f_\w+")  # the name of a `cdef` function, which may be fused
DEFINED = re.compile(rf"^static [^;={{}}#\n]*?({CDEF.pattern})\([^;\n]*\) {{$", re.MULTILINE)
PYTHON = re.compile(r"\b(?:PyObject|PyGILState|PyErr|PyExc|__Pyx|__pyx_L\d+_error|__pyx_mstate)")
INITIALISER = """
#ifdef GRADDESC_INIT
PyMODINIT_FUNC PyInit_{module}(void);
PyMODINIT_FUNC GRADDESC_INIT(void);
PyMODINIT_FUNC GRADDESC_INIT(void) {{ return PyInit_{module}(); }}
#endif
#endif
"""


def kernels_of(parts: list[str]) -> dict[str, int]:
    """Return the names of the functions that need no Python, and at which part each is."""
    kernels, calls = {}, {}
    for k, part in enumerate(parts):
        plain = COMMENT.sub("", part)
        whole = plain.count("{") == plain.count("}")
        if whole and len(names := DEFINED.findall(plain)) == 1 and not PYTHON.search(plain):
            kernels[names[0]] = k
            calls[names[0]] = set(CDEF.findall(plain))
    while others := [name for name in kernels if not calls[name] <= kernels.keys()]:
        for name in others:
            del kernels[name]
    return kernels


def split(c: str, module: str) -> tuple[str, str]:
    """Return the C of what Python calls, and that of the kernels."""
    head, declared, code, tail = pieces[::2] if (pieces := SECTIONS.split(c))[1::2] == NAMES else [""] * 4
    parts = re.split(r"(?<=\n}\n)", code)  # behind the lines that end a function
    kernels = kernels_of(parts)
    if not kernels:
        print("to_c.py: Cython writes its files otherwise: nothing is shared by levels, and the compiler takes longer")
        return (
            "typedef int graddesc_nothing;\n",
            f"#ifdef GRADDESC_INIT\n#define PyInit_{module} GRADDESC_INIT\n#endif\n{c}",
        )

    inline = {name for name, k in kernels.items() if re.search(rf"\bCYTHON_INLINE\b.*\b{name}\(", parts[k])}
    compiled = {kernels[name] for name in kernels.keys() - inline}
    python = "".join(part for k, part in enumerate(parts) if k not in compiled)
    levels = "".join(parts[k] for k in sorted(kernels.values()))
    public = "|".join((kernels.keys() - inline) & set(CDEF.findall(python + tail)))
    static = re.compile(rf"^static (?=[^\n;]*\b(?:{public})\()", re.MULTILINE)
    declared, levels = static.sub("", declared), static.sub("", levels)
    variables = re.compile(r"^static (?=[^;=(){}\n]*\b__pyx_v_\w+;$)", re.MULTILINE)
    defined = re.compile(r"^int (\w+) = 0;$", re.MULTILINE)  # whether this is the main module
    return (
        "".join([head, variables.sub("", declared), python, tail]),
        "".join([head, defined.sub("", variables.sub("extern ", declared)), levels, INITIALISER.format(module=module)]),
    )


def cython_here(version: str) -> bool:
    """Tell whether this Python has the Cython of that version, and that compiled."""
    try:
        shadow, scanning = (importlib.import_module(f"Cython.{name}") for name in ("Shadow", "Compiler.Scanning"))
    except ImportError:
        return False
    return bool(shadow.__version__ == version and not str(scanning.__file__).endswith(".py"))


def run_cython(arguments: list[str]) -> int:
    """Run Cython in this process; return its exit code."""
    command_line, compiler = (importlib.import_module(f"Cython.Compiler.{name}") for name in ("CmdLine", "Main"))
    gc.disable()
    options, sources = command_line.parse_command_line(arguments)
    return int(compiler.compile(sources, options).num_errors > 0)


def write(path: pathlib.Path, text: str) -> None:
    """Write a file, or leave it as it is: then it need not be compiled again."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def make(folder: pathlib.Path, cython: str, arguments: list[str], module: str) -> tuple[int, str]:
    """Make the C of one module; return Cython's exit code, and what the C depends on."""
    name, source = module.split("=")
    stem = name.rpartition(".")[2]
    whole = folder / f"{stem}.whole"
    arguments = [*arguments, "-M", "--module-name", name, "-o", str(whole), source]
    if status := subprocess.run([cython, *arguments]).returncode if cython else run_cython(arguments):
        return status, ""
    python, kernels = split(whole.read_text("utf-8"), stem)
    write(folder / f"{stem}.c", python)
    write(folder / f"{stem}_kernels.c", kernels)
    needed = pathlib.Path(f"{whole}.dep")
    text = needed.read_text("utf-8", "surrogateescape").partition(": ")[2].rstrip()
    whole.unlink()
    needed.unlink()
    return 0, text


def main(depfile: str, cython: str, version: str, *arguments: str) -> int:
    """Make the C of all modules."""
    modules, rest = arguments[: arguments.index("--")], list(arguments[arguments.index("--") + 1 :])
    folder = pathlib.Path(depfile).parent
    one = functools.partial(make, folder, "" if cython_here(version) else cython, rest)
    largest_first = sorted(modules, key=lambda module: -os.path.getsize(module.split("=")[1]))
    with concurrent.futures.ProcessPoolExecutor() as pool:
        made = list(pool.map(one, largest_first))
    first = folder / f"{modules[0].partition('=')[0].rpartition('.')[2]}.c"
    pathlib.Path(depfile).write_text(
        f"{first.as_posix()}: " + " ".join(needed for _, needed in made) + "\n", "utf-8", "surrogateescape"
    )
    return max(status for status, _ in made)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
