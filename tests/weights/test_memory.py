import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from weights import memory

SIZE, ROUNDS = 64 << 20, 8  # bytes; more than glibc would keep by itself
SCRIPT = f"""
import resource
from weights.memory import keep_freed_memory
print(keep_freed_memory())
for _ in range({ROUNDS}):
    b"x" * {SIZE}
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""
huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or (huge.exists() and "[always]" in huge.read_text()),
    reason="other allocators have no mallopt, and huge pages leave few to count",
)


def run(**environment):
    """Return whether freed memory is kept, and how many pages the system had to clear."""
    own = {name: value for name, value in os.environ.items() if name not in memory._CHOSEN}
    command = [sys.executable, "-c", SCRIPT]
    kept, faults = subprocess.run(
        command, env=own | environment, capture_output=True, text=True, check=True
    ).stdout.split()
    return kept == "True", int(faults)


@glibc
def test_memory_is_used_again():
    kept, faults = run()
    # The environment has its way; this is how glibc would be by itself.
    left_alone, cleared = run(MALLOC_TRIM_THRESHOLD_=str(128 << 10))
    assert (kept, left_alone) == (True, False)
    pages = SIZE / os.sysconf("SC_PAGE_SIZE")
    assert cleared - faults > 0.9 * (ROUNDS - 1) * pages


def test_nothing_is_done_where_there_is_no_such_allocator(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.keep_freed_memory() is False
    monkeypatch.setattr(sys, "platform", "linux")
    for name in memory._CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    assert memory.keep_freed_memory() is False
