"""Commands of spin beside those that it brings: see [tool.spin] in pyproject.toml."""

import pathlib
import sys

import click
from spin.cmds import meson
from spin.cmds.util import run


def _on_the_build(build_dir: str) -> None:
    """Let what runs next import the package as it was built last."""
    meson._set_pythonpath(build_dir, quiet=True)


@click.command()
@meson.build_dir_option
def lint(*, build_dir: str) -> None:
    """🧹 Run the linters and check the types, against the last build."""
    _on_the_build(build_dir)
    run([".ci/lint"])


@click.command()
@click.argument("script", default="compare")
@click.argument("arguments", nargs=-1)
@meson.build_dir_option
def bench(*, script: str, arguments: tuple[str, ...], build_dir: str) -> None:
    """📈 Run a script of bench/, such as compare, against the last build.

    Arguments go after two hyphens: spin bench compare -- --quick
    """
    if not pathlib.Path("bench", f"{script}.py").exists():
        raise click.UsageError(f"no such script: bench/{script}.py")
    _on_the_build(build_dir)
    run([sys.executable, f"bench/{script}.py", *arguments])


@click.command()
@meson.build_dir_option
def docs(*, build_dir: str) -> None:
    """📖 Build the pages in docs/_build/html, with the last build; a warning is an error."""
    _on_the_build(build_dir)
    run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"])
