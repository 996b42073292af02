"""Reading, working and writing overlap, in order, with little waiting; what was begun is finished."""

import threading
import time

import pytest

from dpn.overlap import overlapped


def test_results_come_in_the_order_of_the_items() -> None:
    told: list[object] = []
    waits = {n: (7 * n) % 5 / 200 for n in range(40)}

    def write(item: int, made: int) -> int:
        time.sleep(waits[item])
        return made

    overlapped(range(40), lambda n: n, lambda _, n: n * n, write, lambda n, end: told.append((n, end)) or True)
    assert told == [(n, n * n) for n in range(40)]


@pytest.mark.parametrize("at_once", [1, 3])
def test_so_many_are_worked_on_at_once_while_others_are_read_and_written(at_once: int) -> None:
    now, most = {"read": 0, "work": 0, "write": 0}, {"all": 0, "work": 0}
    lock = threading.Lock()

    def step(what: str) -> None:
        with lock:
            now[what] += 1
            most["work"] = max(most["work"], now["work"])
            most["all"] = max(most["all"], sum(now.values()))
        time.sleep(0.004)
        with lock:
            now[what] -= 1

    def done(*_: object) -> bool:
        return True

    overlapped(range(30), lambda _: step("read"), lambda *_: step("work"), lambda *_: step("write"), done, at_once=at_once)
    assert most["work"] == at_once < most["all"]


@pytest.mark.parametrize("slow", ["read", "work", "write"])
def test_few_items_wait_wherever_it_is_slow(slow: str) -> None:
    begun, ended, most = [0], [0], [0]

    def read(item: int) -> int:
        begun[0] += 1
        time.sleep(0.002 * (slow == "read"))
        return item

    def ended_with(item: int, end: object) -> bool:
        most[0] = max(most[0], begun[0] - ended[0])
        ended[0] += 1
        return True

    wait = {name: lambda *_, name=name: time.sleep(0.002 * (slow == name)) for name in ("work", "write")}
    overlapped(range(100), read, wait["work"], wait["write"], ended_with, threads=2)
    assert ended == [100] and most[0] <= 1 + 2


@pytest.mark.parametrize("part", ["read", "work", "write"])
def test_an_exception_is_that_item_s_alone(part: str) -> None:
    def of(name: str):
        def step(item: int, *_: object) -> int:
            if name == part and item == 3:
                raise ValueError(name)
            return item

        return step

    told: dict[int, object] = {}
    overlapped(range(6), of("read"), of("work"), of("write"), lambda n, end: told.update({n: end}) or True)
    assert str(told.pop(3)) == part and told == {n: n for n in range(6) if n != 3}


def test_after_an_interruption_what_was_worked_on_is_written_and_told_of() -> None:
    worked: list[int] = []
    told: list[int] = []

    def done(item: int, _: object) -> bool:
        told.append(item)
        if item == 5:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        overlapped(range(50), lambda n: n, lambda n, _: worked.append(n), lambda *_: time.sleep(0.02), done)
    assert sorted(worked) == told and len(told) < 20


def test_where_it_is_not_to_go_on_nothing_further_is_begun() -> None:
    read: list[int] = []
    told: list[int] = []
    overlapped(range(1000), read.append, lambda *_: None, lambda *_: None, lambda n, _: told.append(n) or n < 2, threads=2)
    assert len(read) < 30 and told[:3] == [0, 1, 2]
