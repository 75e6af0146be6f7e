"""Milliseconds of a training step, ours against the loop one would write first, and whether both learn as much.

Question     How much faster is the training step of each arm than `nn.TransformerEncoder` in float32 fed by a
             DataLoader, and does the speed cost accuracy?
Command      python benchmarks/train_step.py            (--quick: one arm, a smoke pass)
Cost         about 15 minutes on two quiet cores
Expectation  at least 4 times faster on two cores when both draw fresh views and noise for every step, as training
             does. With data drawn before the clock starts (column "ready", an advantage to the first loop: ours draws
             its own all the same) about 3 times where bfloat16 products are twice as fast as float32 ones
             (AVX512-BF16), more where they are four times as fast (AMX). Equal accuracy after equal epochs

All run in processes of their own and take turns, so that a noisy neighbour disturbs all. The first loop's Dataset
draws one example at a time with the same simulation, so both learn from the same distribution.
"""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from ablate.depth_refinement.data import PoseData, mocap, synthetic
from ablate.depth_refinement.losses import pose_loss
from ablate.depth_refinement.metrics import METRICS
from ablate.depth_refinement.model import PoseNetwork, create_model
from ablate.study import TrainingSettings
from ablate.trainers.builtin.evaluation import predict, score
from ablate.trainers.builtin.loop import Trainer
from ablate.trainers.builtin.optimizers import WarmupCosine

ARMS: dict[str, dict[str, Any]] = {
    "existing": {},
    "existing-2d": {"use_2d_tokens": True},
    "elepose": {"use_elepose": True, "use_existing": False},
    "hybrid": {"use_elepose": True},
}
COLUMNS = "{:12} {:>9} {:>9} {:>8} {:>6} {:>9} {:>6} {:>7} {:>12} {:>9}"
ACCURACY = ("azimuth_mae_deg", "elevation_mae_deg", "mpjpe_mm")


@dataclass(frozen=True)
class Options:
    """What both implementations are given."""

    threads: int
    batch: int
    d_model: int
    num_layers: int
    num_heads: int
    epochs: int
    poses: int
    file: Path | None

    def data(self) -> PoseData:
        device = torch.device("cpu")
        if self.file:
            return mocap(file=self.file, device=device, max_train_poses=self.poses)
        return synthetic(device=device, subjects=max(8, self.poses // 80), poses_per_subject=100)

    def model(self, arm: str) -> PoseNetwork:
        torch.manual_seed(0)
        sizes = {"num_layers": self.num_layers, "num_heads": self.num_heads}
        return create_model(self.d_model, **sizes, **ARMS[arm])


class OwnLoop:
    """This package: bfloat16, products for attention, byte masks, examples simulated at every step."""

    def __init__(self, arm: str, options: Options) -> None:
        self.options, self.network = options, options.model(arm)
        self.trainer = self.make_trainer("bfloat16")
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
        self.endless = itertools.chain.from_iterable(self.trainer.batches(epoch) for epoch in itertools.count())

    def make_trainer(self, precision: Any) -> Trainer:
        settings = TrainingSettings(
            epochs=max(1, self.options.epochs), batch_size=self.options.batch, precision=precision
        )
        cpu = torch.device("cpu")
        return Trainer(
            self.options.data(), pose_loss(), settings, 0, cpu, validate=lambda model: {}, on_epoch=lambda entry: None
        )

    def step(self) -> None:
        batch = next(self.endless)
        self.network.train()
        with self.trainer.autocast():
            output = self.network(batch.inputs)
        loss = self.trainer.loss(output, batch.targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def train(self) -> None:
        self.trainer.run(self.network)

    def flops(self) -> int:
        with FlopCounterMode(display=False) as counter:
            self.step()
        return int(counter.get_total_flops())


class Views(Dataset[tuple[torch.Tensor, ...]]):
    """Training poses as one would first serve them: a fresh view, one example at a time."""

    def __init__(self, data: PoseData, names: tuple[str, ...]) -> None:
        self.data, self.names = data, names
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return self.data.train_size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        inputs, targets = self.data.sample(torch.tensor([index]), generator=self.generator)
        return inputs[0], *(targets[name][0] for name in self.names)


def drawn_once(data: PoseData, names: tuple[str, ...]) -> TensorDataset:
    """One view of every training pose, the same in every epoch."""
    inputs, targets = data.sample(torch.arange(data.train_size), generator=torch.Generator().manual_seed(0))
    return TensorDataset(inputs, *(targets[name] for name in names))


class FirstLoop:
    """The same network by the book: nn.TransformerEncoder, float32, nn.Dropout, AdamW, a Dataset and a DataLoader."""

    make_dataset: Any = Views

    def __init__(self, arm: str, options: Options) -> None:
        self.options, self.network = options, options.model(arm)
        layer = nn.TransformerEncoderLayer(
            options.d_model, options.num_heads, 4 * options.d_model, dropout=0.1, batch_first=True, norm_first=True
        )
        encoder: Any = nn.TransformerEncoder(layer, options.num_layers, enable_nested_tensor=False)
        self.network.encoder.blocks = encoder
        self.network.angle_head.fusion_head[2] = nn.Dropout(0.1)
        self.names = ("azimuth_deg", "elevation_deg", "pose_3d")
        dataset = self.make_dataset(options.data(), self.names)
        self.loader = DataLoader(dataset, batch_size=options.batch, shuffle=True, drop_last=True)
        self.loss = pose_loss()
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3, weight_decay=0.01)
        self.endless = itertools.chain.from_iterable(self.loader for _ in itertools.count())

    def step(self) -> None:
        inputs, *labels = next(self.endless)
        self.network.train()
        loss = self.loss(self.network(inputs), dict(zip(self.names, labels, strict=True)))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()

    def train(self) -> None:
        steps = len(self.loader) * self.options.epochs
        schedule = WarmupCosine(self.optimizer, steps, TrainingSettings(epochs=1).warmup_fraction)
        for _ in range(steps):
            self.step()
            schedule.step()


class ReadyLoop(FirstLoop):
    """The first loop with its examples drawn beforehand: its network and optimiser alone."""

    make_dataset = staticmethod(drawn_once)


LOOPS: dict[str, type[OwnLoop] | type[FirstLoop]] = {"first": FirstLoop, "ready": ReadyLoop, "ours": OwnLoop}


def serve(pipe: Connection, kind: str, arm: str, options: Options) -> None:
    """A worker: does what it is told until told None."""
    torch.set_num_threads(options.threads)
    loop: Any = LOOPS[kind](arm, options)
    while (order := pipe.recv()) is not None:
        started = time.perf_counter()
        result: Any = None
        if order == "train":
            loop.train()
            validation = options.data().examples("val")
            metrics = [METRICS[name] for name in ACCURACY]
            result = score(predict(loop.network, validation.inputs), validation.targets, metrics)
        elif order == "flops":
            result = loop.flops()
        elif order == "products":
            result = products_gflops(options, torch.bfloat16), products_gflops(options, torch.float32)
        else:
            for _ in range(order):
                loop.step()
        pipe.send((time.perf_counter() - started, result))


class Worker:
    """One implementation of one arm in a process of its own."""

    def __init__(self, kind: str, arm: str, options: Options) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, kind, arm, options), daemon=True)
        self.process.start()

    def do(self, order: str | int) -> tuple[float, Any]:
        self.pipe.send(order)
        seconds, result = self.pipe.recv()
        return seconds, result

    def end(self) -> None:
        self.pipe.send(None)
        self.process.join()


def products_gflops(options: Options, dtype: torch.dtype) -> float:
    """GFLOP/s of one block's matrix products, forward and backward, in the shapes of the step."""
    rows, d = options.batch * 17, options.d_model
    operands = []
    for inputs, outputs in ((d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)):
        shapes = ((rows, inputs), (outputs, inputs), (rows, outputs))
        operands.append([torch.randn(shape).to(dtype) for shape in shapes])
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        for x, weight, grad in operands:
            x @ weight.t(), grad @ weight, grad.t() @ x
        best = min(best, time.perf_counter() - started)
    return 6 * rows * sum(w.numel() for _, w, _ in operands) / best / 1e9


def timed(arm: str, options: Options, repetitions: int, steps: int) -> str:
    """One arm's line of the table."""
    workers = {kind: Worker(kind, arm, options) for kind in LOOPS}
    for worker in workers.values():
        worker.do(2)  # first steps allocate and choose algorithms
    times: dict[str, list[float]] = {kind: [] for kind in LOOPS}
    for _ in range(repetitions):
        for kind, worker in workers.items():
            times[kind].append(worker.do(steps)[0] / steps * 1000)
    first, ready, ours = (statistics.median(times[kind]) for kind in ("first", "ready", "ours"))
    ratios = [a / b for a, b in zip(times["first"], times["ours"], strict=True)]
    (_, flops), (_, (rate, plain)) = workers["ours"].do("flops"), workers["ours"].do("products")
    share = flops / rate / 1e6 / ours
    for worker in workers.values():
        worker.end()
    spread = f"{min(ratios):.1f}–{max(ratios):.1f}"
    cells = (
        f"{first:.0f}",
        f"{ready:.0f}",
        f"{ours:.0f}",
        f"{first / ours:.1f}",
        spread,
        f"{ready / ours:.1f}",
        f"{flops / 1e9:.1f}",
        f"{rate:.0f} ({plain:.0f})",
    )
    return COLUMNS.format(arm, *cells, f"{share:.0%}")


def trained(arm: str, options: Options) -> Iterator[str]:
    """Validation scores of both after the same number of epochs from the same initial weights."""
    for kind in ("first", "ours"):
        worker = Worker(kind, arm, options)
        seconds, scores = worker.do("train")
        worker.end()
        values = " ".join(f"{scores[name]:{len(name)}.2f}" for name in ACCURACY)
        yield f"{arm:12} {kind:6} {seconds:8.0f} {values}"


def main(
    arm: Annotated[list[str] | None, typer.Option(help="Arm to time; repeatable. Default: all four.")] = None,
    threads: Annotated[int, typer.Option(help="Torch threads of each implementation.")] = 2,
    batch: int = 384,
    d_model: int = 128,
    num_layers: int = 6,
    num_heads: int = 8,
    repetitions: Annotated[int, typer.Option(help="Turns each implementation takes.")] = 7,
    steps: Annotated[int, typer.Option(help="Steps a turn.")] = 4,
    epochs: Annotated[int, typer.Option(help="Epochs of the accuracy check; 0 leaves it out.")] = 8,
    poses: Annotated[int, typer.Option(help="Training poses of the accuracy check.")] = 8000,
    file: Annotated[Path | None, typer.Option(help="Motion capture .npz. Default: synthetic people.")] = None,
    quick: Annotated[bool, typer.Option(help="A smoke pass: one arm, few steps, few poses.")] = False,
) -> None:
    """Print step times of every arm and, for the first arm, the accuracy of both implementations."""
    arms = arm or list(ARMS)
    if quick:
        arms, batch, repetitions, steps, epochs, poses = arms[-1:], 64, 2, 1, 1, 400
    options = Options(threads, batch, d_model, num_layers, num_heads, epochs, poses, file)
    print(f"batch {batch}, d_model {d_model}, {num_layers} layers, {num_heads} heads, {threads} threads; medians")
    times = ("first ms", "ready ms", "ours ms", "ratio", "range", "ready")
    print(COLUMNS.format("arm", *times, "GFLOP", "GFLOP/s", "of limit"))
    for name in arms:
        print(timed(name, options, repetitions, steps), flush=True)
    print("ready: the first loop on examples drawn before the clock starts, and its ratio; ours draws its own")
    print("GFLOP/s: measured on the step's own matrix products in bfloat16 (float32 in brackets)")
    print("of limit: the time the step's products alone would take at that rate, as a share of our step")
    if epochs:
        print(f"\nvalidation after {epochs} epochs of {poses} poses")
        print(f"{'arm':12} {'loop':6} {'seconds':>8} " + " ".join(ACCURACY))
        for line in trained(arms[0], options):
            print(line, flush=True)


if __name__ == "__main__":
    typer.run(main)
