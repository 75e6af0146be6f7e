"""The executor over a real scheduler and real worker processes: files, progress, stops, and workers that die."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import toy_cluster
from distributed import Client
from filelock import FileLock
from toy_cluster import Cluster, Place, cells_on, spec
from toy_project import wait_until

from ablate.executors.dask import cluster
from ablate.executors.dask.worker import packed, unpacked
from ablate.executors.local import CanEndCell, HasSlots, WorkerLost
from ablate.scheduler.running_cell import RunningCell
from ablate.scheduler.scheduler import LOST
from ablate.study import InputError, RunResult, RunSpec
from ablate.trainers.errors import Stopped, Unavailable

PATIENCE_S = 500


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler; tests add the workers they need and end them."""
    with Cluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture(scope="module")
def pair(dask: Cluster) -> Cluster:
    """Two workers that no test ends."""
    return dask.add(2)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A worker that does not see the driver's work folder."""
    with Cluster(tmp_path_factory.mktemp("apart")) as running:
        yield running.add_elsewhere()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("empty")) as running:
        yield running


@pytest.fixture
def own(empty: Cluster) -> Iterator[Cluster]:
    """A scheduler without workers; those that a test adds end with it."""
    yield empty
    empty.end_workers()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.create(tmp_path)


def cell(executor: Executor, what: RunSpec, place: Place) -> Future[RunResult]:
    return executor.submit(toy_cluster.execute, what, place)


def error_of(future: Future[Any]) -> BaseException | None:
    return future.exception(timeout=PATIENCE_S)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestFoldersAsBytes:
    def test_a_folder_comes_back_as_it_was(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "b" / "c").write_bytes(b"\0\xff")
        (tmp_path / "d").write_bytes(b"")
        os.utime(tmp_path / "d", (0, 0))  # a zip knows no time before 1980
        (tmp_path / "link").symlink_to("/etc/passwd")
        assert contents(unpacked(packed(tmp_path), tmp_path / "new")) == {"a/b/c": b"\0\xff", "d": b""}

    @pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x"])
    def test_a_path_that_leaves_the_folder_stays_within_it(self, tmp_path: Path, name: str) -> None:
        with zipfile.ZipFile(content := io.BytesIO(), "w") as archive:
            archive.writestr(name, b"x")
        unpacked(content.getvalue(), tmp_path / "a" / "b" / "new")
        assert all(path.startswith("a/b/new/") for path in contents(tmp_path))


@pytest.mark.usefixtures("pair")
class TestCells:
    """On workers that see the driver's work folder."""

    def test_files_and_progress_appear_as_from_a_local_process(self, dask: Cluster, place: Place) -> None:
        with cells_on(dask.address) as pool:
            result = cell(pool, spec(seed=7), place).result(PATIENCE_S)
        assert result.status == "FINISHED"
        assert result.artifacts == place.folder(spec(seed=7)) / "out"
        assert contents(result.artifacts) == {"model/weights": bytes(range(7)) * 100, "run.log": b"a-seed7"}
        lines = (place.folder(spec(seed=7)) / "progress.jsonl").read_text().splitlines()
        assert lines == ['{"epoch": 1.0, "val/error": 7.0}', '{"epoch": 2.0, "val/error": 3.5}', lines[2]]
        assert [path.name for path in place.work.iterdir()] == [place.folder(spec(seed=7)).name]  # no probe is left

    def test_progress_comes_while_the_cell_is_at_work(self, dask: Cluster, place: Place) -> None:
        what = spec("waits")
        with cells_on(dask.address) as pool:
            future = cell(pool, what, place)
            progress = place.folder(what) / "progress.jsonl"
            wait_until(lambda: progress.exists() and '"epoch": 1.0' in progress.read_text())
            assert future.running()
            (place.traces / "go").touch()
            assert future.result(PATIENCE_S).status == "FINISHED"

    def test_what_a_cell_raises_arrives(self, dask: Cluster, place: Place) -> None:
        with cells_on(dask.address) as pool:
            full, raises = cell(pool, spec("full"), place), cell(pool, spec("raises"), place)
            assert str(error_of(full)) == "No space left on device: here"
            assert type(error_of(full)) is Unavailable
            assert type(error_of(raises)) is OSError

    def test_the_stop_file_reaches_the_cell_at_work_and_the_one_that_waits(self, dask: Cluster, place: Place) -> None:
        with cells_on(dask.address) as pool:
            cells = [cell(pool, spec("waits", seed), place) for seed in (1, 2, 3)]
            wait_until(lambda: sum(future.running() for future in cells) == 2)
            place.work.mkdir(parents=True, exist_ok=True)
            place.stop_file.touch()
            assert [type(error_of(future)) for future in cells] == [Stopped] * 3

    def test_a_cell_whose_driver_is_gone_stops(self, dask: Cluster, place: Place) -> None:
        with cells_on(dask.address) as pool:
            future = cell(pool, spec("waits"), place)
            wait_until(future.running)
            _pid(place, spec("waits"))
        wait_until((place.traces / "stopped").exists)

    def test_two_cells_are_never_at_work_in_one_folder(self, dask: Cluster, place: Place) -> None:
        """The first may be left from a driver that was killed, and take seconds to stop."""
        what = spec()
        place.folder(what).mkdir(parents=True)
        with cells_on(dask.address) as pool:
            with FileLock(place.folder(what) / "lock"):
                future = cell(pool, what, place)
                wait_until(future.running)
                assert not (place.traces / "begun").exists()
            assert future.result(PATIENCE_S).status == "FINISHED"

    def test_a_call_takes_the_contents_of_its_folder_along(self, dask: Cluster, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"12345")
        with cells_on(dask.address, 1) as pool:
            assert pool.submit(toy_cluster.size, tmp_path, factor=3).result(PATIENCE_S) == 15

    def test_as_many_slots_as_asked_for_or_one_more_than_there_are_workers(self, dask: Cluster) -> None:
        present = len(dask.present())
        for asked, slots in ((5, 5), (0, present + 1)):
            with cells_on(dask.address, asked) as pool:
                assert isinstance(pool, HasSlots)
                assert pool.slots == slots


class TestApart:
    """On a worker that does not see the driver's work folder."""

    def test_a_sign_of_life_meanwhile_and_the_files_at_the_end(self, apart: Cluster, place: Place) -> None:
        what = spec("waits", 7)
        with cells_on(apart.address) as pool:
            future = cell(pool, what, place)
            progress = place.folder(what) / "progress.jsonl"
            wait_until(progress.exists)
            before = progress.stat().st_mtime_ns
            wait_until(lambda: progress.stat().st_mtime_ns > before)
            assert future.running()
            assert contents(place.folder(what)) == {"progress.jsonl": b""}
            (place.traces / "go").touch()
            result = future.result(PATIENCE_S)
        assert result.artifacts == place.folder(what) / "out"
        assert contents(result.artifacts) == {"model/weights": bytes(range(7)) * 100, "run.log": b"a-seed7"}
        assert place.log_file(what).read_text() == "a-seed7"
        wait_until(lambda: not list(apart.folder.rglob("progress.jsonl")))

    def test_the_stop_file_reaches_it(self, apart: Cluster, place: Place) -> None:
        with cells_on(apart.address) as pool:
            future = cell(pool, spec("waits"), place)
            wait_until(future.running)
            place.stop_file.touch()
            assert type(error_of(future)) is Stopped

    def test_a_cell_that_hangs_when_its_driver_is_gone_is_ended(self, apart: Cluster, place: Place) -> None:
        with cells_on(apart.address) as pool:
            cell(pool, spec("hangs"), place)
            _pid(place, spec("hangs"))
        with cells_on(apart.address) as pool:
            assert cell(pool, spec(seed=2), place).result(PATIENCE_S).status == "FINISHED"


class TestLostWorkers:
    def test_the_cell_comes_back_at_once_and_may_be_sent_again(
        self, dask: Cluster, pair: Cluster, place: Place
    ) -> None:
        what = spec("waits")
        dask.add(1)
        with cells_on(dask.address) as pool:
            future = cell(pool, what, place)
            _worker_at(dask, place, what).kill()
            assert type(error_of(future)) is WorkerLost
            (place.traces / "go").touch()
            assert cell(pool, what, place).result(PATIENCE_S).status == "FINISHED"
        assert len((place.traces / "begun").read_text().splitlines()) == 2  # not a third time, by Dask

    def test_a_worker_that_dies_with_the_finished_result(
        self, own: Cluster, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After the task has finished and before the driver has fetched what it returned."""
        gather = Client._gather

        async def late_gather(self: Client, *args: Any, **options: Any) -> Any:
            if own.workers[0].poll() is None:
                own.workers[0].kill()
                own.workers[0].wait()
            return await gather(self, *args, **options)

        own.add(1)
        monkeypatch.setattr(Client, "_gather", late_gather)
        with cells_on(own.address) as pool:
            future = cell(pool, spec(), place)
            wait_until(lambda: own.workers[0].poll() is not None)
            own.add(1)
            assert type(error_of(future)) is WorkerLost
            assert cell(pool, spec(), place).result(PATIENCE_S).status == "FINISHED"

    def test_the_process_of_a_cell_that_dies_takes_no_worker_along(
        self, dask: Cluster, pair: Cluster, place: Place
    ) -> None:
        with cells_on(dask.address) as pool:
            future = cell(pool, spec("waits"), place)
            os.kill(_pid(place, spec("waits")), signal.SIGKILL)
            assert isinstance(error_of(future), LOST)
            assert _worker_at(dask, place, spec("waits")).poll() is None

    def test_a_hanging_cell_is_ended_and_its_worker_goes_on(self, own: Cluster, place: Place) -> None:
        what = spec("hangs")
        own.add(1, nanny=True)
        with cells_on(own.address) as pool:
            future = cell(pool, what, place)
            pid = _pid(place, what)
            assert isinstance(pool, CanEndCell)
            pool.end(future)
            assert type(error_of(future)) is WorkerLost
            assert cell(pool, spec(seed=2), place).result(PATIENCE_S).status == "FINISHED"
            assert not Path(f"/proc/{pid}").exists()

    def test_a_frozen_worker_holds_up_neither_the_others_nor_the_end(self, own: Cluster, place: Place) -> None:
        own.add(2)
        with cells_on(own.address) as pool:
            left, right = [cell(pool, spec("waits", seed), place) for seed in (5, 6)]
            _worker_at(own, place, spec("waits", 5)).send_signal(signal.SIGSTOP)
            wait_until(right.running)
            _pid(place, spec("waits", 6))
            place.stop_file.touch()
            assert type(error_of(right)) is Stopped
            assert isinstance(pool, CanEndCell)
            began = time.monotonic()
            pool.end(left)
            assert type(error_of(left)) is WorkerLost
        assert time.monotonic() - began < PATIENCE_S  # it is frozen for good

    def test_a_worker_told_to_leave_hands_its_cell_on(self, own: Cluster, place: Place) -> None:
        """As a batch system does before it takes the machine away: SIGTERM."""
        what = spec("waits")
        own.add(1, nanny=True)
        with cells_on(own.address) as pool:
            future = cell(pool, what, place)
            pid = _pid(place, what)
            own.add(1)
            own.workers[0].terminate()
            wait_until((place.traces / "stopped").exists)
            wait_until(lambda: _pid(place, what) != pid)
            (place.traces / "go").touch()
            assert future.result(PATIENCE_S).status == "FINISHED"
        lines = (place.folder(what) / "progress.jsonl").read_text().splitlines()
        assert len(lines) == 3  # although both workers told the first

    def test_no_worker_left_is_no_fault_of_the_cell_and_waited_out(self, own: Cluster, place: Place) -> None:
        what = spec("waits")
        own.add(1)
        with cells_on(own.address) as pool:
            lost = cell(pool, what, place)
            wait_until(lost.running)
            _pid(place, what)
            own.workers[0].kill()
            wait_until(lambda: not lost.running())
            waiting = RunningCell(what, "", place.folder(what) / "progress.jsonl")
            before = waiting.last_sign_of_life
            for _ in range(2):  # the second time its file has not changed
                waiting.update_sign_of_life(running=lost.running())
                assert waiting.last_sign_of_life > before
                before = waiting.last_sign_of_life
            again = cell(pool, spec(seed=2), place)
            own.add(1)
            assert type(error_of(lost)) is WorkerLost
            assert again.result(PATIENCE_S).status == "FINISHED"

    def test_a_scheduler_that_comes_back_is_used_again(self, tmp_path: Path, place: Place) -> None:
        with Cluster(tmp_path) as alone:
            alone.add(1)
            with cells_on(alone.address) as pool:
                future = cell(pool, spec("waits"), place)
                wait_until(future.running)
                alone.stop_scheduler()
                assert type(error_of(future)) is Unavailable
                assert type(error_of(cell(pool, spec(), place))) is Unavailable
                alone.start_scheduler()
                alone.add(1)
                assert cell(pool, spec(), place).result(PATIENCE_S).status == "FINISHED"


def _worker_at(dask: Cluster, place: Place, what: RunSpec) -> subprocess.Popen[bytes]:
    """The worker at a cell, once the cell has begun there."""
    _pid(place, what)
    names = dict(line.split() for line in (place.traces / "begun").read_text().splitlines())
    return dask.workers[int(names[what.name].removeprefix("w"))]


def _pid(place: Place, what: RunSpec) -> int:
    """Of the process of a cell, once it has begun."""
    file = place.traces / f"pid-{what.name}"
    wait_until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


class TestCheck:
    """The checks before anything is created."""

    def check(self, address: str, device: str = "auto", *, of: RunSpec | None = None, place: Any = None) -> list[str]:
        messages: list[str] = []
        messages.append(cluster.check(address, device, [of or spec()], place, messages.append))
        return messages

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

    def test_nobody_there(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
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

    def test_unfit_workers_are_named_with_all_that_is_wrong(self, own: Cluster, tmp_path: Path, place: Place) -> None:
        (tmp_path / "torch-1.0.dist-info").mkdir()
        (tmp_path / "torch-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
        (tmp_path / "toy_cells.py").write_text("def nothing(output): ...\n")
        (tmp_path / "houses").write_text("others")
        (tmp_path / "without.py").write_text("import sys\nsys.modules['ablate'] = None\n")
        what, elsewhere = spec(file="houses"), f"{tmp_path}:{toy_cluster.TESTS}"
        own.add(1, PYTHONPATH=elsewhere)
        own.add(1, "--preload", str(tmp_path / "without.py"))
        with pytest.raises(InputError) as refused:
            self.check(own.address, place=place, of=what)
        own.workers[1].kill()
        with cells_on(own.address, 1) as pool:  # one that came later is told by a cell
            late = error_of(cell(pool, what, place))
        assert type(late) is Unavailable
        for text in (str(refused.value), str(late)):
            assert re.search(r"has torch 1\.0, the driver \d", text)
            assert re.search(r"has another .*houses than the driver", text)
            assert "has other source code of toy_cells or of ablate than the driver" in text
        assert "cannot run cells (ModuleNotFoundError" in str(refused.value)

    def test_runs_for_a_gpu_go_to_workers_that_offer_one(self, own: Cluster, place: Place) -> None:
        own.add(1).add(1, "--resources", "GPU=1")
        assert self.check(own.address, place=place) == ["cuda"]
        with cells_on(own.address, device="cuda") as pool:
            assert isinstance(pool, HasSlots)
            assert pool.slots == 2  # one worker, and one more
            cells = [cell(pool, spec(seed=seed), place) for seed in range(1, 6)]
            assert {future.result(PATIENCE_S).status for future in cells} == {"FINISHED"}
            assert {line.split()[1] for line in (place.traces / "begun").read_text().splitlines()} == {"w1"}

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
