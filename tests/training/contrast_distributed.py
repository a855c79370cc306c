"""Two processes with half of the pairs each: their losses and gradients beside those of one that has all pairs."""

import sys

import torch
import torch.distributed

from ofa_transformers.training.alignment import contrastive_loss


def pairs():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 5, generator=generator), torch.tensor([1, 2, 3, 1, 5, 6, 2, 8])


def main(rank: int, store: str, centered: bool) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    sides, segments = pairs()
    mine = slice(4 * rank, 4 * rank + 4)
    vectors = torch.cat([sides[0, mine], sides[1, mine]]).requires_grad_()
    loss = contrastive_loss(vectors, segments[mine], temperature=0.2, centered=centered)
    loss.backward()
    total = loss.detach().clone()
    torch.distributed.all_reduce(total)
    torch.distributed.destroy_process_group()

    whole = torch.cat([sides[0], sides[1]]).requires_grad_()
    expected = contrastive_loss(whole, segments, temperature=0.2, centered=centered)
    expected.backward()
    torch.testing.assert_close(total, expected.detach())
    torch.testing.assert_close(vectors.grad, torch.cat([whole.grad[mine], whole.grad[8:][mine]]))


if __name__ == "__main__":
    for how in ("plain", "centered"):
        arguments = (f"{sys.argv[1]}-{how}", how == "centered")
        torch.multiprocessing.start_processes(main, arguments, nprocs=2, start_method="fork")
