# Question:    How often does the tool call a difference between an arm and its twin when the two are tuned apart?
# Command:     python benchmarks/aa_tuned_apart.py FOLDER [--pairs 200] [--per seed]
# Cost:        8 s a pair with two workers on 2 quiet CPU cores, so half an hour for 200 pairs
# Expectation: with a tuning for every seed a claim in 5 % of the pairs, ±3 points (95 % interval, 200 pairs); with
#              --per arm in more
"""An A/A experiment through the whole tool: real studies, real processes, a real store; the truth is no difference.

    python benchmarks/aa_tuned_apart.py FOLDER [--pairs 200] [--per seed] [--seeds 5] [--trials 3] [--workers 2]

Every pair is a study with one hypothesis, a family of its own. A run trains a small network by NumPy for a fraction of
a second on data of that pair, with the learning rate that its own tuning found on one validation set of 60 examples.
The twin has the same settings and other random streams. Studies and reports lie in FOLDER, and `pairs-….jsonl` there
has a line for every finished pair: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from scipy import stats

import ablate
from ablate.analysis.study_analysis import compare

SEEDS_OF_A_PAIR = 100  # seeds of a pair begin at a multiple of it, so that no run is part of two pairs


def train(settings: dict[str, Any], run: Any) -> dict[str, dict[str, float]]:
    """A network with one hidden layer, by gradient descent in small batches; scores are cross entropies.

    The data is that of the pair, `settings["data"]`; weights and order of the examples are the seed's.
    """
    import numpy as np

    def drawn(rng: Any, count: int) -> tuple[Any, Any]:
        x = rng.standard_normal((count, 8))
        label = (np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.7 * rng.standard_normal(count) > 0).astype(float)
        return x, label

    def hidden(x: Any) -> Any:
        return np.tanh(x @ first + offset)

    def loss(x: Any, label: Any) -> float:
        score = hidden(x) @ second
        return float((np.logaddexp(0, score) - label * score).mean())

    data = np.random.default_rng(settings["data"])
    (x, label), val, test = drawn(data, 400), drawn(data, 60), drawn(data, 2000)
    rng = np.random.default_rng(run.seed)
    first, offset, second = rng.standard_normal((8, 32)) / 3, np.zeros(32), rng.standard_normal(32) / 6
    for epoch in range(1, run.budget + 1):
        for batch in np.array_split(rng.permutation(len(x)), 40):
            inner = hidden(x[batch])
            error = 1 / (1 + np.exp(-(inner @ second))) - label[batch]
            back = np.outer(error, second) * (1 - inner**2)
            second = second - settings["lr"] * (inner.T @ error) / len(batch)
            first = first - settings["lr"] * (x[batch].T @ back) / len(batch)
            offset = offset - settings["lr"] * back.mean(axis=0)
        run.epoch(epoch, {"val_loss": loss(*val)})
    return {"val": {"loss": loss(*val)}, "test": {"loss": loss(*test)}}


def study(pair: int, options: argparse.Namespace) -> dict[str, Any]:
    """The study of a pair of twins, as the content of a study file."""
    first = pair * SEEDS_OF_A_PAIR
    tuning = {
        "trials": options.trials,
        "per": options.per,
        "metric": "val/loss",
        "sampler": "qmc",
        "space": {"run.lr": {"type": "float", "low": 0.02, "high": 2.0, "log": True}},
    }
    if options.per == "arm":
        tuning["seeds"] = [first + SEEDS_OF_A_PAIR - 1]
    return {
        "name": f"aa-{options.per}-{pair:03d}",
        "question": "Does the tool claim a difference between an arm and its twin, which is tuned apart?",
        "baseline": "one",
        "seeds": list(range(first + 1, first + options.seeds + 1)),
        "settings": {"run": {"lr": 0.2, "data": pair, "budget": 30}},
        "metric": {"loss": {"direction": "lower"}},
        "arms": {"one": {}, "twin": {"replicate": 1}},
        "tuning": tuning,
        "hypotheses": [{"arm": "twin", "against": "one", "metric": "loss"}],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--per", choices=("seed", "arm"), default="seed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if not 5 <= options.seeds < SEEDS_OF_A_PAIR - 1:
        parser.error(f"--seeds must be from 5, which a verdict needs, to {SEEDS_OF_A_PAIR - 2}")
    options.folder.mkdir(parents=True, exist_ok=True)
    workspace = ablate.Workspace(
        mlruns=options.folder / "mlruns", reports=options.folder / "reports", workers=options.workers
    )
    finished = options.folder / f"pairs-{options.per}-{options.seeds}-{options.trials}.jsonl"
    done = [json.loads(line) for line in finished.read_text().splitlines()] if finished.exists() else []
    for pair in range(1, options.pairs + 1):
        if any(line["pair"] == pair for line in done):
            continue
        began = time.perf_counter()
        outcome = ablate.run(study(pair, options), train, workspace)
        if not outcome.complete or outcome.results is None:
            sys.exit(f"pair {pair} is not complete: {outcome.errors}")
        (found,) = compare(outcome.results)
        gap = found.effect.difference
        line = {
            "pair": pair,
            "verdict": found.verdict,
            "mean": gap.mean,
            "low": gap.low,
            "high": gap.high,
            "seconds": round(time.perf_counter() - began, 1),
        }
        with finished.open("a") as file:
            file.write(json.dumps(line) + "\n")
        done.append(line)
    report(done[: options.pairs], options.per)


def report(done: list[dict[str, Any]], per: str) -> None:
    """The share of pairs with a claim, and of intervals that hold 0, with exact 95 % intervals."""
    for what, hits in (
        ("false claims", [line["verdict"] in ("supported", "refuted") for line in done]),
        ("coverage", [line["low"] <= 0 <= line["high"] for line in done]),
    ):
        share = stats.binomtest(sum(hits), len(hits)).proportion_ci(0.95)
        print(
            f'tuning.per = "{per}": {what} {sum(hits)} of {len(hits)} pairs, {100 * sum(hits) / len(hits):.1f} % '
            f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"
        )


if __name__ == "__main__":
    main()
