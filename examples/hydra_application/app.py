"""Fit a noisy spiral with a small network. A Hydra application: `python app.py model.width=64 optimizer.lr=0.1`."""

import json
from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig
from torch import nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


def spiral(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (count, 2) on two arms of a spiral and the arm (count,) that each is on."""
    arm = torch.randint(2, (count,), generator=generator)
    t = 0.3 + torch.rand(count, generator=generator)
    angle = 7 * t + torch.pi * arm
    points = t[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
    return points + 0.08 * torch.randn(count, 2, generator=generator), arm


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> None:
    torch.manual_seed(cfg.seed)
    generator = torch.Generator().manual_seed(0)
    train, val, test = (spiral(count, generator) for count in (300, 500, 500))
    activation = ACTIVATIONS[cfg.model.activation]
    width = cfg.model.width
    model = nn.Sequential(nn.Linear(2, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg.optimizer.lr, momentum=cfg.optimizer.momentum)
    for _ in range(cfg.steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(train[0]), train[1]).backward()
        optimizer.step()
    with torch.no_grad():
        accuracy = {
            f"{name}_accuracy": (model(points).argmax(1) == arm).float().mean().item()
            for name, (points, arm) in (("val", val), ("test", test))
        }
    Path(cfg.results).write_text(json.dumps(accuracy))


if __name__ == "__main__":
    main()
