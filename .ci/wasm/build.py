"""Build the wheel for Pyodide from a native wheel and the folder where meson built it.

Usage: python .ci/wasm/build.py WHEEL BUILD DIRECTORY; writes a wheel for WebAssembly into the directory.

The Python files and the metadata are those of the native wheel. The C files are those that Cython made for it, with the
baseline level of each family; clang compiles them for wasm32-emscripten, with the flags that keep the bits, and wasm-ld
links each as a side module of Pyodide. Both come from the package ziglang. Emscripten's own headers are not needed: its
C library is musl, whose headers ziglang has; of those for 32 bits, only the type of sizes is another.
"""

import base64
import csv
import hashlib
import io
import json
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile

import ziglang

ABI = "pyemscripten_2026_0_wasm32"  # of Pyodide 314
ZIG = pathlib.Path(ziglang.__file__).parent
LIBC = ZIG / "lib" / "libc" / "include"

PYCONFIG = """
#define _GNU_SOURCE 1
#define WITH_DOC_STRINGS 1
#define HAVE_UNISTD_H 1
#define HAVE_STDINT_H 1
#define HAVE_SSIZE_T 1
#define HAVE_INTPTR_T 1
#define HAVE_UINTPTR_T 1
#define HAVE_ROUND 1
#define HAVE_COPYSIGN 1
#define SIZEOF_SHORT 2
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_LONG_LONG 8
#define SIZEOF_SIZE_T 4
#define SIZEOF_VOID_P 4
#define SIZEOF_WCHAR_T 4
#define SIZEOF_PID_T 4
#define ALIGNOF_LONG 4
#define ALIGNOF_SIZE_T 4
"""


def zig(*arguments):
    """Run one of zig's tools; what it says ends the program if it fails."""
    process = subprocess.run([str(ZIG / "zig"), *map(str, arguments)], capture_output=True, text=True, check=False)
    if process.returncode:
        sys.exit(f"zig {' '.join(map(str, arguments))}\n{process.stderr}")


def headers(folder):
    """Write Python's headers and musl's as wasm32-emscripten has them; return the arguments that name them."""
    python, arch = folder / "python", folder / "arch"
    shutil.copytree(sysconfig.get_paths()["include"], python)
    (python / "pyconfig.h").write_text(PYCONFIG)
    shutil.copytree(LIBC / "riscv32-linux-musl", arch)
    types = arch / "bits" / "alltypes.h"
    text = types.read_text()
    assert "#define _Addr int" in text, "the type of sizes has another name"
    types.write_text(text.replace("#define _Addr int", "#define _Addr long"))
    folders = (ZIG / "lib" / "include", arch, LIBC / "generic-musl", python)
    return ["-nostdlibinc", *(part for path in folders for part in ("-isystem", path))]


def compiled(build):
    """Yield the name, the C files and their flags of each module that meson compiled; not those of higher levels."""
    modules, shared = {}, {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        match = re.fullmatch(r".*/(?:(\w+)\.abi3\.so|lib(\w+)\.a)\.p/[^/]*\.c\.o", entry["output"])
        if match is None or (match[1] and re.search(r"_v\d+$", match[1])):
            continue
        flags = []
        for flag in shlex.split(entry["command"]):
            if flag.startswith("-I") and "include/python" not in flag:
                flags.append("-I" + str((pathlib.Path(entry["directory"]) / flag[2:]).resolve()))
            elif re.match(r"-D|-std=|-O|-ffp-contract=|-fno-(math-errno|trapping-math)", flag):
                flags.append(flag)
        source = pathlib.Path(entry["directory"]) / entry["file"], flags
        if match[1]:
            modules[match[1]] = [source]
        else:
            shared[match[2]] = source  # what the levels of a family share
    for name, sources in modules.items():
        family = name.removesuffix("_baseline")
        yield name, [*sources, *([shared[family]] if family in shared else [])]


def side_module(name, sources, includes, folder):
    """Compile and link a module; return its bytes."""
    linked = folder / f"{name}.so"
    compiled = [folder / f"{name}-{k}.o" for k in range(len(sources))]
    target = ["--target=wasm32-unknown-emscripten", "-msimd128", "-fPIC", "-w"]
    for (source, flags), file in zip(sources, compiled, strict=True):
        zig("clang", *target, *includes, *flags, "-c", source, "-o", file)
    exports = [f"--export-if-defined={symbol}" for symbol in (f"PyInit_{name}", "__wasm_call_ctors")]
    shared = ["-shared", "--experimental-pic", "--no-entry", "--stack-first", "--no-export-dynamic", "--strip-all"]
    zig("wasm-ld", *shared, "--unresolved-symbols=import-dynamic", *exports, *compiled, "-o", linked)
    return linked.read_bytes()


def main(wheel, build, directory):
    """Write the wheel and print its path."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    # The modules that the wheel has, but for those of higher levels.
    wanted = {pathlib.PurePath(name).name.split(".")[0]: name for name in files if name.endswith(".so")}
    files = {name: data for name, data in files.items() if not name.endswith(".so")}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        includes = headers(folder)
        made = set()
        for module, sources in compiled(build):
            files[wanted[module]] = side_module(module, sources, includes, folder)
            made.add(module)
    missing = {module for module in wanted if not re.search(r"_v\d+$", module)} - made
    assert not missing, f"meson did not tell how to compile {', '.join(sorted(missing))}"

    info = next(name.split("/")[0] for name in files if name.endswith(".dist-info/WHEEL"))
    text = files[f"{info}/WHEEL"].decode()
    files[f"{info}/WHEEL"] = re.sub(r"(?m)^Tag: (.*)-(.*)-.*$", rf"Tag: \1-\2-{ABI}", text).encode()
    told = {
        "graddesc/_build.py": (rb"COMPILER = .*", b'COMPILER = "clang, by ziglang"'),
        "graddesc/_kernels/_build.py": (rb"LEVELS = .*", b'LEVELS = ("baseline",)'),
    }
    for name, (old, new) in told.items():
        files[name], count = re.subn(rb"(?m)^" + old + b"$", new, files[name])
        assert count == 1, f"{name} has another form"
    rows = [
        (name, "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode(), len(data))
        for name, data in files.items()
        if name != f"{info}/RECORD"
    ]
    record = io.StringIO()
    csv.writer(record, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
    files[f"{info}/RECORD"] = record.getvalue().encode()

    path = directory / re.sub(r"-[^-]*\.whl$", f"-{ABI}.whl", wheel.name)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    print(path)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
