"""Reading, working and writing overlap, in order, with little waiting; what was begun is finished."""

import threading
import time

import pytest

from dpn.runs.overlap import overlapped


def test_results_come_in_the_order_of_the_items() -> None:
    told: list[object] = []
    waits = {n: (7 * n) % 5 / 200 for n in range(40)}

    def write(item: int, made: int) -> int:
        time.sleep(waits[item])
        return made

    overlapped(range(40), lambda n: n, lambda _, n: n * n, write, lambda n, end: told.append((n, end)) or True)
    assert told == [(n, n * n) for n in range(40)]


def test_work_is_done_in_one_thread_while_others_read_and_write() -> None:
    threads: dict[str, set[str]] = {"read": set(), "work": set(), "write": set()}

    def noted(what: str) -> None:
        threads[what].add(threading.current_thread().name)

    overlapped(range(9), lambda _: noted("read"), lambda *_: noted("work"), lambda *_: noted("write"), lambda *_: True)
    assert threads["work"] == {threading.current_thread().name} and not threads["work"] & (threads["read"] | threads["write"])


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
    assert ended == [100] and most[0] <= 4 + 1 + 4 + 1


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


def test_after_an_interruption_what_was_worked_on_is_written() -> None:
    worked: list[int] = []
    told: list[int] = []

    def work(item: int, _: object) -> None:
        if item == 5:
            raise KeyboardInterrupt
        worked.append(item)

    def write(*_: object) -> None:
        time.sleep(0.02)

    with pytest.raises(KeyboardInterrupt):
        overlapped(range(50), lambda n: n, work, write, lambda n, _: told.append(n) or True)
    assert worked == told == [0, 1, 2, 3, 4]


def test_where_it_is_not_to_go_on_nothing_further_is_begun() -> None:
    read: list[int] = []
    told: list[int] = []
    overlapped(range(1000), read.append, lambda *_: None, lambda *_: None, lambda n, _: told.append(n) or n < 2, threads=2)
    assert len(read) < 30 and told[:3] == [0, 1, 2]
