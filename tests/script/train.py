"""A training script as a stranger would write it: it knows nothing of ablate, imports little and ends soon."""

import argparse
import json
import random
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--dropout", action="store_true")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--data", type=Path, default=Path("numbers.txt"))
args = parser.parse_args()

rng = random.Random(args.seed)
numbers = [float(line) for line in args.data.read_text().split()]
weight = rng.gauss(0, 0.1)
for epoch in range(1, args.epochs + 1):
    for number in numbers:
        weight -= args.lr * 2 * (weight - number) * (0.9 if args.dropout and rng.random() < 0.5 else 1.0)
    print(f"epoch {epoch}: weight {weight:.4f}", flush=True)
args.out.write_text(json.dumps({"val_loss": (weight - 1) ** 2, "test_loss": (weight - 1.01) ** 2}))
