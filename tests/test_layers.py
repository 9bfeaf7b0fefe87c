"""The rooms of the house keep to their own: who may import what, and that the code can run on every system."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = {"gradio", "gradio_client", "fastapi", "starlette", "uvicorn", "components", "app"}
RUNTIMES = {
    "torch",
    "transformers",
    "optimum",
    "openvino",
    "openvino_genai",
    "onnxruntime",
    "onnxruntime_genai",
    "nncf",
}
NEVER = {
    "backends": PAGE | {"comparison", "training", "plotly"},
    "comparison": PAGE | RUNTIMES | {"training"},
    "components": RUNTIMES | {"training"},
}
STANDARD_LIBRARY_ONLY = {
    "backends/__init__.py": set(),
    "backends/errors.py": set(),
    "backends/protocol.py": {"json", "typing"},
}
POSIX_CALLS = {
    *(f"os.{name}" for name in (
        "fork", "forkpty", "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "killpg", "mkfifo", "nice", "openpty",
        "sched_getaffinity", "sched_setaffinity", "setpgid", "setsid", "statvfs", "uname", "wait3", "wait4",
    )),
    *(f"signal.{name}" for name in (
        "SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "alarm", "pause", "pthread_kill", "setitimer",
    )),
}  # fmt: skip
POSIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog"}
WINDOWS_MODULES = {"winreg", "msvcrt", "_winapi"}


def sources(*rooms: str) -> list[Path]:
    return sorted(file for room in rooms for file in (REPOSITORY / room).rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), file)


def imported(node: ast.AST) -> Iterator[str]:
    """The full names of modules that `node` imports."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." if node.level else node.module or ""


@pytest.mark.parametrize("file", sources(*NEVER), ids=name_of)
def test_a_room_imports_only_what_it_may(file: Path) -> None:
    found = {name.partition(".")[0] for node in ast.walk(tree_of(file)) for name in imported(node)}
    assert not found & NEVER[name_of(file).partition("/")[0]]
    assert "" not in found, "imports are absolute here"


@pytest.mark.parametrize(("name", "allowed"), STANDARD_LIBRARY_ONLY.items())
def test_what_a_second_interpreter_runs_imports_nothing(name: str, allowed: set[str]) -> None:
    found = {module for node in ast.walk(tree_of(REPOSITORY / name)) for module in imported(node)}
    assert found <= allowed


LOAD_BACKENDS = """
import sys
from backends import list_command, prepare_command
from backends.registry import BACKENDS, backend_class
for name in BACKENDS: backend_class(name)
print(*sys.modules)
"""
LOAD_COMPARISON = """
import pkgutil, sys
from importlib import import_module
import comparison
for module in pkgutil.iter_modules(comparison.__path__, "comparison."):
    import_module(module.name) if not module.name.endswith("__main__") else None
print(*sys.modules)
"""


@pytest.mark.parametrize("code", [LOAD_BACKENDS, LOAD_COMPARISON], ids=["backends", "comparison"])
def test_a_room_is_open_without_any_runtime(code: str) -> None:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert run.returncode == 0, run.stderr
    assert not {name.partition(".")[0] for name in run.stdout.split()} & (RUNTIMES | {"gradio", "plotly"})


class SystemSpecific(ast.NodeVisitor):
    """Collects what exists on some systems only, outside of branches that ask for the system.

    A branch asks when its test names `sys.platform` or `os.name`, or calls `hasattr`; the rest of a block after
    `if <asks>: return` counts as guarded, too, and so does a private function that only guarded code names.
    """

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        """Pairs (function, what was found)."""
        self.named: set[str] = set()
        self.function = ""

    def asks(self, test: ast.AST) -> bool:
        words = {ast.unparse(node) for node in ast.walk(test) if isinstance(node, ast.Attribute | ast.Name)}
        return bool(words & {"sys.platform", "os.name", "hasattr"})

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            if not isinstance(statement, ast.If) or not self.asks(statement.test):
                self.visit(statement)
            elif isinstance(statement.body[-1], ast.Return | ast.Raise):
                return

    def generic_visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.IfExp | ast.BoolOp) and self.asks(node):
            return
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                self.block(value)
            else:
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self.function = self.function, self.function or node.name
        self.generic_visit(node)
        self.function = outer

    def visit_Name(self, node: ast.Name) -> None:
        self.named.add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.named.add(node.attr)
        name = f"{ast.unparse(node.value)}.{node.attr}"
        if name in POSIX_CALLS:
            self.found.append((self.function, f"{name} in line {node.lineno}"))
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [name for name in imported(node) if name in POSIX_MODULES | WINDOWS_MODULES]
        self.found += [(self.function, f"{name} in line {node.lineno}") for name in names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.visit_Import(node)


def system_specific(code: str) -> list[str]:
    visitor = SystemSpecific()
    visitor.visit(ast.parse(code))
    return [what for name, what in visitor.found if not name.startswith("_") or name in visitor.named]


@pytest.mark.parametrize("file", sources("backends", "comparison", "components", "training"), ids=name_of)
def test_no_call_of_one_system_only_outside_a_branch_for_it(file: Path) -> None:
    assert system_specific(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\nos.killpg(1, 9)", ["os.killpg in line 2"]),
        ("import fcntl", ["fcntl in line 1"]),
        ("import winreg", ["winreg in line 1"]),
        ("def f():\n    import fcntl", ["fcntl in line 2"]),
        ("def _f():\n    import winreg\nif sys.platform == 'win32':\n    _f()", []),
        ("def _f():\n    import winreg\n_f()", ["winreg in line 2"]),
        ("if sys.platform != 'win32':\n    import fcntl\n    os.killpg(1, 9)", []),
        ("if sys.platform == 'win32':\n    pass\nos.killpg(1, 9)", ["os.killpg in line 3"]),
        ("def f():\n    if sys.platform == 'win32':\n        return\n    os.killpg(1, 9)", []),
        ("x = signal.SIGTERM if sys.platform == 'win32' else signal.SIGKILL", []),
        ("x = -signal.SIGKILL", ["signal.SIGKILL in line 1"]),
        ("ok = sys.platform != 'win32' and os.getuid() == 0", []),
        ("class A:\n    def f(self):\n        with x:\n            os.fork()", ["os.fork in line 4"]),
    ],
)
def test_the_check_itself(code: str, found: list[str]) -> None:
    assert system_specific(code) == found
