"""Make C of a Cython source, and tell the compiler which of its functions are worth its time.

Half of what Cython writes runs once for each call from Python: it takes arguments, checks them, and lets go of them. To
optimise that for speed took the compiler as long as the loops do. So the functions that Python calls are marked as
cold, and those that are `cdef` but not inline as hot: where only cold ones call them, they would be cold as well. A
row function must therefore not be called by a `def` function itself. And `cdef inline` is always inlined (meson.build
says why), but not the helpers that Cython adds at the beginning and at the end of a file.

The marks go before the declarations, which Cython writes at the beginning of a line. If it ever writes them otherwise,
there are no marks, and the compiler takes longer.

Usage: python to_c.py CYTHON [ARGUMENT ...] -o C_FILE [ARGUMENT ...]
"""

import pathlib
import re
import subprocess
import sys

MARKS = """
#if defined(__GNUC__)
#define GRADDESC_COLD __attribute__((cold))
#define GRADDESC_HOT __attribute__((hot))
#else
#define GRADDESC_COLD
#define GRADDESC_HOT
#endif
"""
SECTIONS = [
    f"/* #### Code section: {name} ### */" for name in ("utility_code_proto", "module_declarations", "utility_code_def")
]
# Their names begin with __pyx_pw_ or __pyx_pf_, and with __pyx_f_, where fused after __pyx_fuse_ and digits.
CALLED_FROM_PYTHON = re.compile(r"^(?=static (?:PyObject \*|int )__pyx_(?:fuse_[\d_]*__pyx_)?p[wf]_)", re.MULTILINE)
CDEF = re.compile(r"^(?=static (?!CYTHON_INLINE)[\w *]*?\b__pyx_(?:fuse_[\d_]*__pyx_)?f_)", re.MULTILINE)


def marked(c: str) -> str:
    """Return the C with its functions marked."""
    parts = re.split("|".join(map(re.escape, SECTIONS)), c)
    if len(parts) != len(SECTIONS) + 1:
        print("to_c.py: Cython names its sections otherwise: nothing is marked, and the compiler takes longer")
        return c
    head, declared, functions, helpers = parts
    functions = CDEF.sub("GRADDESC_HOT ", CALLED_FROM_PYTHON.sub("GRADDESC_COLD ", functions))
    declared, helpers = (part.replace("CYTHON_INLINE", "inline") for part in (declared, helpers))
    return "\n".join([head, SECTIONS[0], declared, MARKS, SECTIONS[1], functions, SECTIONS[2], helpers])


def main(command: list[str]) -> int:
    """Run Cython, and mark what it wrote."""
    if status := subprocess.run(command).returncode:
        return status
    file = pathlib.Path(command[command.index("-o") + 1])
    file.write_text(marked(file.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
