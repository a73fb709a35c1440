"""What the tests of transport share: costs, masks, what a plan lacks, a plan in float64."""

import torch
from hypothesis import settings


def examples(count):
    """The same examples in every run, of which none has to be quick."""
    return settings(max_examples=count, derandomize=True, deadline=None, database=None)


def masks(lengths, width):
    return torch.arange(width) < torch.tensor(lengths)[:, None]


def full(*shape):
    return torch.ones(shape, dtype=torch.bool)


def unit(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(points, dim=-1).to(dtype)


def cosine_costs(pairs, n, m, *, dim=16, noise=0.4, seed=0):
    """Costs between tokens and a noisy, shuffled translation of them."""
    generator = torch.Generator().manual_seed(seed)
    meanings = unit(pairs, max(n, m), dim, seed=seed)
    order = torch.randperm(max(n, m), generator=generator)
    rows = meanings[:, :n]
    columns = meanings[:, order][:, :m] + noise * unit(pairs, m, dim, seed=seed + 1)
    return 1 - rows @ torch.nn.functional.normalize(columns, dim=-1).mT


def violation(plan, row_mask, column_mask):
    rows = row_mask / row_mask.sum(1, keepdim=True)
    columns = column_mask / column_mask.sum(1, keepdim=True)
    return (plan.sum(2) - rows).abs().sum(1) + (plan.sum(1) - columns).abs().sum(1)


def reference(cost, row_mask, column_mask, *, eps, updates=20_000):
    """The plan by plain log-domain updates in float64, run to a standstill."""
    cost = cost.double()
    log_a = (row_mask.double() / row_mask.sum(1, keepdim=True)).log()
    log_b = (column_mask.double() / column_mask.sum(1, keepdim=True)).log()
    g = torch.zeros_like(log_b)
    for _ in range(updates):
        f = -eps * ((g / eps + log_b)[:, None, :] - cost / eps).logsumexp(2)
        new = -eps * ((f / eps + log_a)[:, :, None] - cost / eps).logsumexp(1)
        moved, g = (new - g).nan_to_num().abs().max(), new
        if moved < 1e-10:
            break
    density = (f[:, :, None] + g[:, None, :] - cost) / eps
    return (density + log_a[:, :, None] + log_b[:, None, :]).exp()
