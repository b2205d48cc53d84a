"""The process of training code: its pipes, its output, how it ends, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from spoken import FRAME, program

from search.errors import AbsentHere, ConfigError
from search.import_path import SAFE_PATH, SET_BY_TUNE, set_safe_path
from search.objectives.base import TrialError
from search.objectives.external import process as process_module
from search.objectives.external.declared import hello_of
from search.objectives.external.guard import BoundedLog, cut
from search.objectives.external.messages import ProtocolError
from search.objectives.external.process import Exited, Process, Unstarted, start
from tune.protocol import MOST_BYTES

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")


@contextlib.contextmanager
def running(folder: Path, code: str, **options: int) -> Iterator[Process]:
    """A process with this code after the frame of every program."""
    path = folder / "code.py"
    path.write_text(FRAME + code)
    process = Process([sys.executable, str(path)], folder, folder / "log", **options)
    try:
        yield process
    finally:
        process.kill()


def nothing() -> None:
    pass


def answer(process: Process, within_s: float = 20.0) -> tuple[str, dict[str, object]]:
    found = process.receive(nothing, until=time.monotonic() + within_s)
    assert found is not None, "no answer came"
    return found[0], dict(found[1])


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def is_gone_soon(pid: int, within_s: float = 10.0) -> bool:
    until = time.monotonic() + within_s
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_alive(pid)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("sys.exit(3)", "exited with code 3"),
        ("os._exit(0)", "exited with code 0 and without an answer"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL: by a person, or by the system because"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV: a segmentation fault"),
        ("os.abort()", "killed by SIGABRT"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 3)", "killed by signal"),
    ],
)
def test_how_it_ended_is_told_with_its_last_words(code: str, words: str, tmp_path: Path) -> None:
    talk = "print('the last words', flush=True)\nsay('said', before='the end')\n"
    with running(tmp_path, talk + code) as process:
        assert answer(process) == ("said", {"before": "the end"}), "what it said before counts"
        with pytest.raises(Exited) as caught:
            answer(process)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.detail == f"{caught.value}. Its output ends with:\nthe last words"


def test_a_program_that_does_not_exist_says_so_in_its_output(tmp_path: Path) -> None:
    process = Process([str(tmp_path / "none")], tmp_path, tmp_path / "log")
    with pytest.raises(Exited, match="exited with code 127") as caught:
        answer(process)
    process.kill()
    assert "none cannot be started: No such file" in caught.value.detail


def test_where_too_many_files_are_open_no_pipe_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, made = os.pipe, []

    def third_fails() -> tuple[int, int]:
        if len(made) == 2:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        made.append(pipe())
        return made[-1]

    monkeypatch.setattr(os, "pipe", third_fails)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
        Process(["true"], tmp_path, tmp_path / "log")
    for end in (end for ends in made for end in ends):
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.fstat(end)


def test_a_crash_beside_a_child_that_holds_the_pipes_is_noticed(tmp_path: Path) -> None:
    code = "say('child', pid=os.fork() or time.sleep(100))\nos.kill(os.getpid(), signal.SIGKILL)"
    with running(tmp_path, code) as process:
        child = int(str(answer(process)[1]["pid"]))
        began = time.monotonic()
        with pytest.raises(Exited, match="killed by SIGKILL"):
            answer(process)
        assert time.monotonic() - began < 5
        assert is_gone_soon(child)


DESCENDANTS = """
def sleep():
    time.sleep(1000)

first = os.fork() or sleep()
daemon = subprocess.run(
    [sys.executable, "-c", "import os, time\\n"
     "if os.fork(): os._exit(0)\\nos.setsid()\\nif os.fork(): os._exit(0)\\n"
     "print(os.getpid(), flush=True)\\nos.close(1)\\ntime.sleep(1000)"],
    stdout=subprocess.PIPE, text=True).stdout
own_session = subprocess.Popen(["sleep", "1000"], start_new_session=True).pid
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say("pids", all=[os.getpid(), first, int(daemon), own_session])
"""


def test_all_descendants_end_with_it_also_those_that_have_left_its_session(tmp_path: Path) -> None:
    with running(tmp_path, DESCENDANTS + "time.sleep(1000)") as process:
        pids = answer(process)[1]["all"]
        assert isinstance(pids, list)
        assert all(map(is_alive, pids))
        process.kill()
        assert not any(map(is_alive, pids)), "kill returns when they are gone"


def test_all_descendants_end_where_it_exits_by_itself(tmp_path: Path) -> None:
    with running(tmp_path, DESCENDANTS + "sys.exit(5)") as process:
        pids = answer(process)[1]["all"]
        assert isinstance(pids, list)
        with pytest.raises(Exited, match="code 5"):
            answer(process)
        assert not any(map(is_alive, pids))


def test_without_proc_its_group_ends_where_it_exits_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS, where nothing says which processes a process has started, and orphans belong to init."""
    guard = process_module.GUARD.read_text()
    for name, absent in (('"/proc"', '"/none"'), (".prctl", ".no_such_call")):
        assert name in guard
        guard = guard.replace(name, absent)
    (tmp_path / "guard.py").write_text(guard)
    monkeypatch.setattr(process_module, "GUARD", tmp_path / "guard.py")
    code = "say('child', pid=os.fork() or time.sleep(1000))\nos._exit(5)"
    with running(tmp_path, code) as process:
        child = int(str(answer(process)[1]["pid"]))
        with pytest.raises(Exited, match="code 5"):
            answer(process)
        assert is_gone_soon(child)


def test_a_stopped_process_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "say('pid', own=os.getpid())\nos.kill(os.getpid(), signal.SIGSTOP)") as process:
        pid = int(str(answer(process)[1]["own"]))
        process.kill()
        assert not is_alive(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_all_ends_when_the_worker_is_killed(how: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(FRAME + DESCENDANTS + "time.sleep(1000)")
    worker = f"""
import time
from pathlib import Path
from search.objectives.external.process import Process
process = Process([{sys.executable!r}, "code.py"], Path({str(tmp_path)!r}), Path({str(tmp_path / "log")!r}))
print(*process.receive(lambda: None)[1]["all"], flush=True)
time.sleep(1000)
"""
    started = subprocess.Popen([sys.executable, "-c", worker], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    pids = [int(each) for each in started.stdout.readline().split()]
    assert len(pids) == 4
    assert all(map(is_alive, pids))
    started.send_signal(how)
    assert started.wait(10) == -how
    started.stdout.close()
    assert all(map(is_gone_soon, pids))


def test_it_ends_when_its_guard_is_killed(tmp_path: Path) -> None:
    with running(tmp_path, "say('pids', own=os.getpid(), guard=os.getppid())\ntime.sleep(1000)") as process:
        pids = answer(process)[1]
        os.kill(int(str(pids["guard"])), signal.SIGKILL)
        with pytest.raises(Exited, match="killed together with the process that guards it"):
            answer(process)
        assert is_gone_soon(int(str(pids["own"])))


def test_it_is_checked_at_least_every_half_second_while_an_answer_is_waited_for(tmp_path: Path) -> None:
    moments: list[float] = []

    def check() -> None:
        moments.append(time.monotonic())
        if len(moments) == 6:
            raise KeyError("enough")

    with running(tmp_path, "time.sleep(1000)") as process:
        with pytest.raises(KeyError, match="enough"):
            process.receive(check)
        assert max(late - early for early, late in itertools.pairwise(moments)) < 0.5
        moments.clear()
        with pytest.raises(KeyError, match="enough"):  # it never reads, and a pipe has room for 64 kB
            process.send({"trial": {"params": "x" * 500_000}}, check)
        assert max(late - early for early, late in itertools.pairwise(moments)) < 0.5


def test_a_process_that_never_waits_is_checked_too(tmp_path: Path) -> None:
    left = iter(range(50))

    def check() -> None:
        if next(left, None) is None:
            raise KeyError("enough")

    with running(tmp_path, "while True: say('keep', files=[])") as process:
        received = (process.receive(check) for _ in range(1000))
        with pytest.raises(KeyError, match="enough"):
            list(received)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("answers.write('x' * 1_500_000 + chr(10))", f"a line of more than {MOST_BYTES:,} bytes"),
        ("answers.write('x' * 1_500_000)", f"a line of more than {MOST_BYTES:,} bytes"),
        ("answers.write('hello there' + chr(10))", "a line that is not JSON: hello there"),
        ("answers.buffer.write(bytes([255, 10]))", "a line that is not JSON"),
        ("answers.write('[' * 100_000 + chr(10))", "a line that is not JSON"),
        ("answers.write('[1]' + chr(10))", "not an object with one key"),
        ("answers.write(json.dumps({'a': {}, 'b': {}}) + chr(10))", "not an object with one key"),
        ("answers.write(json.dumps({'report': 3}) + chr(10))", "an object must be under the key"),
    ],
)
def test_a_line_that_is_no_message_is_refused_in_one_sentence(code: str, words: str, tmp_path: Path) -> None:
    with (
        running(tmp_path, f"{code}\nanswers.flush()\ntime.sleep(1000)") as process,
        pytest.raises(ProtocolError) as caught,
    ):
        answer(process)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_pipe_that_is_closed_early_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module, "QUIT_S", 0.2)
    with (
        running(tmp_path, "answers.close()\ntime.sleep(1000)") as process,
        pytest.raises(ProtocolError, match="closed its pipe"),
    ):
        answer(process)


@pytest.mark.parametrize("theirs", [False, True])
def test_what_it_inherits(theirs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """theirs: whether the person, not tune, keeps the current folder off Python's import path."""
    for name in (SAFE_PATH, SET_BY_TUNE):
        monkeypatch.setenv(name, "1")  # so that what was there comes back at the end
        monkeypatch.delenv(name)
    if theirs:
        monkeypatch.setenv(SAFE_PATH, "1")
    set_safe_path()
    assert os.environ[SAFE_PATH] == "1", "for tune's own processes in either case"
    monkeypatch.setenv("TUNE_STORAGE", "postgresql://me:secret@db/x")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    code = """
say("found", stdin=sys.stdin.read(), cwd=os.getcwd(), env={**os.environ},
    own_session=os.getsid(0) == os.getpid(),
    sigint=signal.getsignal(signal.SIGINT) is signal.default_int_handler,
    sigterm=signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, fds=os.listdir("/proc/self/fd"))
time.sleep(1000)
"""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in a worker's process
    try:
        with running(tmp_path, code, threads=3) as process:
            found = answer(process)[1]
    finally:
        signal.signal(signal.SIGINT, before)
    environment = found["env"]
    assert isinstance(environment, dict)
    assert "TUNE_STORAGE" not in environment
    assert (SAFE_PATH in environment, SET_BY_TUNE in environment) == (theirs, False)
    assert (environment["OMP_NUM_THREADS"], environment["MKL_NUM_THREADS"]) == ("7", "3")
    assert environment["PYTHONPATH"] == "/theirs"
    assert (found["stdin"], found["cwd"]) == ("", str(tmp_path))
    assert [found[each] for each in ("own_session", "sigint", "sigterm")] == [True, True, True]
    pipes = [int(environment["TUNE_REQUESTS"]), int(environment["TUNE_ANSWERS"])]
    assert isinstance(found["fds"], list)
    listing = 1
    assert set(map(str, [0, 1, 2, *pipes])) < set(found["fds"])
    assert len(found["fds"]) == 5 + listing, "nothing of the worker's is open there"


class TestOutput:
    def test_a_hundred_megabytes_keep_neither_the_disk_nor_the_process(self, tmp_path: Path) -> None:
        code = """
print("the beginning")
line = "x" * 999
for _ in range(100_000): print(line)
print("the end", flush=True)
os.write(2, b"and errors")
say("done")
time.sleep(1000)
"""
        with running(tmp_path, code, log_bytes=100_000) as process:
            assert answer(process, 60.0)[0] == "done"
            process.use_log(tmp_path / "next", "", nothing)
            log = (tmp_path / "log").read_bytes()
            assert log.startswith(b"the beginning\nxxx")
            assert log.endswith(b"xxx\nthe end\nand errors")
            missing = 100_000_000 + len("the beginning\nthe end\nand errors") - 100_000
            assert len(log) == 100_000 + len(cut(missing))
            assert cut(missing) in log

    def test_each_trial_has_its_own_to_the_byte(self, tmp_path: Path) -> None:
        code = "while True:\n    key, body = hear()\n    print(key * 20_000, flush=True)\n    say('done')\n"
        with running(tmp_path, code) as process:
            for number in range(5):
                process.use_log(tmp_path / str(number), f"trial {number}", nothing)
                process.send({str(number): {}}, nothing)
                assert answer(process)[0] == "done"
            process.kill()
        for number in range(5):
            assert (tmp_path / str(number)).read_text() == f"[tune: trial {number}]\n{str(number) * 20_000}\n"
        assert not (tmp_path / "log").exists(), "nothing was printed before the first one"

    def test_it_can_be_read_while_the_process_works(self, tmp_path: Path) -> None:
        code = "print('a' * 3000, flush=True)\nsay('done')\ntime.sleep(1000)"
        with running(tmp_path, code, log_bytes=2000) as process:
            answer(process)
            until = time.monotonic() + 10
            log = tmp_path / "log"
            while not (log.exists() and log.read_bytes().endswith(b"\n")) and time.monotonic() < until:
                time.sleep(0.02)
            assert log.read_bytes() == b"a" * 1000 + cut(1001) + b"a" * 999 + b"\n"

    @pytest.mark.parametrize(
        "sizes", [(10, 20), (60, 60, 60), (99, 1, 1), (300, 5), (5, 300, 300), (50, 50, 1)]
    )
    def test_a_log_that_is_continued_is_what_one_of_the_whole_would_be(
        self, sizes: tuple[int, ...], tmp_path: Path
    ) -> None:
        whole = os.urandom(sum(sizes)).replace(b"\n", b"x")
        at = 0
        for size in sizes:
            log = BoundedLog(tmp_path / "log", 100)
            log.write(whole[at : at + size])
            log.close()
            at += size
        surplus = len(whole) - 100
        expected = whole if surplus <= 0 else whole[:50] + cut(surplus) + whole[-50:]
        assert (tmp_path / "log").read_bytes() == expected

    def test_a_log_that_cannot_be_written_is_no_reason_to_fail(self, tmp_path: Path) -> None:
        (tmp_path / "log").mkdir()
        with running(tmp_path, "print('x' * 1_000_000, flush=True)\nsay('done')\nhear()") as process:
            assert answer(process)[0] == "done"


class TestHello:
    def test_what_code_declares_is_known_without_a_trial(self, tmp_path: Path) -> None:
        path = program(tmp_path)
        hello = hello_of("code.py", [sys.executable, str(path)], tmp_path)
        assert (hello.name, hello.score, hello.direction) == ("train", "loss", "minimize")
        assert (hello.budget, hello.unit, hello.checkpoints, hello.test) == (9, "epoch", True, False)
        assert list(hello.space) == ["x", "y"]
        assert list(hello.code) == ["train.py"]

    @pytest.mark.parametrize(
        ("before", "words"),
        [
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("a = = 1", "SyntaxError"),
            ("import sys; sys.exit('not today')", "not today"),
        ],
    )
    def test_code_that_cannot_be_loaded_is_told_with_its_traceback(
        self, before: str, words: str, tmp_path: Path
    ) -> None:
        path = program(tmp_path, before=f"{before}\n")
        began = time.monotonic()
        with pytest.raises(ConfigError, match=r"code\.py did not start") as caught:
            hello_of("code.py", [sys.executable, str(path)], tmp_path)
        assert words in str(caught.value)
        assert time.monotonic() - began < 2 + 3  # two cores are shared with other tests

    def test_a_traceback_that_it_sends_is_told(self, tmp_path: Path) -> None:
        path = tmp_path / "code.py"
        path.write_text(FRAME + "say('failed', message='ValueError: no', traceback='File train.py, line 1')")
        with pytest.raises(ConfigError, match="ValueError: no") as caught:
            hello_of("code.py", [sys.executable, str(path)], tmp_path)
        assert str(caught.value).endswith("\nFile train.py, line 1")

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"protocol": 2}, "it speaks version 2 of the protocol, and this tune 1"),
            ({"budget": 0}, "a budget of 0"),
            ({"budget": 2**31}, "a budget of 2147483648; it must be 1 to 2147483647"),
            ({"budget": "ten"}, "'ten' as its budget"),
            ({"budget": True}, "True as its budget"),
            ({"direction": "up"}, "'up', not maximize or minimize"),
            ({"score": None}, "no score"),
            ({"score": "a\nb"}, "not a name"),
            ({"space": []}, "as its space"),
        ],
    )
    def test_a_hello_that_is_not_one_is_refused(
        self, changed: dict[str, object], words: str, tmp_path: Path
    ) -> None:
        told = {"protocol": 1, "name": "t", "space": {}, "score": "a", "direction": "maximize", "budget": 3}
        path = tmp_path / "code.py"
        path.write_text(FRAME + f"say('hello', **{told | changed!r})\nhear()")
        with pytest.raises(ConfigError, match="did not start") as caught:
            hello_of("code.py", [sys.executable, str(path)], tmp_path)
        assert words in str(caught.value)

    def test_silence_ends(self, tmp_path: Path) -> None:
        with pytest.raises(Unstarted, match=r"did not say hello within 0\.2 s"):
            start(["sleep", "1000"], tmp_path, tmp_path / "log", hello_s=0.2)

    def test_a_folder_that_is_missing_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(AbsentHere, match="which is not on this machine"):
            hello_of("code.py", [sys.executable], tmp_path / "none")

    def test_it_exits_by_itself_when_it_is_asked_to(self, tmp_path: Path) -> None:
        code = "say('pid', own=os.getpid())\ntry:\n    hear()\nfinally:\n    (here / 'bye').touch()"
        with running(tmp_path, code) as process:
            answer(process)
            process.quit()
        assert (tmp_path / "bye").exists()


def test_a_trial_error_has_a_sentence_and_a_detail() -> None:
    assert TrialError("no").detail == "no"
    assert TrialError("no", "why").detail == "why"
