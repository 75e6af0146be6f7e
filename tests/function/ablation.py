"""A training function as a stranger would write it; its numbers are those of ../script/train.py."""

import json
import random


def train(settings, run):
    numbers = [float(line) for line in run.inputs[0].read_text().split()]
    checkpoint = run.folder / "checkpoint.json"
    if checkpoint.exists():
        done, weight, state = json.loads(checkpoint.read_text())
        random.setstate((state[0], tuple(state[1]), state[2]))
        report(run, done, weight)  # it may have been killed before it could
    else:
        done, weight = 0, random.gauss(0, 0.1)
    for epoch in range(done + 1, run.budget + 1):
        for number in numbers:
            weight -= settings["lr"] * 2 * (weight - number) * (0.9 if dropped(settings) else 1.0)
        part = checkpoint.with_suffix(".part")
        part.write_text(json.dumps([epoch, weight, random.getstate()]))
        part.replace(checkpoint)  # whole or not at all, whenever it is killed
        report(run, epoch, weight)
    if run.phase == "compare":
        errors = [(weight - number) ** 2 for number in numbers]
        run.examples("test", {"loss": errors, "number": numbers, "subject": list(range(len(numbers)))})
    return {"val": {"loss": (weight - 1) ** 2}, "test": {"loss": (weight - 1.01) ** 2}}


def report(run, epoch, weight):
    run.epoch(epoch, {"weight": weight, "val_loss": (weight - 1) ** 2})


def dropped(settings):
    return settings["dropout"] and random.random() < 0.5
