"""A GAN on eight Gaussians on a circle: a generator and a discriminator, each with an optimiser of its own."""

import argparse
import json
import math

import torch
from torch import nn
from torch.nn.functional import softplus


def real_points(count, generator):
    """Points (count, 2) of the mixture."""
    angle = 2 * math.pi * torch.randint(8, (count,), generator=generator) / 8
    centres = torch.stack([angle.cos(), angle.sin()], dim=1)
    return centres + 0.05 * torch.randn(count, 2, generator=generator)


def network(inputs, outputs, width):
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


def energy_distance(a, b):
    """Between two sets of points; 0 for equal distributions."""
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


def r1_penalty(discriminator, points):
    points = points.requires_grad_()
    (gradient,) = torch.autograd.grad(discriminator(points).sum(), points, create_graph=True)
    return gradient.square().sum(dim=1).mean()


parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=600)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--width", type=int, default=64)
parser.add_argument("--lr-g", type=float, default=1e-3)
parser.add_argument("--lr-d", type=float, default=1e-3)
parser.add_argument("--r1", type=float, default=0.0, help="weight of the gradient penalty")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--results", default="results.json")
args = parser.parse_args()

torch.manual_seed(args.seed)
data = torch.Generator().manual_seed(args.seed)
generator, discriminator = network(8, 2, args.width), network(2, 1, args.width)
optimizer_g = torch.optim.Adam(generator.parameters(), lr=args.lr_g, betas=(0.5, 0.99))
optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=args.lr_d, betas=(0.5, 0.99))
for step in range(args.steps):
    real, fake = real_points(args.batch, data), generator(torch.randn(args.batch, 8))
    loss_d = softplus(-discriminator(real)).mean() + softplus(discriminator(fake.detach())).mean()
    if args.r1:
        loss_d = loss_d + args.r1 / 2 * r1_penalty(discriminator, real)
    optimizer_d.zero_grad()
    loss_d.backward()
    optimizer_d.step()

    loss_g = softplus(-discriminator(generator(torch.randn(args.batch, 8)))).mean()
    optimizer_g.zero_grad()
    loss_g.backward()
    optimizer_g.step()
    if step % 100 == 0:
        print(f"step {step}: discriminator {loss_d.item():.3f}, generator {loss_g.item():.3f}", flush=True)

held_out = torch.Generator().manual_seed(12345)  # the same points for every seed of the training
with torch.no_grad():
    scores = {
        split: energy_distance(generator(torch.randn(1000, 8, generator=held_out)), real_points(1000, held_out))
        for split in ("val", "test")
    }
with open(args.results, "w") as file:
    json.dump({f"{split}_energy_distance": score for split, score in scores.items()}, file)
print(scores)
