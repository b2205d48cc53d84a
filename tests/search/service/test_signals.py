"""Signals as flags."""

from __future__ import annotations

import os
import signal

from search.service.signals import Signals


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
