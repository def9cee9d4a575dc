"""Shared fixtures. Tests run single-threaded so that they are deterministic and leave the other core free."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

os.environ["HF_HUB_CACHE"] = tempfile.mkdtemp(prefix="no_cache")  # whatever this machine has downloaded before
atexit.register(shutil.rmtree, os.environ["HF_HUB_CACHE"], ignore_errors=True)
os.environ.pop("POLYMODAL_MODELS", None)


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shop(tmp_path_factory):
    """A small shop's table and a quick finished run on it; tests read both and write elsewhere."""
    from small_table import SHOP, Shop, write_shop

    import polymodal as pm

    folder = tmp_path_factory.mktemp("shop")
    made = Shop(folder, write_shop(folder), folder / "runs" / "shop", folder / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMODAL_STORE", str(made.store))
        pm.fit(made.table, "category", out=made.run, quiet=True, **SHOP)
    return made


@pytest.fixture
def real_data():
    """The folder of a real data set, or a skip that says where it was looked for."""

    def find(name: str) -> Path:
        root = Path(os.environ.get("POLYMODAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
        if not (root / name).is_dir():
            pytest.skip(f"real data {name!r} not found under {root}; set POLYMODAL_DATA to the folder that holds it")
        return root / name

    return find
