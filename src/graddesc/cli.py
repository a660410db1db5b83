"""The command ``graddesc``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import math
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import graddesc
from graddesc import signals

if TYPE_CHECKING:
    from graddesc.images import Picture

    _Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

# Exit codes; wrong usage is argparse's 2, and an end by a signal is told as shells do: 128 + its number.
_DONE, _FAILED = 0, 1
_SIGPIPE = 13  # by its number, as Windows has no name for it

_LOSSES = ("edge", "texture", "line", "harmonic", "biharmonic", "tv", "hessian-tv")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}  # bytes
_CLASSIC_ITERATIONS = 500
_DEMO_DIRECTORY = "graddesc-demo"

_EPILOG = "exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but not converged, 130 interrupted"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    argv : list of str, optional
        The arguments, those of the process by default.

    Returns
    -------
    int
        0 done, 1 failed, 2 wrong usage, 3 done but not converged, 130 interrupted, 141 nobody reads the output,
        143 terminated (128 + the number of the signal, for any that ends a process).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files need not fit its encoding
    try:
        with signals.terminable():
            code: int = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BrokenPipeError:
        code = 128 + _SIGPIPE
    except (OSError, ValueError, ImportError, MemoryError) as error:
        _note(f"error: {str(error) or 'not enough memory'}")
        code = _FAILED
    _discard_unwritten()
    return code


def _run(argv: Sequence[str] | None) -> Any:
    argv = _joined(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser().parse_args(argv)
        arguments.argv = argv
        return arguments.run(arguments)
    except SystemExit as end:  # from argparse, which has said why, or by a signal
        return end.code


def _joined(argv: Sequence[str]) -> list[str]:
    """The arguments, a number after --nodata in one with it: argparse takes -1e10 for an option."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] == "--nodata":
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _discard_unwritten() -> None:
    """Discard what the standard streams do not take, or the interpreter would try again at its end, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="graddesc", description=graddesc.__doc__, epilog=_EPILOG, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"graddesc {graddesc.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    restore = _command(commands, "restore", _restore, "restore images of which pixels are corrupt")
    restore.add_argument("inputs", metavar="IN", nargs="+", type=_path, help="images; - is standard input")
    restore.add_argument(
        "output",
        metavar="OUT",
        type=_path,
        help="the restored image, - for a PNG on standard output; or a directory, which is made, for one or many",
    )
    restore.add_argument(
        "--mask",
        metavar="FILE",
        type=_path,
        help="an image that is not zero, or is transparent, where IN is corrupt, or a directory of such images with the"
        " names of the inputs (default: nodata, NaN, transparent pixels, or else the extremes of integers)",
    )
    restore.add_argument(
        "--nodata",
        metavar="V",
        type=_number,
        help="the value of pixels that are corrupt, too (default: what the file's tag GDAL_NODATA says)",
    )
    restore.add_argument(
        "--loss",
        metavar="NAME",
        type=_loss,
        default="edge",
        help=f"the smoothness loss: one of {', '.join(_LOSSES)} (default: edge)",
    )
    restore.add_argument(
        "--volume", action="store_true", help="take a stack as a volume, whose planes are restored together"
    )
    _add_channel_axis(restore)
    restore.add_argument(
        "--frame-axis",
        metavar="N",
        type=_axis,
        help="which axis of a .npy file counts frames, or the planes of a volume (default: the first of three that are"
        " none of channels)",
    )
    restore.add_argument(
        "--spacing",
        metavar="Z,Y,X",
        type=_distances,
        help="the distances of neighbours along each axis, for --volume or, as Y,X, for images (default: all the same)",
    )
    restore.add_argument(
        "--noise",
        metavar="S",
        type=_not_negative,
        default=0.0,
        help="the standard deviation of the known pixels' noise, in units of the image: they change as well, and IN"
        " needs no corrupt pixel (default: 0, they are exact)",
    )
    restore.add_argument(
        "--huber", action="store_true", help="with --noise: known pixels that are far off pull less, as outliers"
    )
    restore.add_argument("--confidence", metavar="FILE", type=_path, help="write how far each pixel can be trusted")
    restore.add_argument(
        "--animate", metavar="FILE", type=_path, help="show the image healing: a .gif, .webp or .png (APNG) file"
    )
    restore.add_argument("--history", metavar="FILE.png", type=_path, help="plot the loss by iteration; or .svg, .pdf")
    restore.add_argument("--report", metavar="FILE.html", type=_path, help="write a page that shows the restoration")
    restore.add_argument("--json", action="store_true", help="tell of each file as JSON, in a line on standard output")
    restore.add_argument(
        "--classic",
        action="store_true",
        help=f"the classic recipe: {_CLASSIC_ITERATIONS} plain steps from the noise, or from the least known value"
        " where IN is NaN",
    )
    restore.add_argument(
        "--max-iter",
        metavar="N",
        type=_positive_int,
        help=f"iterations at most (default: 3000, with --classic {_CLASSIC_ITERATIONS})",
    )
    restore.add_argument("--max-time", metavar="SECONDS", type=_positive, help="seconds at most (default: no limit)")
    restore.add_argument(
        "--max-memory",
        metavar="SIZE",
        type=_size,
        help="what the solver may take, such as 500M or 2G; an image that wants more is restored tile by tile (default:"
        " half of the machine's memory)",
    )
    restore.add_argument(
        "--tol", metavar="X", type=_not_negative, help="the tolerance of convergence (default: the loss's own)"
    )
    _add_threads(restore)
    _add_overwrite(restore)

    corrupt = _command(commands, "corrupt", _corrupt, "make pixels of an image black or white at random, for trials")
    corrupt.add_argument("input", metavar="IN", type=_path, help="the image; - is standard input")
    corrupt.add_argument("output", metavar="OUT", type=_path, help="the corrupt image; - is a PNG on standard output")
    corrupt.add_argument(
        "--missing", metavar="P", type=_probability, default=0.9, help="the share of corrupt pixels (default: 0.9)"
    )
    corrupt.add_argument("--seed", metavar="N", type=_whole, default=0, help="of the noise (default: 0)")
    corrupt.add_argument(
        "--downsample", metavar="N", type=_positive_int, default=1, help="first take every Nth pixel of each axis"
    )
    _add_channel_axis(corrupt)
    corrupt.add_argument("--mask-out", metavar="FILE", type=_path, help="write the mask: white where OUT is corrupt")
    _add_overwrite(corrupt)

    demo = commands.add_parser("demo", help="show what the package can do", allow_abbrev=False)
    demos = demo.add_subparsers(title="demos", required=True, metavar="DEMO")
    restore_demo = _add_demo(demos, "restore", "a ginkgo leaf from a tenth of its pixels")
    restore_demo.add_argument(
        "--size", metavar="N", type=_positive_int, default=512, help="rows and columns (default: 512)"
    )
    restore_demo.add_argument(
        "--missing", metavar="P", type=_probability, default=0.9, help="the share of corrupt pixels (default: 0.9)"
    )
    restore_demo.add_argument("--seed", metavar="N", type=_whole, default=0, help="of the noise (default: 0)")
    restore_demo.add_argument("--show", action="store_true", help="show the image healing in a window")
    _add_threads(restore_demo)
    _add_demo(demos, "quadratic", "steepest descent with exact line search on a quadratic")
    _add_demo(demos, "rosenbrock", "Rosenbrock's valley: the zigzag of steepest descent, and what avoids it")
    network_demo = _add_demo(demos, "network", "train a small neural network")
    network_demo.add_argument(
        "--seed", metavar="N", type=_whole, default=0, help="of the points and the start (default: 0)"
    )

    _command(commands, "info", _info, "tell versions and how the kernels were built")
    return parser


def _command(
    commands: _Commands, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
    parser.set_defaults(run=run, parser=parser)
    return parser


def _add_demo(demos: _Commands, name: str, text: str) -> argparse.ArgumentParser:
    """Add a demo: the function of this name in demos.py, whose keywords are the options."""
    parser = _command(demos, name, _demo, text)
    parser.set_defaults(demo=name)
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=_path,
        help=f"where to write; it is made (default: {_DEMO_DIRECTORY}, where the files of earlier demos are replaced)",
    )
    _add_overwrite(parser)
    return parser


def _add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _add_channel_axis(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--channel-axis",
        metavar="N",
        type=_axis,
        help="which axis of a .npy file has its bands, from 0; 0 says so of the pages of a TIFF file (default: the last"
        " if it is of length 3, as RGB)",
    )


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", metavar="N", type=_positive_int, default=1, help="threads (default: 1)")


def _argument(kind: Callable[[str], Any], wanted: str, accepted: Callable[[Any], bool]) -> Callable[[str], Any]:
    """Make an argument type: a value of this kind for which accepted(value) holds."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not accepted(value):
            raise argparse.ArgumentTypeError(f"must be {wanted}, got {text!r}")
        return value

    return convert


def _loss(text: str) -> str:
    if text not in _LOSSES:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(_LOSSES)}, got {text!r}")
    return text


def _distances(text: str) -> tuple[float, ...]:
    """Positive numbers with commas between them."""
    return tuple(_positive(part) for part in text.split(","))


def _number(text: str) -> float:
    """A number as Python has it: an int where it is one, which floats may not hold."""
    kinds: tuple[Callable[[str], float], ...] = (int, float)
    for kind in kinds:
        with contextlib.suppress(ValueError):
            return kind(text)
    raise argparse.ArgumentTypeError(f"must be a number, or nan, got {text!r}")


def _bytes(text: str) -> float:
    return float(text[:-1]) * _UNITS[text[-1].upper()] if text[-1:].upper() in _UNITS else float(text)


_path = _argument(str, "a path", lambda path: path != "")
_positive_int = _argument(int, "a positive integer", lambda n: n >= 1)
_axis = _argument(int, "an integer, the number of an axis", lambda n: isinstance(n, int))
_whole = _argument(int, "a non-negative integer", lambda n: n >= 0)
_positive = _argument(float, "a positive number", lambda x: 0 < x < math.inf)
_size = _argument(_bytes, "a number of bytes, such as 500M or 2G", lambda n: 0 < n < math.inf)
_not_negative = _argument(float, "a non-negative number", lambda x: 0 <= x < math.inf)
_probability = _argument(float, "a number between 0 and 1", lambda x: 0 <= x <= 1)


def _restore(arguments: argparse.Namespace) -> int:
    from graddesc import batch

    _check_extension(arguments, "--animate", arguments.animate, (".gif", ".webp", ".png"))
    _check_extension(arguments, "--history", arguments.history, (".png", ".svg", ".pdf"))
    _check_extension(arguments, "--confidence", arguments.confidence, (".tif", ".tiff", ".npy", ".png"))
    _check_extension(arguments, "--report", arguments.report, (".html", ".htm"))
    if arguments.channel_axis is not None and arguments.channel_axis == arguments.frame_axis:
        arguments.parser.error(f"--channel-axis and --frame-axis are both {arguments.frame_axis}")
    if arguments.huber and not arguments.noise:
        arguments.parser.error("--huber goes with --noise")
    if arguments.history is not None:
        from graddesc import plots

        plots.require_matplotlib()
    inputs = [found for path in arguments.inputs for found in _expanded(path)]
    request = batch.Request(inputs, arguments.output, arguments, _note, _say, _read)
    try:
        return batch.restore_files(request)
    except batch.UsageError as error:
        parser: argparse.ArgumentParser = arguments.parser
        parser.error(str(error))


def _expanded(path: str, shell_expands: bool = os.name != "nt") -> list[str]:
    """The files that a pattern stands for, where the shell leaves that to commands; what stands for none, as it is."""
    if shell_expands or not set(path) & set("*?"):
        return [path]
    import glob

    return sorted(glob.glob(path.replace("[", "[[]"))) or [path]


def _corrupt(arguments: argparse.Namespace) -> int:
    from graddesc import images, masks, outputs

    _check_paths(
        arguments,
        sources={"IN": arguments.input},
        targets={"OUT": arguments.output, "--mask-out": arguments.mask_out},
    )
    for path in (arguments.output, arguments.mask_out):
        if path is not None and images.is_lossy(path):
            raise ValueError(f"{path}: JPEG would blur black and white; use a lossless format such as .png")

    picture = _read(arguments.input, channel_axis=arguments.channel_axis)
    images.check_format(arguments.output, picture)
    if picture.frames:
        raise ValueError(f"{arguments.input} is a stack of frames: corrupt takes one image")
    every = (slice(None, None, arguments.downsample),) * 2
    picture = dataclasses.replace(
        images.without_places(picture) if arguments.downsample > 1 else picture,
        pixels=picture.pixels[every],
        alpha=None if picture.alpha is None else picture.alpha[every],
    )
    _note_left_out(arguments.output, picture)
    corrupted, mask = masks.corrupt(
        picture.pixels, arguments.missing, rng=arguments.seed, channel_axis=picture.channel_axis
    )

    contents = {arguments.output: dataclasses.replace(picture, pixels=corrupted)}
    if arguments.mask_out is not None:
        contents[arguments.mask_out] = images.Picture(mask.astype("uint8") * 255)
    encoded = {path: images.encode(path, image) for path, image in contents.items()}
    for path, data in encoded.items():
        outputs.write(path, data, overwrite=arguments.overwrite)
    return _DONE


def _demo(arguments: argparse.Namespace) -> int:
    from graddesc import demos

    own = ("run", "parser", "demo", "output", "argv")
    options = {name: value for name, value in vars(arguments).items() if name not in own}
    directory = arguments.output
    if directory is None:
        directory, options["overwrite"] = _DEMO_DIRECTORY, True
    new = not os.path.exists(directory)
    if not new and not os.path.isdir(directory):
        arguments.parser.error(f"--output must be a directory, got {directory}")
    os.makedirs(directory, exist_ok=True)
    try:
        report = getattr(demos, arguments.demo)(directory, **options)
    except BaseException:
        if new:
            with contextlib.suppress(OSError):
                os.rmdir(directory)  # if nothing is in it
        raise
    for line in report.lines:
        _say(line)
    for path in report.files:
        _say(f"wrote {path}")
    return _DONE


def _info(arguments: argparse.Namespace) -> int:
    import importlib.metadata
    import platform

    config = graddesc.build_config()
    _say(f"graddesc {graddesc.__version__}, {os.path.dirname(graddesc.__file__)}")
    for name, value in config.items():
        if name != "version":
            _say(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}")
    _say(f"python: {platform.python_version()}, {platform.platform()}")
    for package in ("numpy", "scipy", "pillow", "matplotlib", "tqdm", "tifffile", "imagecodecs"):
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        _say(f"{package}: {version}")
    return _DONE


def _check_paths(arguments: argparse.Namespace, sources: dict[str, str | None], targets: dict[str, str | None]) -> None:
    """Refuse outputs that cannot be written, or that would replace one another or an input; OUT may replace IN."""
    from graddesc import outputs

    taken: dict[str | tuple[str, str], str] = {}
    for name, path in {**sources, **targets}.items():
        if path is None:
            continue
        place = (path, "input" if name in sources else "output") if path == "-" else outputs.place(path)
        other = taken.setdefault(place, name)
        if other != name and (name, other) != ("OUT", "IN"):
            arguments.parser.error(f"{other} and {name} are the same file: {path}")
    for path in targets.values():
        if path is not None:
            outputs.check(path, overwrite=arguments.overwrite)


def _check_extension(arguments: argparse.Namespace, option: str, path: str | None, allowed: Collection[str]) -> None:
    from graddesc import outputs

    if path is not None and outputs.extension(path) not in allowed:
        arguments.parser.error(f"{option} {path}: the extension must be {' or '.join(allowed)}")


def _read(path: str, **options: Any) -> Picture:
    """Read an image while standard error is closed to libtiff, which tells there of damage, besides our one line."""
    from graddesc import images

    with contextlib.ExitStack() as stack:
        if sys.stderr is not None:
            terminal = os.dup(2)
            stack.callback(os.close, terminal)
            stack.callback(os.dup2, terminal, 2)
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
        return images.read(path, **options)


def _note_left_out(path: str, picture: Picture) -> None:
    from graddesc import images

    if names := images.left_out(path, picture):
        _note(f"{path} leaves out what its format cannot hold: {', '.join(names)}")


def _say(text: str) -> None:
    print(_one_line(text))


def _note(text: str) -> None:
    """Tell something on standard error; that nobody can hear it is no reason to fail."""
    if sys.stderr is not None:  # closed; print would turn to standard output
        with contextlib.suppress(OSError):
            print(_one_line(f"graddesc: {text}"), file=sys.stderr)


def _one_line(text: str) -> str:
    """Escape the ends of lines, and what else a terminal might obey, in the name of a file for one."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
