"""Commands that show what there is: the catalogue and the store."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from polymodal.cli.app import AsJson, app, show_result
from polymodal.core.errors import BadArgument


@app.command("list")
def list_parts(
    family: Annotated[str | None, typer.Argument(help="One family only, as fusion, align or objectives.")] = None,
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of the documentation.")] = False,
) -> None:
    """The catalogue, each part with its source."""
    from polymodal import catalogues

    if as_json and markdown:
        raise BadArgument("--json and --markdown are two forms of the same list; give one of them.")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None  # into a pipe: a part a line
    show_result(catalogues.show_all(family, "json" if as_json else "markdown" if markdown else "text", width))


@app.command()
def show(name: Annotated[str, typer.Argument(help="A part's name.")]) -> None:
    """One part: what it does, its options, its source."""
    from polymodal import catalogues

    show_result(catalogues.show_part(name))


@app.command()
def store(
    folder: Annotated[
        Path | None, typer.Option("--store", help="The store's folder.", show_default="the user's cache")
    ] = None,
    clear: Annotated[str | None, typer.Option(help="A group's name, its first letters, or 'all'.")] = None,
    as_json: AsJson = False,
) -> None:
    """What the encode-once store holds, and clearing it. POLYMODAL_STORE names another folder."""
    from polymodal.data.storage.store import Store, default_store

    store = Store(folder or default_store())
    if clear is not None:
        freed = store.clear(None if clear == "all" else clear)
        show_result({"freed": freed} if as_json else f"{freed / 1e6:.1f} MB freed")
        return
    show_result(store.report() if as_json else store.text())
