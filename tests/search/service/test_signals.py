"""Signals as flags."""

from __future__ import annotations

import os
import signal
import sys
import time
import weakref

import pytest

from search.service.signals import Signals, repeat_swallowed_interrupts


def test_a_signal_is_remembered_and_the_handler_of_before_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        assert not signals.stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert (signals.stop(), signals.received) == (True, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_block_inside_another_one_knows_what_came_before_it() -> None:
    """`tune worker --forever` is asked to end while it opens a storage: no run may follow."""
    with Signals() as outer:
        with Signals() as first:
            assert not first.stop()
        os.kill(os.getpid(), signal.SIGTERM)
        with Signals() as second:
            assert (second.stop(), second.received) == (True, signal.SIGTERM)
        assert outer.stop()


def test_a_block_leaves_the_one_around_it_what_came_inside() -> None:
    """A run may look at its study once more after it has looked at its signals for the last time."""
    with Signals() as outer:
        with Signals():
            os.kill(os.getpid(), signal.SIGTERM)
        assert (outer.stop(), outer.received) == (True, signal.SIGTERM)


class Finalized:
    """Is interrupted as it is deleted."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


@pytest.mark.timeout(30)  # half as long as the waits that a SIGINT ends
class TestSwallowedInterrupts:
    @pytest.fixture(autouse=True)
    def _repeated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)  # put back after the test
        repeat_swallowed_interrupts()

    def test_in_a_finalizer(self) -> None:
        deleted = Finalized()
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it comes in either line
            del deleted
            time.sleep(60)

    def test_in_a_callback_of_a_weak_reference(self) -> None:
        def called(_reference: object) -> None:
            signal.raise_signal(signal.SIGINT)

        deleted = {1}
        reference = weakref.ref(deleted, called)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it comes in either line
            del deleted
            time.sleep(60)
        assert reference() is None

    def test_other_errors_are_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Faulty:
            def __del__(self) -> None:
                raise ValueError("of a finalizer")

        Faulty()
        assert "ValueError: of a finalizer" in capsys.readouterr().err
