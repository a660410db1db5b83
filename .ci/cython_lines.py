"""Tell which lines of Cython ran in a build that counts them (.ci/coverage).

Usage: python .ci/cython_lines.py BUILD [FILE ...]: a table of all files, and the lines that did not run in those named.
A line counts once, in however many modules it was compiled. C that Cython writes for itself goes on with the numbers
of the line before: those that are of no statement do not count.
"""

import collections
import json
import pathlib
import subprocess
import sys

SOURCES = pathlib.Path(__file__).parents[1] / "src" / "_kernels"


def statements(name: str) -> set[int]:
    """The numbers of a file's lines that are neither empty nor comments."""
    lines = (SOURCES / name).read_text(encoding="utf-8").splitlines()
    return {number for number, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")}


def counts(build: pathlib.Path) -> dict[str, dict[int, int]]:
    """How often each line of each file has run."""
    ran: dict[str, dict[int, int]] = collections.defaultdict(lambda: collections.defaultdict(int))
    for data in sorted(build.resolve().rglob("*.gcda")):
        command = ["gcov", "--json-format", "--stdout", str(data)]
        told = subprocess.run(command, cwd=build, capture_output=True, check=True).stdout
        for report in told.splitlines():
            for file in json.loads(report)["files"]:
                if file["file"].endswith((".pyx", ".pxi")):
                    name = file["file"].rpartition("_kernels/")[2]
                    for line in file["lines"]:
                        ran[name][line["line_number"]] += line["count"]
    return {name: {n: count for n, count in file.items() if n in statements(name)} for name, file in ran.items()}


def ranges(lines: list[int]) -> str:
    """Numbers in order, those in a row as one range."""
    parts: list[list[int]] = []
    for line in lines:
        if parts and parts[-1][-1] == line - 1:
            parts[-1][1:] = [line]
        else:
            parts.append([line])
    return ", ".join("-".join(map(str, part)) for part in parts)


def main(build: str, *shown: str) -> None:
    """Print the table."""
    ran = counts(pathlib.Path(build))
    lines = sum(len(file) for file in ran.values())
    missed = 0
    print(f"{'file':36}{'lines':>7}{'missed':>8}{'ran':>7}")
    for name, file in sorted(ran.items()):
        never = sorted(line for line, count in file.items() if count == 0)
        missed += len(never)
        print(f"{name:36}{len(file):7}{len(never):8}{1 - len(never) / len(file):7.0%}")
        if name in shown:
            print(f"    {ranges(never)}")
    print(f"{'all':36}{lines:7}{missed:8}{1 - missed / max(lines, 1):7.0%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
