"""A training script as a stranger would write it, which logs to MLflow and knows nothing of ablate."""

import argparse
import random

import mlflow

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--dropout", action="store_true")
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

rng = random.Random(args.seed)
weight = rng.gauss(0, 0.1)
with mlflow.start_run():
    mlflow.log_params(vars(args))
    for epoch in range(1, args.epochs + 1):
        for number in (0.9, 1.1, 1.0, 1.05):
            weight -= args.lr * 2 * (weight - number) * (0.9 if args.dropout and rng.random() < 0.5 else 1.0)
        mlflow.log_metrics({"train_loss": (weight - 0.9) ** 2, "val_loss": (weight - 1) ** 2}, step=epoch)
    mlflow.log_metric("test_loss", (weight - 1.01) ** 2)
    mlflow.log_text(f"{weight!r}\n", "weight.txt")
print(f"weight {weight!r}")
