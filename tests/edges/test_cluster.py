"""The executor over a real scheduler and real worker processes: files, progress, stops, and workers that die."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_cluster
from filelock import FileLock
from toy_cluster import Cluster, Place, spec
from toy_project import wait_until

from ablate.edges import cluster, cluster_worker, parcels
from ablate.edges.cluster_executor import ClusterExecutor
from ablate.edges.engines import WorkerLost
from ablate.runs.halts import Stopped, Unavailable
from ablate.study import InputError, RunResult, RunSpec

PATIENCE_S = 60


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler; tests add the workers they need and end them."""
    with Cluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(dask: Cluster) -> Cluster:
    """Two workers that no test ends."""
    return dask.add(2)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.create(tmp_path)


def cell(executor: ClusterExecutor, what: RunSpec, place: Place) -> Future[RunResult]:
    return executor.submit(toy_cluster.execute, what, place)


def error_of(future: Future[Any]) -> BaseException | None:
    return future.exception(timeout=PATIENCE_S)


class TestParcels:
    def test_a_folder_comes_back_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "c").write_bytes(b"\0\xff")
        (tmp_path / "d").write_bytes(b"")
        (tmp_path / "link").symlink_to("/etc/passwd")
        packed = parcels.pack(tmp_path)
        assert packed == {"a/b/c": b"\0\xff", "d": b""}
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "old").touch()
        assert parcels.pack(parcels.unpack(packed, tmp_path / "new")) == packed

    @pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", ".", "a\\..\\x", "a\0b"])
    def test_a_path_that_leaves_the_folder_is_refused_before_anything_is_written(
        self, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(ValueError, match="no path below"):
            parcels.unpack({"fine": b"", name: b"x"}, tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_folders_that_nobody_came_back_to_are_removed(tmp_path: Path) -> None:
    homes = [tmp_path / "study" / name for name in ("old", "new", "locked")]
    for home in homes:
        (home / "cell").mkdir(parents=True)
        (home / "cell" / "checkpoint").touch()
        age = 10 if home.name == "new" else 40
        for path in (home / "cell" / "checkpoint", home / "cell"):
            os.utime(path, (then := time.time() - age * 86400, then))
    with FileLock(homes[2] / "lock"):
        cluster_worker.sweep(tmp_path)
    assert [home.exists() for home in homes] == [False, True, True]


@pytest.mark.usefixtures("pair")
class TestCells:
    def test_files_and_progress_appear_as_from_a_local_process(self, dask: Cluster, place: Place) -> None:
        with cluster.dask_cluster(0, address=dask.address) as pool:
            result = cell(pool, spec(seed=7), place).result(PATIENCE_S)
        assert result.status == "FINISHED"
        assert result.artifacts == place.folder(spec(seed=7)) / "out"
        assert parcels.pack(result.artifacts) == {"model/weights": bytes(range(7)) * 100, "run.log": b"a-seed7"}
        assert place.log_file(spec(seed=7)).read_text() == "a-seed7"
        lines = (place.folder(spec(seed=7)) / "progress.jsonl").read_text().splitlines()
        assert lines == ['{"epoch": 1.0, "val/error": 7.0}', '{"epoch": 2.0, "val/error": 3.5}', lines[2]]

    def test_progress_comes_while_the_cell_is_at_work_and_its_folder_there_goes_when_ours_does(
        self, dask: Cluster, place: Place
    ) -> None:
        what = spec("waits")
        with cluster.dask_cluster(0, address=dask.address) as pool:
            future = cell(pool, what, place)
            progress = place.folder(what) / "progress.jsonl"
            wait_until(lambda: progress.exists() and '"epoch": 1.0' in progress.read_text())
            assert future.running()
            (place.shared / "go").touch()
            assert future.result(PATIENCE_S).status == "FINISHED"
            kept = list(dask.folder.glob(f"work/*/*/{place.folder(what).name}"))
            assert len(kept) == 1
            parcels.unpack({}, place.folder(what))
            place.folder(what).rmdir()  # recorded
            wait_until(lambda: not kept[0].exists())

    def test_what_a_cell_raises_arrives(self, dask: Cluster, place: Place) -> None:
        with cluster.dask_cluster(0, address=dask.address) as pool:
            full, raises = cell(pool, spec("full"), place), cell(pool, spec("raises"), place)
            assert str(error_of(full)) == "No space left on device: here"
            assert type(error_of(full)) is Unavailable
            assert type(error_of(raises)) is OSError

    def test_the_stop_file_reaches_the_cell_at_work_and_the_one_that_waits(self, dask: Cluster, place: Place) -> None:
        with cluster.dask_cluster(0, address=dask.address) as pool:
            flying = [cell(pool, spec("waits", seed), place) for seed in (1, 2, 3)]
            wait_until(lambda: sum(future.running() for future in flying) == 2)
            place.work.mkdir(parents=True, exist_ok=True)
            place.stop_file.touch()
            assert [type(error_of(future)) for future in flying] == [Stopped] * 3

    def test_a_cell_whose_driver_is_gone_stops(self, dask: Cluster, place: Place) -> None:
        with cluster.dask_cluster(0, address=dask.address) as pool:
            future = cell(pool, spec("waits"), place)
            wait_until(future.running)
        wait_until((place.shared / "stopped").exists)

    def test_an_errand_takes_its_folder_along(self, dask: Cluster, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"12345")
        with cluster.dask_cluster(1, address=dask.address) as pool:
            assert pool.submit(toy_cluster.size, tmp_path, factor=3).result(PATIENCE_S) == 15

    def test_as_many_slots_as_asked_for_or_one_more_than_there_are_workers(self, dask: Cluster) -> None:
        present = len(dask.present())
        for asked, slots in ((5, 5), (0, present + 1)):
            with cluster.dask_cluster(asked, address=dask.address) as pool:
                assert pool.slots == slots


class TestLostWorkers:
    def test_the_cell_comes_back_at_once_and_may_be_sent_again(
        self, dask: Cluster, pair: Cluster, place: Place
    ) -> None:
        what = spec("waits")
        dask.add(1)
        with cluster.dask_cluster(0, address=dask.address) as pool:
            future = cell(pool, what, place)
            os.kill(_pid(place, what), signal.SIGKILL)
            assert type(error_of(future)) is WorkerLost
            (place.shared / "go").touch()
            assert cell(pool, what, place).result(PATIENCE_S).status == "FINISHED"
        assert (place.shared / "begun").read_text().splitlines() == [what.name] * 2  # not a third time, by Dask

    def test_a_hanging_worker_is_ended_and_its_nanny_starts_another(self, tmp_path: Path, place: Place) -> None:
        what = spec("hangs")
        with Cluster(tmp_path) as alone:
            alone.add(1, nanny=True)
            with cluster.dask_cluster(0, address=alone.address) as pool:
                future = cell(pool, what, place)
                pid = _pid(place, what)
                pool.end(future)
                assert type(error_of(future)) is WorkerLost
                assert cell(pool, spec(seed=2), place).result(PATIENCE_S).status == "FINISHED"
        assert _pid(place, spec(seed=2)) != pid

    def test_a_frozen_worker_holds_up_neither_the_others_nor_the_end(self, tmp_path: Path, place: Place) -> None:
        with Cluster(tmp_path) as pair:
            pair.add(2)
            with cluster.dask_cluster(0, address=pair.address) as pool:
                recorded = [cell(pool, spec(seed=seed), place) for seed in (1, 2, 3, 4)]
                for future in recorded:
                    shutil.rmtree(future.result(PATIENCE_S).artifacts.parent)  # which its worker is to hear of
                left, right = [cell(pool, spec("waits", seed), place) for seed in (5, 6)]
                os.kill(_pid(place, spec("waits", 5)), signal.SIGSTOP)
                wait_until(right.running)
                place.stop_file.touch()
                assert type(error_of(right)) is Stopped
                began = time.monotonic()
                pool.end(left)
                assert type(error_of(left)) is WorkerLost
            assert time.monotonic() - began < 30

    def test_a_worker_told_to_leave_hands_its_cell_on(self, tmp_path: Path, place: Place) -> None:
        """As a batch system does before it takes the machine away: SIGTERM."""
        what = spec("waits")
        with Cluster(tmp_path) as pair:
            pair.add(1, nanny=True)
            with cluster.dask_cluster(0, address=pair.address) as pool:
                future = cell(pool, what, place)
                pid = _pid(place, what)
                pair.add(1)
                pair.workers[0].terminate()
                wait_until((place.shared / "stopped").exists)
                wait_until(lambda: _pid(place, what) != pid)
                (place.shared / "go").touch()
                assert future.result(PATIENCE_S).status == "FINISHED"
        lines = (place.folder(what) / "progress.jsonl").read_text().splitlines()
        assert len(lines) == 3  # although both workers told the first

    def test_no_worker_left_is_noticed_and_waited_out(self, tmp_path: Path, place: Place) -> None:
        with Cluster(tmp_path) as alone:
            alone.add(1)
            with cluster.dask_cluster(0, address=alone.address) as pool:
                lost = cell(pool, spec("waits"), place)
                wait_until(lost.running)
                alone.workers[0].kill()
                assert type(error_of(lost)) is WorkerLost
                again = cell(pool, spec(seed=2), place)
                alone.add(1)
                assert again.result(PATIENCE_S).status == "FINISHED"

    def test_a_scheduler_that_comes_back_is_used_again(self, tmp_path: Path, place: Place) -> None:
        with Cluster(tmp_path) as alone:
            alone.add(1)
            with cluster.dask_cluster(0, address=alone.address) as pool:
                future = cell(pool, spec("waits"), place)
                wait_until(future.running)
                alone.stop_scheduler()
                assert type(error_of(future)) is Unavailable
                assert type(error_of(cell(pool, spec(), place))) is Unavailable
                alone.start_scheduler()
                alone.add(1)
                assert cell(pool, spec(), place).result(PATIENCE_S).status == "FINISHED"


def _pid(place: Place, what: RunSpec) -> int:
    """Of the worker at a cell, once it has begun."""
    file = place.shared / f"pid-{what.name}"
    wait_until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


class TestCheck:
    """What is looked at before anything is created."""

    def check(self, address: str, device: str = "auto", *, of: RunSpec | None = None, place: Any = None) -> list[str]:
        told: list[str] = []
        told.append(cluster.check(address, device, [of or spec()], place, told.append))
        return told

    @pytest.mark.parametrize(
        "address", ["", "8786", "127.0.0.1:8786", "http://127.0.0.1:80", "tcp://127.0.0.1", "tcp://a b:1"]
    )
    def test_what_is_no_address(self, address: str, place: Place) -> None:
        with pytest.raises(InputError, match="must be the address of a Dask scheduler"):
            self.check(address, place=place)

    def test_a_password_in_it_is_not_shown(self, place: Place) -> None:
        with pytest.raises(InputError, match="must be the address") as caught:
            self.check("tcp://me:s3cr3t@127.0.0.1:8786", place=place)
        assert "s3cr3t" not in str(caught.value)

    def test_nobody_there(self, place: Place) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            address = f"tcp://127.0.0.1:{reserved.getsockname()[1]}"
            with pytest.raises(InputError, match="no Dask scheduler answers"):
                self.check(address, place=place)

    def test_somebody_else_there(self, place: Place) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_greet, args=(server,), daemon=True).start()
            with pytest.raises(InputError, match="no Dask scheduler answers"):
                self.check(f"tcp://127.0.0.1:{server.getsockname()[1]}", place=place)

    def test_a_scheduler_that_ends_while_its_workers_are_asked(
        self, tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Cluster(tmp_path) as alone:
            alone.add(1)
            needs_of = cluster.needs_of

            def slowly(*args: Any, **options: Any) -> Any:
                alone.stop_scheduler()
                return needs_of(*args, **options)

            monkeypatch.setattr(cluster, "needs_of", slowly)
            with pytest.raises(InputError, match="stopped answering while its workers were asked"):
                self.check(alone.address, place=place)

    def test_fit_workers(self, dask: Cluster, pair: Cluster, place: Place) -> None:
        assert self.check(dask.address, place=place) == ["cpu"]
        assert self.check(dask.address, "cuda", place=place) == [
            "no worker for cuda is there yet; the cells wait for one",
            "cuda",
        ]
        with pytest.raises(InputError, match="no device"):
            self.check(dask.address, "tpu", place=place)

    def test_unfit_workers_are_named_with_all_that_is_wrong(self, tmp_path: Path, place: Place) -> None:
        (tmp_path / "torch-1.0.dist-info").mkdir()
        (tmp_path / "torch-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
        (tmp_path / "toy_cells.py").write_text("def nothing(output): ...\n")
        (tmp_path / "houses").write_text("others")
        (tmp_path / "without.py").write_text("import sys\nsys.modules['ablate'] = None\n")
        what, elsewhere = spec(file="houses"), f"{tmp_path}:{toy_cluster.TESTS}"
        with Cluster(tmp_path) as odd:
            odd.add(1, PYTHONPATH=elsewhere)
            odd.add(1, "--preload", str(tmp_path / "without.py"))
            with pytest.raises(InputError) as refused:
                self.check(odd.address, place=place, of=what)
            odd.workers[1].kill()
            with cluster.dask_cluster(1, address=odd.address) as pool:  # one that came later is told by a cell
                late = error_of(cell(pool, what, place))
        assert type(late) is Unavailable
        for text in (str(refused.value), str(late)):
            assert re.search(r"has torch 1\.0, the driver \d", text)
            assert re.search(r"has another .*houses than the driver", text)
            assert "has other source code of toy_cells or of ablate than the driver" in text
        assert "cannot run cells (ModuleNotFoundError" in str(refused.value)

    def test_runs_for_a_gpu_go_to_workers_that_offer_one(self, tmp_path: Path, place: Place) -> None:
        with Cluster(tmp_path) as mixed:
            mixed.add(1).add(1, "--resources", "GPU=1")
            assert self.check(mixed.address, place=place) == ["cuda"]
            with cluster.dask_cluster(0, address=mixed.address, device="cuda") as pool:
                assert pool.slots == 2  # one worker, and one more
                cells = [cell(pool, spec(seed=seed), place) for seed in range(1, 6)]
                assert {future.result(PATIENCE_S).status for future in cells} == {"FINISHED"}
                assert [path.name for path in (tmp_path / "work").iterdir()] == ["w1"]

    def test_data_are_compared_by_content(self, dask: Cluster, pair: Cluster, place: Place) -> None:
        (place.study_dir / "houses").write_text("mine")
        what = replace(spec(file="houses"), data_digest=hashlib.sha256(b"mine").hexdigest())
        assert self.check(dask.address, of=what, place=place) == ["cpu"]
        other = replace(what, data_digest=hashlib.sha256(b"others").hexdigest())
        with pytest.raises(InputError, match=r"has another .*houses than the driver"):
            self.check(dask.address, of=other, place=place)


def _greet(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"220 mail.example.org ESMTP\r\n")
            time.sleep(0.5)
