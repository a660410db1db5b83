"""Make C of a Cython source, in two files: what Python calls, and the kernels.

Half of what Cython writes runs once for each call from Python: it takes arguments, checks them, and lets go of them.
That is compiled once, and what needs no Python once for each instruction set: the `cdef` functions that raise nothing,
touch no object, and call only others like them. So a row function must be `noexcept nogil`, and no `def` function may
inline it. What both files use is no longer `static`; the names are those of Cython, and stay in the module.

If Cython ever writes its file otherwise than it is read here, all of it counts as kernels: the compiler takes longer.

Usage: python to_c.py C_FILE KERNELS_C_FILE MODULE CYTHON [ARGUMENT ...]
"""

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
PyMODINIT_FUNC PyInit_{module}(void);
PyMODINIT_FUNC GRADDESC_INIT(void);
PyMODINIT_FUNC GRADDESC_INIT(void) {{ return PyInit_{module}(); }}
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
        return "typedef int graddesc_nothing;\n", f"#define PyInit_{module} GRADDESC_INIT\n{c}"

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


def main(c_file: str, kernels_c_file: str, module: str, *command: str) -> int:
    """Run Cython, and split what it wrote."""
    path = pathlib.Path(c_file)
    if status := subprocess.run([*command, "-o", c_file]).returncode:
        return status
    python, kernels = split(path.read_text("utf-8"), module)
    path.write_text(python, "utf-8")
    pathlib.Path(kernels_c_file).write_text(kernels, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
