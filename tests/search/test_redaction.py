"""What is hidden in a text, whatever form a secret has there."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search import redaction
from search.redaction import (
    RedactingFormatter,
    RedactingStream,
    masked_url,
    redact_output,
    redacted,
    remember,
    storage_out_of_environment,
    traceback_text,
)

CANARY = "canary-4711"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:canary@h:1/d", "postgresql://u:***@h:1/d"),
        ("postgresql://:canary@h/d", "postgresql://:***@h/d"),
        ("postgresql://u@server:canary@h/d", "postgresql://u@server:***@h/d"),
        ("postgresql://u:can@ary:/?#@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u@h/d?password=canary", "postgresql://u@h/d?password=***"),
        ("mysql://u@h/d?passwd=canary&charset=utf8", "mysql://u@h/d?passwd=***&charset=utf8"),
        ("postgresql://u@h/d?sslpassword=canary", "postgresql://u@h/d?sslpassword=***"),
        ("mysql://u@h/d?ssl_key_password=canary", "mysql://u@h/d?ssl_key_password=***"),
        ("postgresql://u@h/d?options=-c%20a.b%3Dcanary", "postgresql://u@h/d?options=***"),
        ("postgresql://u@h/d?PGPASSWORD=canary", "postgresql://u@h/d?PGPASSWORD=***"),
        ("postgresql://u@h/d?Password=canary", "postgresql://u@h/d?Password=***"),
        ("postgresql://u@h/d?sslmode=require&new=canary", "postgresql://u@h/d?sslmode=require&new=***"),
        ("postgresql://u@h/d?passfile=/p&service=s", "postgresql://u@h/d?passfile=/p&service=s"),
        ("postgresql://u@h/d&password=canary", "postgresql://u@h/d&password=***"),
        ("postgresql://u@h/d;password=canary&a=b", "postgresql://u@h/d;password=***&a=***"),
        ("postgresql://u@h/d?sslmode=x;password=canary", "postgresql://u@h/d?sslmode=***"),
        ("postgresql://u@h/d?host=x%3Fpassword%3Dcanary", "postgresql://u@h/d?host=***"),
        ("sqlite:////tmp/a:b@c.db", "sqlite:////tmp/a:b@c.db"),
        ("sqlite:///studies.db", "sqlite:///studies.db"),
        ("http://127.0.0.1:8080/dashboard/", "http://127.0.0.1:8080/dashboard/"),
    ],
)
def test_a_url_as_it_may_be_shown(url: str, shown: str) -> None:
    assert masked_url(url) == shown
    assert redacted(f"see {url} there") == f"see {shown} there"


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "in lower case": lambda secret: quote(secret, safe="").replace("%2F", "%2f").replace("%C3", "%c3"),
    "as SQLAlchemy writes it": lambda secret: quote(secret, safe=" +"),
    "in a query": quote_plus,
    "repr": lambda secret: repr(secret)[1:-1],
    "repr of bytes": lambda secret: repr(secret.encode())[2:-1],
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "JSON as UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "a value for libpq": lambda secret: secret.replace("\\", "\\\\").replace("'", "\\'"),
}


@pytest.mark.parametrize("form", FORMS)
@given(secret=st.text(st.characters(exclude_categories=["Cs"], exclude_characters='"*'), min_size=1))
def test_a_secret_is_hidden_in_every_form(form: str, secret: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(redaction, "_known", frozenset())
        remember([secret])
        assert redacted(f'"{FORMS[form](secret)}"') == '"***"'


def test_a_short_password_tears_no_words_apart() -> None:
    remember(["a", "postgres", "", None])
    assert redacted("a storage at postgresql://postgres@h/d, =a&") == (
        "*** storage at postgresql://***@h/d, =***&"
    )
    assert redacted("options%3Da%20and+a") == "options%3D***%20and+***"
    ours = "A storage of postgres is a database."
    assert redacted(ours, ours=True) == ours
    remember([CANARY])
    assert redacted(f"There is no study x{CANARY}x.", ours=True) == "There is no study x***x."


def test_the_longer_of_two_secrets_is_hidden_first() -> None:
    remember(["canary", "canary-4711"])
    assert redacted("(canary-4711) (canary)") == "(***) (***)"


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> None:
    """redact_output, undone afterwards."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    assert logging.lastResort is not None
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    remember([CANARY])
    redact_output()


def failed() -> ValueError:
    try:
        try:
            raise OSError(f"no route for u:{CANARY}@h")
        except OSError as error:
            raise ValueError("no storage") from error
    except ValueError as error:
        return error


@pytest.mark.usefixtures("output")
def test_nothing_that_python_prints_by_itself_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    error = failed()
    assert logging.lastResort is not None
    record = logging.LogRecord(
        "x", logging.ERROR, __file__, 1, f"password={CANARY} %s", (CANARY,), (type(error), error, None)
    )
    logging.lastResort.emit(record)
    sys.stderr.write(warnings.formatwarning(f"look at {CANARY}", UserWarning, __file__, 1))
    sys.excepthook(type(error), error, error.__traceback__)

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    printed = capsys.readouterr().err
    assert CANARY not in printed
    assert printed.count("no route for u:***@h") == 3, "the record, the hook, the thread"
    assert printed.count("***") >= 6
    assert "in failed" in printed, "a traceback still says where"


def test_a_stream_for_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    remember([CANARY])
    stream = RedactingStream(sys.stderr)
    stream.writelines([traceback_text(failed()), f"{CANARY}\n"])
    stream.flush()
    printed = capsys.readouterr().err
    assert CANARY not in printed
    assert "no route for u:***@h" in printed


def test_a_formatter_with_a_traceback() -> None:
    remember([CANARY])
    error = failed()
    record = logging.LogRecord("x", 40, "f", 1, "it failed", (), (type(error), error, error.__traceback__))
    assert CANARY not in RedactingFormatter().format(record)


def test_processes_started_meanwhile_do_not_inherit_the_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_STORAGE", CANARY)
    with storage_out_of_environment():
        assert "TUNE_STORAGE" not in os.environ
    assert os.environ["TUNE_STORAGE"] == CANARY
    monkeypatch.delenv("TUNE_STORAGE")
    with storage_out_of_environment():
        pass
    assert "TUNE_STORAGE" not in os.environ
