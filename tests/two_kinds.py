"""Whether an encoder learns to tell two kinds of things apart."""

import torch
from torch import nn


def told_apart(encoder, inputs, kinds, held, truth, *, passes=12, lr=5e-3):
    """The share of the rows `held` told right after `passes` over `inputs`, whose `kinds` are 0 or 1."""
    head = nn.Linear(encoder.dim, 2)
    encoder.fit_statistics(inputs)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=lr)
    for _ in range(passes):
        for rows in torch.randperm(len(kinds)).split(32):
            some = {name: value[rows] for name, value in inputs.items()}
            loss = nn.functional.cross_entropy(head(encoder(some).pooled), kinds[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return (head(encoder.eval()(held).pooled).argmax(1) == truth).float().mean()
