"""How long a run will train, by a few timed steps. What is trained is thrown away."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from ablate.study import RunSpec, TrainingSettings
from ablate.trainers.builtin.run import FirstExamples, build, make_trainer
from ablate.trainers.context import Context
from ablate.trainers.contract import Fits

EPOCHS = 4  # of one step each; the first also prepares the optimizer and is not timed


def training_seconds(spec: RunSpec, context: Context, device: torch.device) -> float | None:
    """Seconds of all steps of the run on this device, with its number of threads; None for a model that fits itself.

    Validation, evaluation and recording come on top of it. Raises what components raise.
    """
    training = TrainingSettings(**spec.settings["training"])
    threads = torch.get_num_threads()
    torch.set_num_threads(training.threads)
    try:
        data, model, loss, built = build(spec, context, device)
        if isinstance(model, Fits):
            return None
        steps = make_trainer(built, data, loss, [], device, lambda entry: None).steps_per_epoch
        section = {**built.settings["training"], "epochs": EPOCHS}
        one_step = replace(built, settings={**built.settings, "training": section})
        ends: list[float] = []
        few = FirstExamples(data, training.batch_size)
        make_trainer(one_step, few, loss, [], device, lambda entry: ends.append(time.perf_counter())).run(model)
    finally:
        torch.set_num_threads(threads)
    return (ends[-1] - ends[0]) / (EPOCHS - 1) * steps * int(built.settings["training"]["epochs"])
