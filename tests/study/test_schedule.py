"""The order of the work, on graphs of tasks of every shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from clir_cli.artifacts.spec import Ref
from clir_cli.corpus.records import Pair
from clir_cli.study import schedule
from clir_cli.study.schedule import Pace
from clir_cli.study.tasks import Task, share_of
from clir_cli.study.work import Done
from clir_cli.suites import load_settings

REF = Ref("student", load_settings("sample"), (Pair("sw", "en"),))
PLAIN = settings(derandomize=True, deadline=None, max_examples=60)


def task(number: int, needs: Sequence[int], after: Sequence[int] = ()) -> Task:
    return Task(
        str(number), "distill", REF, f"clir distill {number}",
        tuple(map(str, needs)), tuple(map(str, after)),
    )  # fmt: skip


@st.composite
def graphs(draw):
    """Tasks, each of which needs some of those before it."""
    count = draw(st.integers(1, 9))
    found = []
    for number in range(count):
        before = st.sets(st.integers(0, number - 1), max_size=3) if number else st.just(set())
        found.append(task(number, sorted(draw(before)), sorted(draw(before))))
    return found


@dataclass
class Workers:
    """An engine that ends the last task that was begun first, and fails those it is told to."""

    places: int
    failing: set[str]
    busy: dict[str, int] = field(default_factory=dict)
    at: list[Task] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    most: int = 0

    @property
    def free(self) -> int:
        return self.places - len(self.at)

    def start(self, each: Task) -> None:
        assert self.free > 0
        self.at.append(each)
        self.most = max(self.most, len(self.at))

    def wait(self) -> Done:
        each = self.at.pop()
        if self.busy.get(each.key, 0):
            self.busy[each.key] -= 1
            return Done(each.key, "busy")
        self.log.append(each.key)
        if each.key in self.failing:
            return Done(each.key, "failed", error=f"{each.key} is at fault")
        return Done(each.key, "made", seconds=2.0)


@dataclass
class Listener:
    told: list[tuple[str, str]] = field(default_factory=list)

    def started(self, each: Task) -> None:
        pass

    def ended(self, each: Task, done: Done, seconds_left: float | None) -> None:
        self.told.append((each.key, done.outcome))


def downstream(tasks: Sequence[Task], failing: set[str]) -> set[str]:
    found: set[str] = set()
    for each in tasks:
        if set(each.needs) & (failing | found):
            found.add(each.key)
    return found


def run(tasks: Sequence[Task], engine: Workers, there: Mapping[str, str]):
    listener = Listener()
    states = {each.key: there.get(each.key, "missing") for each in tasks}
    return schedule.run(tasks, states, engine, listener), listener


@given(graphs(), st.integers(1, 4), st.sets(st.integers(0, 8)), st.sets(st.integers(0, 8)))
@PLAIN
def test_each_task_is_done_once_behind_what_it_needs(tasks, places, failing, there):
    failing = {str(number) for number in failing - there}
    # What is there has what it needs: look() says so.
    whole: dict[str, str] = {}
    for each in tasks:
        if int(each.key) in there and all(need in whole for need in each.needs):
            whole[each.key] = "there"
    failing -= whole.keys()
    engine = Workers(places, failing)
    done, listener = run(tasks, engine, whole)
    spoilt = downstream(tasks, failing) - whole.keys()
    assert done.keys() == {each.key for each in tasks}
    assert sorted(engine.log) == sorted(done.keys() - whole.keys() - spoilt)
    assert engine.most <= places
    for each in tasks:
        outcome = done[each.key].outcome
        if each.key in whole:
            assert outcome == "there"
        elif each.key in spoilt:
            assert outcome == "skipped"
            root = done[each.key].cause
            assert root in failing
            assert f"{root} is at fault" in done[each.key].error
        else:
            assert outcome == ("failed" if each.key in failing else "made")
        if each.key in engine.log:
            place = engine.log.index(each.key)
            for before in (*each.needs, *each.after):
                if before in engine.log:
                    assert engine.log.index(before) < place
    assert len(listener.told) == len(tasks) - len(whole)


def test_what_another_process_makes_is_tried_again(monkeypatch):
    monkeypatch.setattr(schedule, "RETRY", 0.0)
    tasks = [task(0, ()), task(1, (0,)), task(2, ())]
    engine = Workers(1, set(), busy={"0": 3})
    done, _ = run(tasks, engine, {})
    assert {each.outcome for each in done.values()} == {"made"}
    assert engine.log.index("0") < engine.log.index("1")


def test_force_does_what_is_there_again():
    tasks = [task(0, ()), task(1, (0,))]
    engine = Workers(1, set())
    states = {"0": "there", "1": "there"}
    schedule.run(tasks, states, engine, Listener(), force=True)
    assert engine.log == ["0", "1"]


def test_the_time_left_is_learned_from_what_ran():
    tasks = [task(number, ()) for number in range(4)]
    pace = Pace(jobs=2)
    assert pace.left(tasks) is None
    pace.learn("distill", 10.0)
    pace.learn("distill", 20.0)
    assert pace.left(tasks) == 4 * 15 / 2
    pace.learn("index", 1.0)
    other = [Task("x", "train", REF, "")]
    assert pace.left(other) == (15 + 1) / 2 / 2  # as long as the others on average


@given(st.lists(st.integers(), unique=True), st.integers(1, 7))
@PLAIN
def test_the_shares_make_the_whole(points, count):
    shares = [share_of(points, (number, count)) for number in range(1, count + 1)]
    assert sorted(point for share in shares for point in share) == sorted(points)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
