"""A study whose workers are SLURM jobs of their own: they come as the queue lets them, and go when nothing is left.

    python slurm_jobqueue.py studies/mine.toml --jobs 20

Runs where it may stay for the length of the study: a login node that allows it, or a small job. Started again, it goes
on. What it does not know goes to `ablate run`.
"""

import argparse
import subprocess
import sys

from dask_jobqueue import SLURMCluster

NO_PAGE = ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]


def main() -> int:
    """Start the scheduler here, ask for workers, and run the study on them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--jobs", type=int, default=8, help="most workers at once")
    parser.add_argument("--threads", type=int, default=1, help="cores of a worker: `threads` of the study")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--walltime", default="12:00:00")
    parser.add_argument("--queue")
    parser.add_argument("--account")
    parser.add_argument("--host", help="address of this machine that the nodes reach; default: found out")
    parser.add_argument("--gpu", action="store_true", help="one GPU a worker")
    mine, rest = parser.parse_known_args()
    with SLURMCluster(
        cores=1,
        processes=1,
        job_cpu=mine.threads,
        memory=mine.memory,
        walltime=mine.walltime,
        queue=mine.queue,
        account=mine.account,
        job_extra_directives=["--gres=gpu:1"] if mine.gpu else [],
        job_script_prologue=["export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False"],
        worker_extra_args=["--memory-limit", "0", *NO_PAGE, *(["--resources", "GPU=1"] if mine.gpu else [])],
        scheduler_options={
            "dashboard": False,
            "dashboard_address": "127.0.0.1:0",
            **({"host": mine.host} if mine.host else {}),
        },
    ) as cluster:
        cluster.adapt(minimum_jobs=0, maximum_jobs=mine.jobs)
        command = [sys.executable, "-m", "ablate", "run", mine.study, "--scheduler", cluster.scheduler_address]
        command += ["--workers", str(mine.jobs), *rest]
        return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
