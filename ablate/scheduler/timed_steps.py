"""How long the runs of a study of the built-in loop take, before any is finished: by timed steps of every arm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ablate.planning import plan
from ablate.planning.forecast import share
from ablate.scheduler.component_checks import process_state_restored
from ablate.scheduler.loaded_study import LoadedStudy, context_of
from ablate.scheduler.shutdown import Interrupted
from ablate.scheduler.workspace import Workspace, resolve_device


def seconds(loaded: LoadedStudy, workspace: Workspace, cells: Sequence[plan.Cell]) -> float | None:
    """Seconds that these cells train, one after another; None where an arm cannot be timed. Call it as `build_all`."""
    if loaded.study.trainer != "built-in" or workspace.scheduler is not None:
        return None
    import torch

    from ablate.trainers.builtin.timing import training_seconds

    of_arm: dict[str, float] = {}
    dtype = torch.get_default_dtype()
    with process_state_restored(workspace.working_folder), torch.random.fork_rng(devices=[]):
        device = resolve_device(workspace.device)
        context = context_of(loaded, workspace, Path(), Path())
        for arm in {cell.arm for cell in cells}:
            torch.set_default_dtype(dtype)  # an arm may set it for itself
            spec = plan.compare_spec(loaded.study, arm, loaded.study.seeds[0], data_digest=loaded.digests[arm])
            try:
                timed = training_seconds(spec, context, torch.device(device))
            except Interrupted:  # Ctrl-C
                raise
            except BaseException:  # the check before has told what is wrong with components
                return None
            of_arm[arm] = timed or 0.0  # fitted, which takes no steps
    torch.set_default_dtype(dtype)
    return sum(of_arm[cell.arm] * share(loaded.study, cell.phase) for cell in cells)
