"""Ray's actors make what one process makes; an actor that is lost loses nothing, and nothing is told of twice."""

import os
import signal
import subprocess
import threading
import time

import pytest

ray = pytest.importorskip("ray")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), "src"]))}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": environment})
    yield
    ray.shutdown()


def actors() -> list[int]:
    """The processes of actors that are at work."""
    return [int(each) for each in subprocess.run(["pgrep", "-f", "ray::MapWorker"], capture_output=True).stdout.split()]


def told(complaint: str) -> list[str]:
    return [line for line in complaint.splitlines() if line.startswith("dpn:")]


def test_actors_make_what_one_process_makes(run, kit, tmp_path):
    kit.photographs(tmp_path / "in", 12)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no image")
    code, _, complaint = run(tmp_path / "in", "--out", tmp_path / "here")
    by_ray = run(tmp_path / "in", "--out", tmp_path / "ray", "--engine", "ray", "--workers", 2)
    assert (by_ray[0], told(by_ray[2])) == (code, told(complaint)) and code == 2
    assert kit.outputs(tmp_path / "ray") == kit.outputs(tmp_path / "here")
    noted = [
        sorted((each["input"], each.get("error", "")) for each in kit.manifest(tmp_path / where)) for where in ("ray", "here")
    ]
    assert noted[0] == noted[1]


def test_a_lost_actor_loses_nothing_and_nothing_is_there_twice(run, kit, tmp_path):
    kit.photographs(tmp_path / "in", 60)
    killed = []

    def kill() -> None:
        for _ in range(4000):
            made = tmp_path / "ray" / "manifest.jsonl"
            if made.exists() and made.read_bytes().count(b"\n") > 4 and (found := actors()):
                os.kill(found[0], signal.SIGKILL)
                killed.append(found[0])
                return
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    code, _, _ = run(tmp_path / "in", "--out", tmp_path / "ray", "--engine", "ray", "--workers", 2)
    killer.join()
    assert killed and code == 0
    assert len(kit.manifest(tmp_path / "ray")) == 60 == len({each["input"] for each in kit.manifest(tmp_path / "ray")})
    run(tmp_path / "in", "--out", tmp_path / "here")
    assert kit.outputs(tmp_path / "ray") == kit.outputs(tmp_path / "here")
