"""A variant: how one version takes another's place, what becomes of one that cannot, and the way back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from stub_runtime import StubWorkers, ask, delivery
from virtual_loop import on_virtual_loop

from legion.disk.prune import prune
from legion.errors import LegionError, OutsideError, RefusedError, UsageError, VerificationError, WorkerError
from legion.gateway.deployments.declaration import VariantDeclaration, Workers
from legion.gateway.deployments.turns import Turns
from legion.gateway.deployments.variant import Kept, Settings, Variant
from legion.gateway.dispatch.pending import Crashed
from legion.gateway.limits import Limits
from legion.provisioning_messages import Failure, Kind, Progress, Reach, Registered

ODD = [
    WorkerError("it ended while it was loading"),
    UsageError("what was asked for cannot be meant"),
    OSError(24, "Too many open files"),
    MemoryError(),
    ZeroDivisionError("nobody thought of this"),
]


class House:
    """A variant, its workers, and what it says to its deployment."""

    def __init__(self, *, replicas: int = 1, keep_warm: float = 300.0, kept: Kept = Kept()) -> None:
        self.loop = asyncio.get_running_loop()
        self.workers = StubWorkers()
        self.said: list[str] = []
        self.marks: list[tuple[str, str | None]] = []
        # What was remembered at each change.
        self.changes: list[Kept] = []
        self.settings = Settings(
            deployment="cellar",
            workers=Workers(replicas=replicas, keep_warm=keep_warm),
            limits=Limits(timeout=10.0),
            turns=Turns(),
            runtime=self.workers.runtime,
            say=self.said.append,
            changed=lambda variant: self.changes.append(variant.kept),
            mark=lambda registered, reason: self.marks.append((registered.version, reason)),
        )
        self.variant = Variant(VariantDeclaration("champion", "models:/wine@champion"), self.settings, kept)

    def settle(self, *, replicas: int | None = None, limits: Limits | None = None) -> None:
        """Declare it anew."""
        workers = self.settings.workers if replicas is None else Workers(replicas=replicas)
        settings = msgspec.structs.replace(self.settings, workers=workers, limits=limits or self.settings.limits)
        self.variant.settings = settings

    @property
    def serves(self) -> str | None:
        """The version that answers."""
        serving = self.variant.serving
        return None if serving is None else serving.delivery.key


async def serving(*versions: str, replicas: int = 1, keep_warm: float = 300.0) -> House:
    """A variant that has served these, the last of them now."""
    house = House(replicas=replicas, keep_warm=keep_warm)
    for version in versions:
        house.variant.deliver(delivery(version))
        await soon()
    assert house.serves == versions[-1]
    return house


async def soon() -> None:
    """Whatever takes no time has happened."""
    await asyncio.sleep(1e-6)


class TestFirstVersion:
    @on_virtual_loop
    async def test_it_is_served_when_it_is_warm(self) -> None:
        house = House()
        house.workers.seconds = 5.0
        house.variant.ordered()
        assert house.variant.starting == "looking for models:/wine@champion"
        house.variant.deliver(delivery("1"))
        await soon()
        assert house.variant.starting == "starting wine 1 (models:/wine/1)"
        assert house.serves is None
        await house.variant.first
        assert house.loop.time() == 5.0
        assert house.serves == "1"
        assert house.variant.starting is None
        assert house.variant.swaps == {"taken": 1, "refused": 0}
        assert house.changes == [Kept(delivery("1"))]
        await house.variant.stop()

    @on_virtual_loop
    async def test_requests_that_come_before_wait_for_it(self) -> None:
        house = House()
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("1"))
        await soon()
        pending = ask(house.variant.release)
        await house.variant.first
        await soon()
        house.workers.by_version["1"][0].answer()
        assert pending.future.result().status == 200
        await house.variant.stop()

    @on_virtual_loop
    async def test_where_it_fails_whoever_waits_is_refused_and_nothing_is_there_to_answer(self) -> None:
        house = House()
        house.workers.seconds = 5.0
        house.workers.faults["1"] = [WorkerError("it does not load")]
        house.variant.deliver(delivery("1"))
        await soon()
        pending = ask(house.variant.release)
        with pytest.raises(WorkerError, match="it does not load"):
            await house.variant.first
        assert isinstance(pending.future.exception(), Crashed)
        assert house.variant.release is None
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_was_served_before_a_restart_is_started_again(self) -> None:
        house = House(kept=Kept(previous=delivery("1"), pinned_from="3"))
        house.variant.restore(delivery("2"))
        await soon()
        assert house.serves == "2"
        assert house.variant.kept == Kept(delivery("2"), delivery("1"), "3")
        await house.variant.stop()


class TestNextVersion:
    @on_virtual_loop
    async def test_the_one_before_answers_until_it_is_warm(self) -> None:
        house = await serving("1")
        house.workers.seconds = 5.0
        before = house.variant.release
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(4.9)
        assert house.variant.release is before
        await asyncio.sleep(0.2)
        assert house.serves == "2"
        assert house.said == [
            "cellar/champion: wine 2 (models:/wine/2) answers now, wine 1 (models:/wine/1) finishes what it has"
        ]
        assert house.variant.kept == house.changes[-1] == Kept(delivery("2"), delivery("1"))
        await house.variant.stop()

    @on_virtual_loop
    async def test_the_one_before_stays_warm_for_a_while(self) -> None:
        house = await serving("1", "2", keep_warm=60.0)
        await asyncio.sleep(59)
        assert house.workers.alive == ["1", "2"]
        await asyncio.sleep(2)
        assert house.workers.alive == ["2"]
        await house.variant.stop()

    @on_virtual_loop
    async def test_the_one_before_finishes_what_it_has(self) -> None:
        house = await serving("1", keep_warm=0.0)
        pending = ask(house.variant.release)
        await soon()
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(5)
        assert house.workers.alive == ["1", "2"]
        house.workers.by_version["1"][0].answer()
        await asyncio.sleep(1)
        assert pending.future.result().status == 200
        assert house.workers.alive == ["2"]
        await house.variant.stop()

    @on_virtual_loop
    async def test_the_same_version_again_starts_nothing(self) -> None:
        house = await serving("1")
        house.variant.ordered()
        house.variant.deliver(delivery("1"))
        await soon()
        assert len(house.workers.starts["1"]) == 1
        assert house.variant.starting is None
        await house.variant.stop()

    @on_virtual_loop
    async def test_a_version_that_is_warm_still_is_switched_to_at_once(self) -> None:
        house = await serving("1", "2")
        house.variant.deliver(delivery("1"))
        await soon()
        assert house.serves == "1"
        assert len(house.workers.starts["1"]) == 1
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_was_said_of_its_refusal_is_taken_back(self) -> None:
        house = await serving("1")
        house.workers.faults["2"] = [WorkerError("it does not load")]
        house.variant.deliver(delivery("2"))
        await soon()
        assert house.marks == [("2", "it does not load")]
        await asyncio.sleep(10)
        assert house.serves == "2"
        assert house.marks[1:] == [("2", None)]
        assert house.variant.refused is None
        await house.variant.stop()

    @on_virtual_loop
    async def test_it_is_under_the_limits_of_now(self) -> None:
        """They were declared anew while it was starting."""
        house = await serving("1")
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("2"))
        await soon()
        house.settle(limits=Limits(queue=3))
        house.variant.limit(Limits(queue=3))
        await asyncio.sleep(6)
        assert house.serves == "2"
        assert house.variant.release is not None
        assert house.variant.release.pool.limits == Limits(queue=3)
        await house.variant.stop()


class TestRefused:
    @pytest.mark.parametrize("fault", ODD, ids=lambda fault: type(fault).__name__)
    @on_virtual_loop
    async def test_whatever_a_start_raises_the_one_before_goes_on(self, fault: Exception) -> None:
        house = await serving("1")
        before = house.variant.release
        house.workers.faults["2"] = [fault]
        house.variant.deliver(delivery("2"))
        await soon()
        assert house.variant.release is before
        refused = house.variant.refused
        assert refused is not None
        own = f"wine 2 (models:/wine/2) could not be started: {type(fault).__name__}: {fault}"
        assert refused.reason == (str(fault) if isinstance(fault, LegionError) else own)
        assert (refused.key, refused.registered) == ("2", Registered("wine", "2"))
        assert refused.at == "2026-01-01T00:00:00Z"
        assert house.marks == [("2", refused.reason)]
        assert house.variant.swaps == {"taken": 1, "refused": 1}
        assert house.variant.starting is None
        assert len(house.changes) == 2
        await house.variant.stop()

    @pytest.mark.parametrize("fault", ODD, ids=lambda fault: type(fault).__name__)
    @on_virtual_loop
    async def test_it_is_tried_again_ever_more_rarely(self, fault: Exception) -> None:
        house = House()
        house.workers.faults["1"] = [fault] * 6
        house.variant.deliver(delivery("1"))
        await asyncio.sleep(2000)
        assert house.workers.starts["1"] == pytest.approx([0, 10, 40, 100, 400, 700, 1000])
        assert house.serves == "1"
        assert house.variant.refused is None
        await house.variant.stop()

    @on_virtual_loop
    async def test_after_a_success_the_next_pause_is_short_again(self) -> None:
        house = House()
        house.workers.faults["1"] = [WorkerError("it does not load")] * 2
        house.variant.deliver(delivery("1"))
        await asyncio.sleep(100)
        house.workers.faults["2"] = [WorkerError("it does not load")]
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(100)
        assert house.workers.starts == {"1": pytest.approx([0, 10, 40]), "2": pytest.approx([100, 110])}
        await house.variant.stop()

    @on_virtual_loop
    async def test_another_version_does_not_wait_for_what_the_one_before_did_wrong(self) -> None:
        house = House()
        house.workers.faults["1"] = house.workers.faults["2"] = [WorkerError("it does not load")] * 4
        house.variant.deliver(delivery("1"))
        await asyncio.sleep(50)
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(11)
        assert house.workers.starts["2"] == pytest.approx([50, 60])
        await house.variant.stop()

    @on_virtual_loop
    async def test_a_version_that_may_not_be_served_is_not_tried_again(self) -> None:
        house = await serving("1")
        house.workers.faults["2"] = [VerificationError("its answers are not the golden ones")]
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(1000)
        assert len(house.workers.starts["2"]) == 1
        assert house.variant.refused is not None
        assert house.serves == "1"
        await house.variant.stop()

    @pytest.mark.parametrize("asked", ["another version", "the way back", "the end"])
    @on_virtual_loop
    async def test_it_is_not_tried_again_once_something_else_is_asked_for(self, asked: str) -> None:
        house = await serving("0", "1")
        house.workers.faults["2"] = [WorkerError("it does not load")]
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(5)
        if asked == "another version":
            house.variant.deliver(delivery("3"))
        elif asked == "the way back":
            house.variant.rollback()
        else:
            await house.variant.stop()
        await asyncio.sleep(1000)
        assert len(house.workers.starts["2"]) == 1
        await house.variant.stop()


class TestOvertaking:
    @on_virtual_loop
    async def test_the_newest_delivery_is_served(self) -> None:
        house = await serving("1")
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(3)
        house.variant.deliver(delivery("3"))
        await asyncio.sleep(10)
        assert house.serves == "3"
        assert house.variant.kept.previous == delivery("1")
        assert house.workers.alive == ["1", "3"]
        assert house.variant.swaps == {"taken": 2, "refused": 0}
        await house.variant.stop()

    @on_virtual_loop
    async def test_a_first_version_is_overtaken_too(self) -> None:
        house = House()
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("1"))
        await asyncio.sleep(3)
        house.variant.deliver(delivery("2"))
        await soon()
        pending = ask(house.variant.release)
        await asyncio.sleep(6)
        house.workers.by_version["2"][0].answer()
        assert pending.future.result().status == 200
        assert house.workers.alive == ["2"]
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_waits_for_its_turn_is_overtaken(self) -> None:
        house = House()
        house.workers.seconds = 5.0
        others = [House() for _ in range(2)]
        for other in others:
            other.workers.seconds = 20.0
            other.variant.settings = msgspec.structs.replace(other.settings, turns=house.settings.turns)
            other.variant.deliver(delivery("other"))
        await soon()
        house.variant.deliver(delivery("1"))
        await asyncio.sleep(1)
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(100)
        assert house.serves == "2"
        assert house.workers.starts == {"2": pytest.approx([20.0])}
        for one in (house, *others):
            await one.variant.stop()

    @pytest.mark.parametrize("by", ["another version", "the way back", "the end"])
    @pytest.mark.parametrize("turns", range(12))
    @on_virtual_loop
    async def test_no_worker_is_left_whenever_it_is_overtaken(self, turns: int, by: str) -> None:
        """Also in the turns of the loop between a worker's report and the switch to it."""
        house = await serving("0", "1")
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(5.0)
        for _ in range(turns):
            await asyncio.sleep(0)
        if by == "another version":
            house.variant.deliver(delivery("3"))
        elif by == "the way back":
            house.variant.rollback()
        else:
            await house.variant.stop()
            assert house.workers.alive == []
            return
        await asyncio.sleep(1000)
        assert house.serves is not None
        assert house.workers.alive == [house.serves]
        await house.variant.stop()

    @on_virtual_loop
    async def test_an_end_that_takes_long_is_not_cut_short(self) -> None:
        """One worker of two is there when its version is overtaken, and then overtaken again."""
        house = await serving("1")
        house.settle(replicas=2)
        house.workers.ending = 10.0
        house.workers.later = [0.0, 60.0]
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(1)
        for version in "345":
            house.variant.deliver(delivery(version))
            await asyncio.sleep(1)
        (second,) = house.workers.by_version["2"]
        assert second.stopped
        await asyncio.sleep(20)
        assert second.ended
        assert house.serves == "5"
        await house.variant.stop()

    @pytest.mark.parametrize("by", ["the way back", "the end"])
    @on_virtual_loop
    async def test_what_is_overtaken_twice_in_one_turn_never_answers(self, by: str) -> None:
        house = await serving("0", "1")
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(1)
        house.variant.deliver(delivery("3"))
        if by == "the way back":
            house.variant.rollback()
            await asyncio.sleep(100)
            assert house.serves == "0"
        await house.variant.stop()
        await asyncio.sleep(100)
        assert house.workers.alive == []


class TestRollback:
    @on_virtual_loop
    async def test_without_a_version_before_there_is_no_way_back(self) -> None:
        house = await serving("1")
        assert house.variant.rollback() is None
        assert not house.variant.pinned
        await house.variant.stop()

    @on_virtual_loop
    async def test_to_a_version_that_is_warm_it_goes_at_once(self) -> None:
        house = await serving("1")
        first = house.variant.release
        house.variant.deliver(delivery("2"))
        await soon()
        assert house.variant.rollback() == delivery("1")
        assert house.variant.release is first
        assert house.variant.kept == Kept(delivery("1"), delivery("2"), pinned_from="2")
        await house.variant.stop()

    @on_virtual_loop
    async def test_to_a_version_that_has_ended_it_goes_when_that_is_warm_again(self) -> None:
        house = await serving("1", "2", keep_warm=0.0)
        house.workers.seconds = 5.0
        await soon()
        assert house.variant.rollback() == delivery("1")
        assert house.serves == "2"
        await asyncio.sleep(6)
        assert house.serves == "1"
        assert house.variant.pinned
        await house.variant.stop()

    @on_virtual_loop
    async def test_twice_it_comes_back(self) -> None:
        house = await serving("1", "2")
        house.variant.rollback()
        house.variant.rollback()
        assert house.serves == "2"
        assert house.variant.kept.previous == delivery("1")
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_it_went_back_from_is_not_taken_again_until_something_else_was(self) -> None:
        house = await serving("1", "2")
        house.variant.rollback()
        house.variant.deliver(delivery("2"))
        await soon()
        assert house.serves == "1"
        house.variant.deliver(delivery("3"))
        await soon()
        assert (house.serves, house.variant.pinned) == ("3", False)
        house.variant.deliver(delivery("2"))
        await soon()
        assert house.serves == "2"
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_is_unpinned_is_taken_again(self) -> None:
        house = await serving("1", "2")
        house.variant.rollback()
        house.variant.unpin()
        house.variant.deliver(delivery("2"))
        await soon()
        assert house.serves == "2"
        await house.variant.stop()

    @pytest.mark.parametrize("keep_warm", [300.0, 0.0], ids=["warm", "cold"])
    @on_virtual_loop
    async def test_it_overtakes_what_is_being_started(self, keep_warm: float) -> None:
        house = await serving("1", "2", keep_warm=keep_warm)
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("3"))
        await asyncio.sleep(3)
        house.variant.rollback()
        await asyncio.sleep(100)
        assert house.serves == "1"
        assert "3" not in house.workers.alive
        assert house.variant.kept.previous == delivery("2")
        await house.variant.stop()

    @on_virtual_loop
    async def test_where_it_fails_the_version_of_now_goes_on(self) -> None:
        house = await serving("1", "2", keep_warm=0.0)
        await soon()
        house.workers.faults["1"] = [WorkerError("it does not load")]
        house.variant.rollback()
        await soon()
        assert house.serves == "2"
        assert house.variant.refused is not None
        # And is tried again, like any other start.
        await asyncio.sleep(11)
        assert house.serves == "1"
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_it_goes_back_to_stays_in_the_cache(self, tmp_path: Path) -> None:
        folder = tmp_path / "artifacts" / "wine"
        for place in (folder, tmp_path / "in-use"):
            place.mkdir(parents=True)
        house = await serving("0", keep_warm=0.0)
        house.variant.deliver(delivery("1", folder=str(folder)))
        await soon()
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(1)
        assert house.workers.alive == ["2"]
        assert prune(tmp_path, 0).removed == ()
        house.variant.deliver(delivery("3"))
        await asyncio.sleep(1)
        assert [entry.path for entry in prune(tmp_path, 0).removed] == [folder]
        await house.variant.stop()


class TestResizing:
    @on_virtual_loop
    async def test_the_same_version_is_started_in_as_many_processes(self) -> None:
        house = await serving("1")
        house.settle(replicas=3)
        house.variant.resize()
        await soon()
        assert house.variant.release is not None
        assert len(house.variant.release.pool.pids) == 3
        # And nothing of it is kept warm or gone back to.
        assert house.workers.alive == ["1"] * 3
        assert house.variant.kept == Kept(delivery("1"))
        await house.variant.stop()

    @on_virtual_loop
    async def test_a_version_that_is_being_started_is_not_forgotten(self) -> None:
        house = await serving("1")
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(3)
        house.settle(replicas=2)
        house.variant.resize()
        await asyncio.sleep(10)
        assert house.serves == "2"
        assert house.workers.alive == ["1", "2", "2"]
        await house.variant.stop()

    @on_virtual_loop
    async def test_a_version_that_is_to_be_tried_again_is_not_forgotten(self) -> None:
        house = await serving("1")
        house.workers.faults["2"] = [WorkerError("it does not load")]
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(3)
        house.settle(replicas=2)
        house.variant.resize()
        await asyncio.sleep(100)
        assert house.serves == "2"
        assert house.workers.starts == {"1": [0.0], "2": pytest.approx([0, 3, 3], abs=1e-3)}
        await house.variant.stop()

    @on_virtual_loop
    async def test_a_version_that_was_refused_is(self) -> None:
        house = await serving("1")
        house.workers.faults["2"] = [VerificationError("its answers are not the golden ones")]
        house.variant.deliver(delivery("2"))
        await soon()
        house.settle(replicas=2)
        house.variant.resize()
        await asyncio.sleep(100)
        assert house.serves == "1"
        assert len(house.workers.starts["2"]) == 1
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_was_given_up_for_the_way_back_is_forgotten(self) -> None:
        house = await serving("1", "2")
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("3"))
        await asyncio.sleep(3)
        house.variant.rollback()
        house.settle(replicas=2)
        house.variant.resize()
        await asyncio.sleep(10)
        assert house.serves == "1"
        await house.variant.stop()

    @on_virtual_loop
    async def test_before_the_first_version_there_is_nothing_to_do(self) -> None:
        house = House()
        house.settle(replicas=2)
        house.variant.resize()
        await soon()
        assert house.variant.release is None
        house.variant.deliver(delivery("1"))
        await soon()
        assert house.workers.alive == ["1", "1"]
        await house.variant.stop()


class TestLimits:
    @on_virtual_loop
    async def test_they_hold_for_the_release_that_answers_and_the_one_that_is_kept_warm(self) -> None:
        house = await serving("1", "2")
        house.variant.limit(Limits(queue=3))
        for release in (house.variant.release, house.variant.standby.release):
            assert release is not None
            assert release.pool.limits == Limits(queue=3)
        await house.variant.stop()


class TestStopping:
    @on_virtual_loop
    async def test_every_worker_ends_when_it_has_answered(self) -> None:
        house = await serving("1", "2")
        pending = ask(house.variant.release)
        await soon()
        stopping = asyncio.create_task(house.variant.stop())
        await asyncio.sleep(5)
        assert house.workers.alive == ["2"]
        house.workers.by_version["2"][0].answer()
        await stopping
        assert pending.future.result().status == 200
        assert house.workers.alive == []

    @on_virtual_loop
    async def test_what_is_being_started_is_given_up(self) -> None:
        house = await serving("1")
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(1)
        await house.variant.stop()
        await asyncio.sleep(100)
        assert house.workers.alive == []
        assert house.serves == "1"

    @on_virtual_loop
    async def test_what_is_given_up_slowly_is_waited_for(self) -> None:
        house = await serving("1")
        house.settle(replicas=2)
        house.workers.ending = 10.0
        house.workers.later = [0.0, 60.0]
        house.variant.deliver(delivery("2"))
        await asyncio.sleep(1)
        house.variant.deliver(delivery("3"))
        await asyncio.sleep(1)
        await house.variant.stop()
        assert house.workers.alive == []

    @on_virtual_loop
    async def test_whoever_waits_for_a_first_version_is_refused(self) -> None:
        house = House()
        house.workers.seconds = 5.0
        house.variant.deliver(delivery("1"))
        await soon()
        pending = ask(house.variant.release)
        await house.variant.stop()
        assert isinstance(pending.future.exception(), Crashed)

    @on_virtual_loop
    async def test_nothing_is_tried_again(self) -> None:
        house = House()
        house.workers.faults["1"] = [WorkerError("it does not load")]
        house.variant.deliver(delivery("1"))
        await asyncio.sleep(1)
        await house.variant.stop()
        await asyncio.sleep(1000)
        assert len(house.workers.starts["1"]) == 1

    @on_virtual_loop
    async def test_without_a_version_it_is_stopped_at_once(self) -> None:
        await House().variant.stop()

    @on_virtual_loop
    async def test_what_could_be_gone_back_to_may_leave_the_cache(self, tmp_path: Path) -> None:
        folder = tmp_path / "artifacts" / "wine"
        for place in (folder, tmp_path / "in-use"):
            place.mkdir(parents=True)
        house = House(kept=Kept(previous=delivery("1", folder=str(folder))))
        assert prune(tmp_path, 0).removed == ()
        await house.variant.stop()
        assert [entry.path for entry in prune(tmp_path, 0).removed] == [folder]


class TestHearing:
    @pytest.mark.parametrize(
        ("kind", "error"), [("usage", UsageError), ("refused", RefusedError), ("outside", OutsideError)]
    )
    @on_virtual_loop
    async def test_a_version_that_cannot_be_brought_is_refused(self, kind: Kind, error: type[LegionError]) -> None:
        house = House()
        house.variant.hear(Failure(1, "there is none", kind))
        with pytest.raises(error, match="there is none"):
            await house.variant.first
        assert house.variant.refused is not None
        assert house.variant.refused.reason == "there is none"
        assert house.marks == []

    @on_virtual_loop
    async def test_the_version_of_now_goes_on_where_the_next_cannot_be_brought(self) -> None:
        house = await serving("1")
        house.variant.hear(Failure(1, "it is broken", "refused", "2", registered=Registered("wine", "2")))
        assert house.serves == "1"
        assert house.marks == [("2", "it is broken")]
        assert house.variant.swaps == {"taken": 1, "refused": 1}
        await house.variant.stop()

    @on_virtual_loop
    async def test_what_is_done_for_it_is_said(self) -> None:
        house = House()
        house.variant.hear(Progress(1, "fetching wine 1"))
        assert house.variant.starting == "fetching wine 1"
        assert house.said == ["cellar/champion: fetching wine 1"]

    @on_virtual_loop
    async def test_a_registry_that_cannot_be_asked_is_named_until_it_answers_again(self) -> None:
        house = House()
        house.variant.hear(Reach(1, "the registry is down"))
        with pytest.raises(OutsideError, match="the registry is down"):
            await house.variant.first
        assert house.variant.registry == "the registry is down"
        assert house.said == []
        house.variant.hear(Reach(1, None))
        house.variant.hear(Reach(1, None))
        assert house.variant.registry is None
        assert house.said == ["cellar/champion: the registry answers again"]

    @on_virtual_loop
    async def test_a_delivery_is_started(self) -> None:
        house = House()
        house.variant.hear(delivery("1"))
        await soon()
        assert house.serves == "1"
        await house.variant.stop()
