"""Tiny random checkpoints of TabICL, saved to a folder as its authors do."""

from __future__ import annotations

from pathlib import Path


def save_tabicl(folder: Path, *, seed: int = 0, regressor: bool = True) -> str:
    import torch
    from tabicl._model.tabicl import TabICL

    folder.mkdir(parents=True, exist_ok=True)
    small = {
        "num_quantiles": 9, "embed_dim": 8, "col_num_blocks": 1, "col_nhead": 2, "col_num_inds": 4,
        "row_num_blocks": 1, "row_nhead": 2, "row_num_cls": 2, "icl_num_blocks": 1, "icl_nhead": 2, "zero_init": False,
    }  # fmt: skip
    for name, classes in (("classifier-v2-20260212", 10), *((("regressor-v2-20260212", 0),) if regressor else ())):
        config = {"max_classes": classes, **small}
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = TabICL(**config)
        torch.save({"config": config, "state_dict": network.state_dict()}, folder / f"tabicl-{name}.ckpt")
    return str(folder)
