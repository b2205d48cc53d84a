"""Imports the objective that a user names: `train.py:train` or `package.module:train`; loads one that is in
no file but was pickled."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tune import objectives
from tune.objectives import Objective
from tune.pickled import SUFFIX, UnusableFunction, find_function, load_function, read_header
from tune.protocol import user_frames

HIDDEN = ("data", "models", "search")
"""Packages that are installed beside `tune`. Training code has packages of these names, too."""

CODE = "TUNE_USER_CODE"
"""Environment variable by which the children that multiprocessing starts find the user's code."""


class LoadError(Exception):
    """The name of an objective leads to none. Says what is there instead."""


@dataclass(frozen=True)
class UserCode:
    """Where an objective is."""

    folder: str
    """first on the import path, absolute"""
    module: str
    """name under which it is imported"""
    file: str | None
    """None: the import path leads to the module"""
    attribute: str
    """name in the module; empty: there is only one objective"""
    pickled: str | None = None
    """file of the pickled function, absolute; None: it is imported"""


def split_target(target: str) -> tuple[str, str]:
    """(file or module, name there) of `FILE:NAME`. The name is empty where there is none; a path may have
    colons."""
    place, colon, name = target.rpartition(":")
    return (target, "") if not colon or "/" in name or name.endswith(".py") else (place, name)


def find_code(target: str) -> UserCode:
    """Where the target is, seen from the current directory. Raises LoadError."""
    place, attribute = split_target(target)
    if not place:
        raise LoadError(f"{target!r} names no file or module; write train.py:train or package.module:train")
    if place.endswith(SUFFIX):
        return _find_pickled(Path(place))
    if not place.endswith(".py") and "/" not in place:
        return UserCode(os.getcwd(), place, None, attribute)  # noqa: PTH109 - also with half characters
    path = Path(place).resolve()
    if not path.is_file():
        files = [each.name for each in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise LoadError(f"there is no file {place}{_hint(path.name, files)}")
    name = path.stem.replace(".", "_")
    if name in sys.modules or name == "tune":
        name += "_file"  # another module has the name; it keeps it
    return UserCode(str(path.parent), name, str(path), attribute)


def _find_pickled(path: Path) -> UserCode:
    try:
        file = find_function(path)
        name = read_header(file).name
    except UnusableFunction as error:
        raise LoadError(str(error)) from None
    return UserCode(os.getcwd(), "__main__", None, name, pickled=str(file))  # noqa: PTH109 - as above


def prepare(code: UserCode) -> None:
    """Lets imports find the user's code as if its folder was that of a script, here and in processes that
    multiprocessing starts; those of a pickled function, also what its session could import."""
    sys.path[:0] = [code.folder, str(Path(__file__).resolve().parent / "children")]
    if code.pickled is not None:
        more = read_header(Path(code.pickled)).import_path
        sys.path += [each for each in more if each not in sys.path]
    os.environ[CODE] = json.dumps(asdict(code))
    sys.meta_path.insert(0, UserFinder(code))


def prepare_child() -> None:
    """The same in a process that multiprocessing started: it has the import path of its parent."""
    if CODE in os.environ:
        sys.meta_path.insert(0, UserFinder(UserCode(**json.loads(os.environ[CODE]))))


def load(code: UserCode) -> tuple[Objective, str]:
    """Imports the user's module and returns its objective and the name by which the module has it, which need
    not be that of the function. Raises LoadError; exceptions of the module pass through."""
    try:
        objectives.importing.append(code.pickled or code.file or code.module)
        if code.pickled is not None:
            return load_function(Path(code.pickled)), code.attribute
        module = importlib.import_module(code.module)
    except ModuleNotFoundError as error:
        if (
            error.name
            and (code.module + ".").startswith(error.name + ".")
            and user_frames(error.__traceback__) is None
        ):
            names = [each.stem for each in Path(code.folder).glob("*.py")]
            names += [each.name for each in Path(code.folder).iterdir() if each.is_dir()]
            raise LoadError(
                f"there is no module {error.name} in {code.folder}{_hint(error.name, names)}"
            ) from None
        raise
    except UnusableFunction as error:
        raise LoadError(str(error)) from None
    finally:
        objectives.importing.clear()
    return _objective(module, code)


def _objective(module: ModuleType, code: UserCode) -> tuple[Objective, str]:
    where = Path(code.file).name if code.file else code.module
    found = {name: each for name, each in vars(module).items() if isinstance(each, Objective)}
    if code.attribute:
        try:
            value: Any = module
            for name in code.attribute.split("."):
                value = getattr(value, name)
        except AttributeError:
            functions = [name for name, each in vars(module).items() if callable(each)]
            raise LoadError(
                f"{where} has no {code.attribute}{_hint(code.attribute, list(found) or functions)}"
            ) from None
        if not isinstance(value, Objective):
            raise LoadError(
                f"{code.attribute} in {where} is no objective; decorate it with @tune.objective(...)"
                f"{_hint(code.attribute, list(found))}"
            )
        return value, code.attribute
    named: dict[int, str] = {}
    for name, each in found.items():
        if id(each) not in named or name == each.name:  # one with several names
            named[id(each)] = name
    own = [name for name in named.values() if found[name].__module__ == module.__name__]
    some = own or list(named.values())
    if len(some) != 1:
        told = f"{len(some)} objectives; name one: {where}:{' or '.join(some)}" if some else "no objective"
        hint = "" if some else "; decorate a function with @tune.objective(...)"
        raise LoadError(f"{where} has {told}{hint}")
    return found[some[0]], some[0]


def code_checksums(code: UserCode) -> dict[str, str]:
    """SHA-256 of each imported file below the folder of the code, and of those that these can import, by its
    path from there, without installed packages; of a pickled function too, by its name."""
    root = Path(code.folder).resolve()
    sums: dict[str, str] = {}
    if code.pickled is not None:
        sums[code.attribute] = read_header(Path(code.pickled)).source
    entries = (Path(each or os.curdir).resolve() for each in sys.path)
    places = [each for each in entries if _is_own(each / "module.py", root)]
    waiting = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            waiting.append(Path(file))
    while waiting:
        try:
            path = waiting.pop().resolve()
            if not _is_own(path, root) or (name := path.relative_to(root).as_posix()) in sums:
                continue
            content = path.read_bytes()
        except OSError:
            continue
        sums[name] = hashlib.sha256(content).hexdigest()
        waiting += _import_statements(path, content, places)
    return dict(sorted(sums.items()))


def _is_own(path: Path, root: Path) -> bool:
    """Whether a file below the folder of the code is the user's."""
    apart = [Path(__file__).resolve().parent, Path(os.__file__).resolve().parent]
    inside = root in path.parents and not any(each in path.parents for each in apart)
    return inside and not {"site-packages", "dist-packages"} & set(path.parts)


def _import_statements(path: Path, content: bytes, places: Sequence[Path]) -> Iterator[Path]:
    """The files that import statements of a Python file name, also those in functions that have not run yet.
    What a program imports by a name that it computes is not among them.

    places: folders of the import path in which files are the user's.
    """
    if path.suffix != ".py":
        return
    try:
        nodes = list(ast.walk(ast.parse(content)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in nodes:
        names, within = [], places
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = [node.module] if node.module else []
            names = [*module, *(".".join([*module, alias.name]) for alias in node.names)]
            if node.level:
                within = list(path.parents)[node.level - 1 : node.level]
        for place in within:
            for name in names:
                yield from _module_files(place, name.split("."))


def _module_files(place: Path, names: Sequence[str]) -> Iterator[Path]:
    """Those that are there of the files of a module and of the packages that it is in."""
    for depth in range(1, len(names) + 1):
        module = place.joinpath(*names[:depth])
        yield from (file for file in (Path(f"{module}.py"), module / "__init__.py") if file.is_file())


class UserFinder(importlib.abc.MetaPathFinder):
    """Finds the user's file under its name, and packages of the user whose names are those of ours.

    A folder without `__init__.py` would lose to an installed package even where that is later on the path.
    """

    def __init__(self, code: UserCode) -> None:
        self._code = code

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Raises ModuleNotFoundError for a hidden name: the finders that follow would find our package."""
        if name == self._code.module and self._code.file is not None:
            loader = _SourceLoader(name, self._code.file)
            return importlib.util.spec_from_file_location(name, self._code.file, loader=loader)
        if name not in HIDDEN:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            shown = self._shown() if finder is importlib.machinery.PathFinder else None
            spec = finder.find_spec(name, shown, target)
            if spec is not None and not self._is_ours(spec):
                if spec.loader is None or spec.origin is None:
                    # A plain folder: a list in place of one that follows sys.path, where our package is.
                    spec.submodule_search_locations = list(spec.submodule_search_locations or ())
                return spec
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def _shown(self) -> list[str]:
        """The import path without the folders in which this package is installed."""
        return [each for each in sys.path if not self._hides(each or os.curdir)]

    def _hides(self, folder: str) -> bool:
        path = Path(folder)
        try:
            return (path / "tune" / "serve.py").is_file() and path.resolve() != Path(self._code.folder)
        except (OSError, ValueError):
            return False

    def _is_ours(self, spec: importlib.machinery.ModuleSpec) -> bool:
        return spec.origin is not None and self._hides(str(Path(spec.origin).parent.parent))


class _SourceLoader(importlib.machinery.SourceFileLoader):
    """Compiles the file as it is: a cached version can be older where two changes fall into one second."""

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def _hint(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""
