"""Show every C file that Cython makes of the kernels to the compilers of other systems; warnings are errors.

Usage: python .ci/compilers.py BUILD, where meson has built. It takes clang and the headers of Windows (MinGW), macOS,
Linux and WASI from the package ziglang, and Python's own headers with a pyconfig.h that is made here. Microsoft's
headers are not to be had: what stands in for them declares what C17 and MSVC's intrinsics have, and nothing else, so
that a use of POSIX is an error; clang then reads the files in MSVC's dialect, and by the branches of MSVC.
Nothing is linked, and nothing runs.
"""

import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile

import ziglang

ROOT = pathlib.Path(__file__).parents[1]
KERNELS = ROOT / "src" / "_kernels"
ZIG = pathlib.Path(ziglang.__file__).parent

# The folders of headers, in ziglang's lib/libc/include, by clang's name for the target.
TARGETS = {
    "x86_64-w64-mingw32": ["any-windows-any"],
    "aarch64-w64-mingw32": ["any-windows-any"],
    "x86_64-apple-macos11": ["any-darwin-any"],
    "arm64-apple-macos11": ["any-darwin-any"],
    "x86_64-linux-musl": ["x86_64-linux-musl", "generic-musl"],
    "aarch64-linux-musl": ["aarch64-linux-musl", "generic-musl"],
    "wasm32-wasip1": ["wasm-wasi-musl", "generic-musl"],
}
# Cython writes helpers that not every module and file uses, and comparisons that cannot fail.
FLAGS = ["-std=c17", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-variable"]
FLAGS += ["-Wno-unused-parameter", "-Wno-unused-const-variable", "-Wno-unused-but-set-variable"]
FLAGS += ["-Wno-missing-field-initializers", "-Wno-cast-function-type"]
FLAGS += ["-Wno-tautological-compare", "-Wno-sign-compare", "-fsyntax-only"]
FLAGS += ["-Wno-unknown-pragmas", "-Wno-ignored-pragma-intrinsic", "-Wno-incompatible-library-redeclaration"]
FLAGS += ["-DPy_LIMITED_API=0x030B0000"]

PYCONFIG = """
#ifdef _WIN32
#include <io.h>
#define MS_WINDOWS
#define MS_WIN32
#define NT_THREADS
#define HAVE_DECLSPEC_DLL
#ifdef _WIN64
#define MS_WIN64
#endif
#else
#define HAVE_UNISTD_H 1
#endif
#ifdef _MSC_VER
typedef __int64 ssize_t;
#define SSIZE_MAX __LONG_LONG_MAX__
typedef int pid_t;
#else
#define _GNU_SOURCE 1
#include <sys/types.h>
#endif
#define HAVE_SSIZE_T 1
#define HAVE_STDINT_H 1
#define HAVE_UINTPTR_T 1
#define HAVE_INTPTR_T 1
#define HAVE_ROUND 1
#define HAVE_COPYSIGN 1
#define SIZEOF_SHORT __SIZEOF_SHORT__
#define SIZEOF_INT __SIZEOF_INT__
#define SIZEOF_LONG __SIZEOF_LONG__
#define SIZEOF_LONG_LONG __SIZEOF_LONG_LONG__
#define SIZEOF_SIZE_T __SIZEOF_SIZE_T__
#define SIZEOF_VOID_P __SIZEOF_POINTER__
#define SIZEOF_WCHAR_T __SIZEOF_WCHAR_T__
#define SIZEOF_PID_T 4
#define ALIGNOF_LONG __SIZEOF_LONG__
#define ALIGNOF_SIZE_T __SIZEOF_SIZE_T__
#define WITH_DOC_STRINGS 1
"""

# In place of Microsoft's headers.
MSVC = {
    "assert.h": "#define assert(x) ((void)0)",
    "ctype.h": "int isalnum(int); int isdigit(int); int tolower(int);",
    "errno.h": "int *_errno(void);\n#define errno (*_errno())\n#define ERANGE 34\n#define EINVAL 22",
    "intrin.h": """
        long long _InterlockedExchangeAdd64(long long volatile *, long long);
        long _InterlockedExchangeAdd(long volatile *, long);
        long _InterlockedExchange(long volatile *, long);
        long _InterlockedIncrement(long volatile *);
        long _InterlockedDecrement(long volatile *);
        long _InterlockedCompareExchange(long volatile *, long, long);
        void *_InterlockedCompareExchangePointer(void *volatile *, void *, void *);
        void *_InterlockedExchangePointer(void *volatile *, void *);
        void __cpuidex(int[4], int, int);
        unsigned long long _xgetbv(unsigned);
        #define _MM_HINT_T1 2
        #define _mm_prefetch(address, hint) ((void)(const char *){(address)})
        """,
    "inttypes.h": "#include <stdint.h>",
    "io.h": "",
    "locale.h": "",
    "math.h": """
        #define HUGE_VAL ((double)(1e300 * 1e300))
        #define INFINITY ((float)(1e300 * 1e300))
        #define NAN (-(float)(INFINITY * 0.0f))
        #define isnan(x) ((x) != (x))
        #define isinf(x) ((x) == INFINITY || (x) == -INFINITY)
        #define isfinite(x) ((x) - (x) == 0)
        double fabs(double); double sqrt(double); double exp(double); double log(double); double pow(double, double);
        double sin(double); double cos(double); double atan2(double, double); double hypot(double, double);
        double floor(double); double ceil(double); double fmod(double, double); double frexp(double, int *);
        double ldexp(double, int); double modf(double, double *); double fmin(double, double);
        double fmax(double, double);
        double copysign(double, double); double round(double); double rint(double);
        float fabsf(float); float sqrtf(float); float fmodf(float, float);
        """,
    "stdint.h": "\n".join(
        [
            *(f"typedef __{sign}INT{n}_TYPE__ {sign.lower()}int{n}_t;" for sign in ("", "U") for n in (8, 16, 32, 64)),
            "typedef __INTPTR_TYPE__ intptr_t; typedef __UINTPTR_TYPE__ uintptr_t;",
            "#define SIZE_MAX __SIZE_MAX__",
        ]
    ),
    "stdio.h": """
        #include <stddef.h>
        #include <stdarg.h>
        typedef struct _iobuf FILE;
        FILE *__acrt_iob_func(unsigned);
        #define stderr (__acrt_iob_func(2))
        int fprintf(FILE *, const char *, ...); int printf(const char *, ...); int fflush(FILE *);
        int sprintf(char *, const char *, ...); int snprintf(char *, size_t, const char *, ...);
        int vsnprintf(char *, size_t, const char *, va_list); int fputs(const char *, FILE *);
        """,
    "stdlib.h": """
        #include <stddef.h>
        void *malloc(size_t); void *calloc(size_t, size_t); void *realloc(void *, size_t); void free(void *);
        void abort(void); void exit(int); int abs(int); long labs(long); long long llabs(long long);
        char *getenv(const char *);
        """,
    "string.h": """
        #include <stddef.h>
        void *memcpy(void *, const void *, size_t); void *memmove(void *, const void *, size_t);
        void *memset(void *, int, size_t); int memcmp(const void *, const void *, size_t);
        void *memchr(const void *, int, size_t); size_t strlen(const char *); int strcmp(const char *, const char *);
        int strncmp(const char *, const char *, size_t); char *strcpy(char *, const char *);
        char *strchr(const char *, int);
        char *strrchr(const char *, int); char *strstr(const char *, const char *);
        char *strncpy(char *, const char *, size_t);
        """,
    "sys/stat.h": "struct stat;",
    "sys/types.h": "",
    "time.h": "typedef long long time_t; struct timespec { time_t tv_sec; long tv_nsec; };",
    "wchar.h": "#include <stddef.h>\nsize_t wcslen(const wchar_t *);",
    "windows.h": """
        typedef union { struct { unsigned long LowPart; long HighPart; } u; long long QuadPart; } LARGE_INTEGER;
        int __stdcall QueryPerformanceCounter(LARGE_INTEGER *);
        int __stdcall QueryPerformanceFrequency(LARGE_INTEGER *);
        void __stdcall Sleep(unsigned long);
        #define near
        #define far
        #define small char
        #define interface struct
        """,
}


def main(build):
    """Read every C file of a build folder as every compiler does; return the exit code."""
    files = sorted((pathlib.Path(build) / "src" / "_kernels").glob("*.c"))
    if not files:
        sys.exit(f"{build} holds no C of the kernels: build there first")
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        shutil.copytree(sysconfig.get_paths()["include"], folder / "python")
        (folder / "python" / "pyconfig.h").write_text(PYCONFIG)
        for path, text in MSVC.items():
            header = folder / "msvc" / path
            header.parent.mkdir(parents=True, exist_ok=True)
            guard = "STAND_IN_" + "".join(c if c.isalnum() else "_" for c in path).upper()
            header.write_text(f"#ifndef {guard}\n#define {guard}\n{text}\n#endif\n")
        includes = ["-isystem", str(folder / "python"), f"-I{KERNELS}"]
        clang = [str(ZIG / "zig"), "clang", "-nostdlibinc", "-isystem", str(ZIG / "lib" / "include")]
        compilers = {}
        for target, headers in TARGETS.items():
            folders = (str(ZIG / "lib" / "libc" / "include" / header) for header in headers)
            compilers[target] = [*clang, f"--target={target}", *(f"-isystem{path}" for path in folders)]
        # MSVC knows no __clang__ and no __attribute__.
        compilers["MSVC's dialect"] = [
            *(*clang, "--target=x86_64-pc-windows-msvc", "-fms-compatibility-version=19.40", "-fms-extensions"),
            *(f"-I{folder / 'msvc'}", "-U__clang__", "-D__attribute__=MSVC_KNOWS_NO_ATTRIBUTES"),
            "-D__STDC_NO_ATOMICS__=1",
            "-DCYTHON_FALLTHROUGH=",  # which asks clang itself what it is
        ]
        for file in files:
            for target, compiler in compilers.items():
                result = subprocess.run([*compiler, *includes, *FLAGS, str(file)], capture_output=True, text=True)
                if result.returncode:
                    failed += 1
                    lines = [line for line in result.stderr.splitlines() if "error" in line]
                    print(f"{file.stem} for {target}:", *(lines or [result.stderr])[:5], sep="\n    ")
    print(f"{len(files)} files, {len(compilers)} targets, {failed} failures")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
