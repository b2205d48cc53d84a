"""What a storage URL may say: its options reach the driver, an invalid URL is refused before anything
is written, and a wrong configuration is told from a server that is away."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from search.errors import ConfigError, TryAgain, TuneError
from search.optuna_db.storage import open_storage
from search.service.dashboard_storage import open_undisturbing
from search.store.connecting import prepare_server
from search.store.engine import build_engine, engine_arguments, masked, parse_url
from search.study.reading import open_reading

PG = "postgresql://postgres@127.0.0.1:5432/postgres"


class TestParsing:
    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("sqlite:///studies.db", "sqlite:///studies.db"),
            ("sqlite+pysqlite:////srv/studies.db", "sqlite:////srv/studies.db"),
            ("sqlite:///studies.db?timeout=5", "sqlite:///studies.db?timeout=5"),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            ("postgresql+psycopg://u@h/d", "postgresql://u@h/d"),
            ("postgres://u@h/d", "postgresql://u@h/d"),
            ("postgresql:///d?service=s", "postgresql:///d?service=s"),
            ("mysql://u@h/d", "mysql+pymysql://u@h/d"),
            ("mysql+pymysql://u@h/d", "mysql+pymysql://u@h/d"),
            ("mariadb://u@h/d", "mysql+pymysql://u@h/d"),
            ("mariadb+pymysql://u@h/d", "mysql+pymysql://u@h/d"),
            ("mysql://u@h/?read_default_file=f", "mysql+pymysql://u@h/?read_default_file=f"),
            ("postgresql://u:p%40ss%2F%C3%A9@h/d", "postgresql://u:p%40ss%2F%C3%A9@h/d"),
        ],
    )
    def test_valid_storage_urls_are_parsed(self, text: str, meant: str) -> None:
        url = parse_url(text)
        assert url == make_url(meant)
        assert parse_url(url.render_as_string(hide_password=False)) == url, "workers are told the same"

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("canary", "is not a database URL"),
            ("host=h password=canary", "is not a database URL"),
            ("jdbc:postgresql://h/d?password=canary", "is not a database URL"),
            ("postgresql://u:pw@canary@h/d", "are written %40"),
            ("postgresql://u:pw@canary:x@h/d", "are written %40"),
            ("postgresql://u:canary", "is not a database URL"),
            ("postgresql://u:x/canary@h:p/d", "is not a database URL"),
            ("postgresql://u:canary@h:abc/d", "is not a database URL"),
            ("postgresql://u:canary@h:99999/d", "from 1 to 65535"),
            ("postgresql://u:canary@h:0/d", "from 1 to 65535"),
            ("postgresql://u@h/d&password=canary", "after a question mark"),
            ("postgresql://u@h/d;password=canary", "after a question mark"),
            ("oracle://u:canary@h/d?x=canary", "names oracle; tune works with sqlite, postgresql or mysql"),
            ("mssql+pyodbc://u:canary@h/d", "names mssql; tune works with"),
            ("redis://:canary@h", "names redis; tune works with"),
            ("postgresql+asyncpg://u:canary@h/d", "the driver asyncpg; tune works with psycopg"),
            ("postgresql+psycopg_async://u:canary@h/d", "the driver psycopg_async; tune works with psycopg"),
            ("postgresql+psycopg2://u:canary@h/d", "the driver psycopg2; tune works with psycopg"),
            ("postgresql+pg8000://u:canary@h/d", "the driver pg8000; tune works with psycopg"),
            ("postgresql+bogus://u:canary@h/d", "the driver bogus; tune works with psycopg"),
            ("mysql+mysqldb://u:canary@h/d", "the driver mysqldb; tune works with pymysql"),
            ("mysql+aiomysql://u:canary@h/d", "the driver aiomysql; tune works with pymysql"),
            ("mariadb+mariadbconnector://u:canary@h/d", "mariadbconnector; tune works with pymysql"),
            ("sqlite+aiosqlite:///x.db", "the driver aiosqlite; tune works with pysqlite"),
            ("sqlite+pysqlcipher://:canary@/x.db", "the driver pysqlcipher; tune works with pysqlite"),
            ("mysql://u:canary@h", "names no database"),
            ("postgresql://u:canary@h/d?autocommit=true", "sets autocommit, which tune sets itself"),
            (
                "mysql://u:canary@h/d?defer_connect=1&conv=x",
                "sets conv, defer_connect, which tune sets itself",
            ),
            ("sqlite://", "in memory cannot be shared"),
            ("sqlite:///", "in memory cannot be shared"),
            ("sqlite:///:memory:", "in memory cannot be shared"),
            ("sqlite:///:memory:?cache=shared", "in memory cannot be shared"),
            ("sqlite:///file::memory:?uri=true", "in memory cannot be shared"),
            ("sqlite:///file::memory:?cache=shared&uri=true", "in memory cannot be shared"),
            ("sqlite:///x.db?mode=memory", "in memory cannot be shared"),
            ("sqlite:///file:x.db?mode=memory&uri=true", "in memory cannot be shared"),
            ("sqlite:///file:x.db", "is a file: URI"),
            ("sqlite:///file:x.db?uri=true", "is a file: URI"),
            ("sqlite:///file:/tmp/x.db?vfs=memdb&uri=true", "is a file: URI"),
            ("sqlite:///x.db?uri=true", "does not understand for SQLite (uri)"),
            ("sqlite:///x.db?password=canary", "does not understand for SQLite (password)"),
            ("sqlite:///x.db?timeout=soon", "timeout must be one number"),
            ("sqlite:///x.db?timeout=nan", "timeout must be one number"),
            ("sqlite:///x.db?timeout=1&timeout=2", "timeout must be one number"),
            ("sqlite://x.db", "three slashes"),
            ("sqlite://u:canary@h/x.db", "three slashes"),
        ],
    )
    def test_invalid_storage_urls_are_refused(
        self, text: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError) as caught:
            open_storage(text)
        assert words in str(caught.value)
        assert "canary" not in str(caught.value)
        assert "mysql]" not in str(caught.value), "no driver that would not help is recommended"
        error: BaseException | None = caught.value
        while error is not None:  # nor in what --debug shows of its causes
            assert "canary" not in str(error)
            error = error.__cause__
        assert list(tmp_path.iterdir()) == []

    def test_a_path_that_only_looks_like_a_uri(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        open_storage("sqlite:///./file:x.db").close()
        assert (tmp_path / "file:x.db").is_file()

    def test_where_the_driver_is_missing_its_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(*_arguments: object, **_more: object) -> Engine:
            raise ImportError("no such module")

        monkeypatch.setattr("search.store.engine.create_engine", missing)
        for url, extra in (("postgres://u:canary@h/d", "postgresql"), ("mariadb://u:canary@h/d", "mysql")):
            with pytest.raises(ConfigError, match=rf"-e .\.\[{extra}\]") as caught:
                build_engine(parse_url(url))
            assert "canary" not in str(caught.value)

    def test_it_is_shown_without_what_may_be_secret(self) -> None:
        url = parse_url("postgres://u:p%40ss@h:1/d?sslmode=require&sslpassword=x&options=-c%20a%3Db&host=i:2")
        assert masked(url) == (
            "postgresql://u:***@h:1/d?host=i%3A2&options=***&sslmode=require&sslpassword=***"
        )


def zone_and(engine: Engine, what: str) -> tuple[Any, ...]:
    """The time zone of a session, and what else is asked for."""
    zone = "current_setting('TimeZone')" if engine.dialect.name == "postgresql" else "@@session.time_zone"
    with engine.connect() as connection:
        return tuple(connection.execute(text(f"SELECT {zone}, {what}")).one())


class TestOptionsReachTheDriver:
    @pytest.fixture
    def in_schema(self, postgresql_url: str) -> Iterator[str]:
        """A database with a schema, and a URL that chooses it, beside a time zone that tune does not want."""
        engine = create_engine(postgresql_url)
        with engine.begin() as connection:
            connection.execute(text("CREATE SCHEMA mine"))
        options = "-c search_path=mine -c timezone=Asia/Tokyo"
        yield make_url(postgresql_url).update_query_dict({"options": options}).render_as_string(False)
        engine.dispose()

    def test_a_schema_of_postgresql_holds_all_tables(self, in_schema: str, postgresql_url: str) -> None:
        with open_storage(in_schema) as storage:
            assert storage.store.studies() == []
            for engine in (storage.trials.database.engine, storage.optuna.engine):
                for _ in range(2):  # the connection goes back to the pool, which rolls back
                    assert zone_and(engine, "current_schema()") == ("UTC", "mine")
        with open_reading(in_schema) as reading:
            dashboards = open_undisturbing(in_schema, lambda _: None, reading.store.database, threads=1)
        assert zone_and(dashboards.engine, "current_schema()") == ("UTC", "mine")
        dashboards.engine.dispose()
        engine = create_engine(postgresql_url)
        with engine.connect() as connection:
            names = connection.execute(
                text("SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('mine', 'public')")
            )
            found = {(schema, name) for schema, name in names}
        engine.dispose()
        assert {schema for schema, _ in found} == {"mine"}
        assert {"trials", "tune_studies"} <= {name for _, name in found}
        with open_storage(in_schema, create=False) as storage:
            assert storage.store.studies() == [], "it is found again"

    def test_the_time_zone_outlives_a_rollback(self, postgresql_url: str, mysql_url: str) -> None:
        for url, zone in ((postgresql_url, "UTC"), (mysql_url, "+00:00")):
            engine = build_engine(parse_url(url))
            with engine.connect() as connection:
                connection.execute(text("SELECT 1"))
                connection.rollback()
                raw = connection.connection.driver_connection
                assert raw is not None
                raw.rollback()
            assert zone_and(engine, "1") == (zone, 1)
            engine.dispose()

    def test_the_first_command_of_mysql_is_kept(self, mysql_url: str) -> None:
        command = "SET @mine = 7, time_zone = '+09:00'"
        url = make_url(mysql_url).update_query_dict({"init_command": command}).render_as_string(False)
        with open_storage(url) as storage:
            for engine in (storage.trials.database.engine, storage.optuna.engine):
                assert zone_and(engine, "@mine") == ("+00:00", 7)

    def test_what_the_url_says_goes_before_what_tune_would(self, tmp_path: Path) -> None:
        assert engine_arguments(parse_url(PG))["connect_args"] == {"connect_timeout": 10}
        patient = parse_url(f"{PG}?connect_timeout=30&prepare_threshold=none")
        assert engine_arguments(patient)["connect_args"] == {"prepare_threshold": None}
        assert engine_arguments(parse_url(f"{PG}?prepare_threshold=3"))["connect_args"] == {
            "connect_timeout": 10,
            "prepare_threshold": 3,
        }
        file = f"sqlite:///{tmp_path / 'x.db'}"
        for url, timeout_s in ((file, 3), (f"{file}?timeout=7", 7)):
            engine = build_engine(parse_url(url), retries=True)
            with engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == timeout_s * 1000
            engine.dispose()


class TestWhatIsWrongWithAServer:
    """Exit code 78 for what stays wrong, 75 for what may pass."""

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("sslmode=bogus", 'invalid sslmode value: "bogus"'),
            ("gssencmode=bogus", "invalid gssencmode value"),
            ("ssl_min_protocol_version=bogus", 'invalid "ssl_min_protocol_version" value'),
            ("host=127.0.0.1:99999", "invalid port number"),
            ("port=abc", "non-integer port"),
            ("connect_timeout=soon", "bad value for connect_timeout"),
            ("keepalives=x", "invalid integer value"),
            ("service=canary", "definition of service"),
            ("nonsense=canary", 'invalid connection option "nonsense"'),
            ("prepare_threshold=x", "invalid literal for int"),
        ],
    )
    def test_options_of_postgresql_that_are_wrong(self, query: str, words: str) -> None:
        with pytest.raises(ConfigError) as caught:
            open_storage(f"postgresql://u@127.0.0.1:1/d?{query}")
        assert words in str(caught.value)
        assert query == "service=canary" or "canary" not in str(caught.value)

    @pytest.mark.parametrize(
        ("query", "words"),
        [
            ("nonsense=canary", "unexpected keyword argument 'nonsense'"),
            ("charset=bogus", "does not know the charset bogus"),
            ("ssl_ca=/none.pem", "/none.pem cannot be read"),
            ("connect_timeout=soon", "invalid literal for int"),
            ("connect_timeout=-1", "connect_timeout should be >0"),
            ("port=3307", "port should be of type int"),
            ("compress=true", "not supported"),
            ("password=canary%E2%82%AC", "characters that the driver cannot send"),
        ],
    )
    def test_options_of_mysql_that_are_wrong(self, query: str, words: str) -> None:
        with pytest.raises(ConfigError) as caught:
            open_storage(f"mysql://u@127.0.0.1:1/d?{query}")
        assert words in str(caught.value)
        assert "canary" not in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"username": "nobody_of_that_name", "password": "canary-4711"}, "does not exist"),
            ({"database": "none_of_that_name"}, "does not exist"),
            ({"query": {"options": "-c nonsense=canary-4711"}}, "unrecognized configuration parameter"),
            ({"query": {"options": "--nonsense"}}, "requires a value"),
            ({"query": {"client_encoding": "bogus"}}, "invalid value for parameter"),
        ],
    )
    def test_what_postgresql_refuses(self, postgresql_url: str, change: dict[str, Any], words: str) -> None:
        url = make_url(postgresql_url).set(**change).render_as_string(False)
        with pytest.raises(ConfigError, match="Trying again will not help") as caught:
            open_storage(url)
        assert words in str(caught.value)
        assert "canary" not in str(caught.value)

    @pytest.fixture
    def mysql_user(self, mysql_url: str) -> Iterator[tuple[str, str]]:
        """(URL, name) of a user of that database, whose password is `right-4711`."""
        name = f"tune_{secrets.token_hex(4)}"
        engine = create_engine(mysql_url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE USER {name} IDENTIFIED BY 'right-4711'"))
            connection.execute(text(f"GRANT ALL ON {make_url(mysql_url).database}.* TO {name}"))
        try:
            yield make_url(mysql_url).set(username=name, password="right-4711").render_as_string(False), name
        finally:
            with engine.connect() as connection:
                connection.execute(text(f"DROP USER {name}"))
            engine.dispose()

    def test_what_mysql_refuses(self, mysql_user: tuple[str, str]) -> None:
        right, name = mysql_user
        open_storage(right).close()
        in_query = make_url(right).set(password=None).update_query_dict({"password": "right-4711"})
        open_storage(in_query.render_as_string(False)).close()
        for change, words in (
            ({"password": "wrong-canary"}, f"Access denied for user '{name}'"),
            ({"database": "none_of_that_name"}, "Access denied"),
            ({"query": {"init_command": "SELEKT canary"}}, "error in your SQL syntax"),
        ):
            with pytest.raises(ConfigError, match="Trying again will not help") as caught:
                open_storage(make_url(right).set(**change).render_as_string(False))
            assert words in str(caught.value)
            assert "canary" not in str(caught.value)

    def test_a_database_that_mysql_does_not_have(self, mysql_url: str) -> None:
        url = make_url(mysql_url).set(database="none_of_that_name").render_as_string(False)
        with pytest.raises(ConfigError, match="Unknown database"):
            open_storage(url)

    @pytest.mark.parametrize("url", ["postgresql://u:hush@{}/d", "mysql://u:hush@{}/d"])
    @pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid"])
    def test_a_server_that_is_away_may_come_back(self, url: str, host: str) -> None:
        with pytest.raises(TryAgain, match="does not answer"):
            open_storage(url.format(host))

    @pytest.mark.parametrize(
        ("driver", "error", "kind"),
        [
            # PostgreSQL 15, libpq 18 and PgBouncer 1.18, as they were seen
            ("postgresql", 'FATAL: password authentication failed for user "u"', ConfigError),
            ("postgresql", 'FATAL: no pg_hba.conf entry for host "h", user "u", no encryption', ConfigError),
            ("postgresql", 'root certificate file "/none.pem" does not exist', ConfigError),
            ("postgresql", 'could not read root certificate file "/x": uninitialized', ConfigError),
            ("postgresql", 'certificate present, but not private key file "/none.key"', ConfigError),
            ("postgresql", 'private key file "/k" has group or world access', ConfigError),
            ("postgresql", "SSL error: certificate verify failed", ConfigError),
            (
                "postgresql",
                'server certificate for "localhost" does not match host name "127.0.0.1"',
                ConfigError,
            ),
            ("postgresql", "server does not support SSL, but SSL was required", ConfigError),
            ("postgresql", 'authentication method requirement "md5" failed', ConfigError),
            ("postgresql", "FATAL: unsupported startup parameter: options", ConfigError),
            ("postgresql", "FATAL: the database system is starting up", TryAgain),
            ("postgresql", "FATAL: the database system is shutting down", TryAgain),
            ("postgresql", "FATAL: sorry, too many clients already", TryAgain),
            ("postgresql", "FATAL: remaining connection slots are reserved for superusers", TryAgain),
            ("postgresql", "server closed the connection unexpectedly", TryAgain),
            ("postgresql", "connection timeout expired", TryAgain),
            ("postgresql", "server is not in hot standby mode", TryAgain),
            ("postgresql", 'FATAL: LDAP authentication failed for user "u"', TryAgain),
            ("postgresql", "FATAL: server login has been failing, try again later", TryAgain),
            ("mysql", (1045, "Access denied for user"), ConfigError),
            ("mysql", (1049, "Unknown database"), ConfigError),
            ("mysql", (2026, "SSL is required but the server does not support it"), ConfigError),
            ("mysql", (1040, "Too many connections"), TryAgain),
            ("mysql", (1203, "User has more than max_user_connections"), TryAgain),
            ("mysql", (2003, "Can't connect"), TryAgain),
            ("mysql", (2013, "Lost connection during query"), TryAgain),
        ],
    )
    def test_what_stays_wrong_and_what_may_pass(
        self,
        driver: str,
        error: Any,
        kind: type[TuneError],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def refuse(*_arguments: object, **_options: object) -> None:
            if driver == "mysql":
                raise pymysql.err.OperationalError(*error)
            raise psycopg.OperationalError(f"connection failed: {error}")

        monkeypatch.setattr(psycopg if driver == "postgresql" else pymysql, "connect", refuse)
        with pytest.raises(kind):
            open_storage(f"{driver}://u:hush@127.0.0.1/d")

    def test_it_holds_for_later_connections_of_optunas_engine_too(self, postgresql_url: str) -> None:
        engine = create_engine(parse_url(postgresql_url))
        with engine.connect() as connection:
            connection.execute(text("SET TIME ZONE 'Asia/Tokyo'"))
            connection.commit()
        prepare_server(engine)
        assert zone_and(engine, "1") == ("UTC", 1), "connections made before are not used again"
        engine.dispose()
