"""How a Python contender of `capi bench` talks: JSON lines, a set-up first, then one answer a request.

The driver (src/bench/contender.ts) sends `{...set-up}` and gets `{"ready": {...}}`, then sends `{"do": NAME, ...}` and
gets `{"ok": {...}}` or `{"error": TEXT}`, until it closes the pipe. Between two answers a contender does nothing.
"""

import json
import os
import resource
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

Handler = Callable[..., dict]


def versions(*packages: str) -> dict[str, str | None]:
    """Versions of installed packages; None for one that is not there."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def processor_seconds() -> float:
    """Processor time of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(work: Callable[[], object], count: int = 1) -> dict:
    """Runs `work` `count` times: milliseconds of each, and of processor time altogether."""
    times, before = [], processor_seconds()
    for _ in range(count):
        start = time.perf_counter()
        work()
        times.append(round((time.perf_counter() - start) * 1e3, 4))
    return {"ms": times, "median_ms": statistics.median(times), "cpu_ms": round((processor_seconds() - before) * 1e3, 3)}


def serve(prepare: Callable[[dict], tuple[dict, dict[str, Handler]]]) -> None:
    """Reads the set-up, makes the handlers, and answers requests until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not mix with the answers

    def answer(value: dict) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        facts, handlers = prepare(json.loads(sys.stdin.readline()))
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
        traceback.print_exc()
        return
    answer({"ready": facts})
    handlers = {"memory": lambda: {"peak_bytes": peak_bytes()}, **handlers}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            name = request.pop("do")
            if name not in handlers:
                raise ValueError(f"no request {name!r}; accepted: {', '.join(handlers)}")
            answer({"ok": handlers[name](**request)})
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}".splitlines()[0]})
            if not isinstance(error, ValueError):
                traceback.print_exc()
