"""lilift on systems without POSIX: its code names nothing that only POSIX systems have, except where it asks first."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
NAMES = {
    "os": {
        *("fork", "getuid", "geteuid", "setsid", "killpg", "getpgid", "sched_getaffinity", "sched_setaffinity", "getloadavg"),
        *("mkfifo", "nice", "posix_fadvise", "pread", "pwrite", "statvfs", "O_DIRECTORY", "O_NOFOLLOW", "fchmod", "uname"),
    },
    "signal": {"SIGKILL", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPIPE", "alarm", "pthread_sigmask"},
    "socket": {"AF_UNIX"},
}
FILES = sorted([*(ROOT / "lilift").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")])


def posix_only(source: str) -> set[str]:
    """The POSIX-only modules and names in a program, without those that the program looks for with `hasattr` or `getattr`."""
    found, asked = set(), set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found |= {(node.module or "").partition(".")[0]} & MODULES
            found |= {f"{node.module}.{alias.name}" for alias in node.names if alias.name in NAMES.get(node.module or "", ())}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in NAMES.get(node.value.id, ()):
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("hasattr", "getattr"):
            module, name = node.args[:2]
            if isinstance(module, ast.Name) and isinstance(name, ast.Constant):
                asked.add(f"{module.id}.{name.value}")
    return found - asked


def test_no_module_needs_what_only_posix_systems_have() -> None:
    found = {path.relative_to(ROOT).as_posix(): posix_only(path.read_text(encoding="utf-8")) for path in FILES}
    assert "lilift/cli/app.py" in found
    assert len(found) > 100
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import fcntl", {"fcntl"}),
        ("from resource import getrusage", {"resource"}),
        ("from os import fork", {"os.fork"}),
        ("import os\nos.killpg(1, 2)", {"os.killpg"}),
        ("import os\nif hasattr(os, 'getloadavg'):\n    os.getloadavg()", set()),
        ("from importlib import resources", set()),
    ],
)
def test_the_check_sees_them(source: str, names: set[str]) -> None:
    assert posix_only(source) == names
