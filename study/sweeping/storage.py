"""Where Optuna's storage is: a journal in the study's folder, or a database that many share.

`storage` in the config is null (the journal), a URL without a password, or `from STUDY_STORAGE`:
the URL in that environment variable, which is never saved. Workers inherit the variable.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote, unquote

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import get_lock_file
from optuna.study import StudyDirection

from study.config.errors import FROM_VARIABLE, VARIABLE, ConfigError, first_line, nearest, place

if TYPE_CHECKING:  # it takes a moment to import, and only databases need it
    from sqlalchemy import URL, Engine
    from sqlalchemy.engine import ExceptionContext

T = TypeVar("T")
optuna.logging.set_verbosity(optuna.logging.ERROR)

_DATABASES = ("mariadb", "mysql", "oracle", "postgresql", "sqlite", "postgres")  # the last as libpq

LOCK_GRACE = 5  # seconds after which a journal's lock counts as a dead process's
TAIL = 1 << 16  # bytes of a journal's end looked at first
PATIENCE = 120.0  # seconds for which a server may be away
LONGEST_PAUSE = 5.0  # seconds between two tries

# the server answered, and would answer the same again
_FINAL = re.compile(r"authentication failed|no password supplied|does not exist|pg_hba\.conf")
# two processes made the tables at once: look again
_MADE_MEANWHILE = ("23505", "42P07", "42710")
# a stopped or unplugged worker must not hold its locks for hours
_SESSION = (
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET statement_timeout = '30s'",
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
)
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds
    "application_name": "study",
}


class LostError(Exception):
    """The connection to the database is lost, or none can be opened now.

    Whether the last statement was carried out is unknown.
    """


class Journal(JournalFileBackend):
    """The journal in a file; once `holding`, it keeps records back until `flush`.

    One lock and one fsync then serve many records. What other processes write is not read then: of
    hundreds of workers, each would read all that the others write.
    """

    def __init__(self, path: Path):
        # given a relative path, the backend never frees a dead process's lock
        name = str(path.resolve())
        super().__init__(name, JournalFileSymlinkLock(name, grace_period=LOCK_GRACE))
        self.holding = False
        self._held: list[dict[str, Any]] = []
        self._unread: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:  # type: ignore[override]
        if not self.holding:
            return super().read_logs(log_number_from)
        own, self._unread = self._unread, []
        return own

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self.holding:
            self._held += logs
            self._unread += logs
        else:
            self._append(logs)

    def flush(self) -> None:
        """Append what was held. **Raises:** `OSError`; what was held is then lost."""
        held, self._held = self._held, []
        if held:
            self._append(held)

    def _append(self, logs: list[dict[str, Any]]) -> None:
        with get_lock_file(self._lock), open(self._file_path, "r+b") as file:
            _mend(file)
        super().append_logs(logs)


def _mend(file: BinaryIO) -> None:
    """Cut off a last line that its writer did not live to finish: none is read after it."""
    end, size, tail = file.seek(0, os.SEEK_END), TAIL, b""
    while b"\n" not in tail and len(tail) < end:
        file.seek(max(0, end - size))
        tail, size = file.read(), 2 * size
    torn = tail[tail.rfind(b"\n") + 1 :]
    if torn.startswith(b"{"):  # a record begins so; what else is there is not ours to cut
        file.truncate(end - len(torn))


def record_of(storage: str | None) -> str | None:
    """A storage as `study.yaml` names it, without user and password."""
    if storage is None or not storage.startswith(FROM_VARIABLE):
        return storage
    return f"{FROM_VARIABLE}: {_place(_url(storage))}"


def open_storage(storage: str | None, journal: Path, patience: float = PATIENCE) -> BaseStorage:
    """The storage that a config or `study.yaml` names; if it names None, the journal at `journal`.

    A server that does not answer is waited for, `patience` seconds.

    **Raises:** `ConfigError`, one sentence without the password, if it cannot be opened.
    """
    if storage is None:
        path = journal.resolve()
        try:
            return JournalStorage(Journal(path))
        except OSError as error:
            raise ConfigError(f"{path} cannot be opened: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} cannot be read ({first_line(error)}): remove it, and the study's next "
                "command makes it anew from the cells"
            ) from None
    url = _url(storage)
    shown = f"{VARIABLE if storage.startswith(FROM_VARIABLE) else 'storage'}={_place(url)}"
    if (scheme := url.get_backend_name()) not in _DATABASES:
        raise ConfigError(
            f"{shown}: {scheme} is no known database: {nearest(scheme, _DATABASES[:-1])}"
        )
    try:
        return patiently(lambda: _connect(url), patience)
    except ModuleNotFoundError as error:
        trouble = f": {error.name} is not installed: pip install 'lagrangian-study[postgres]'"
    except ImportError:
        trouble = f": there is no driver for {scheme} here: install one, or use postgresql"
    except LostError as error:
        trouble = (
            f" does not answer ({_without_secrets(error, url)}): start the server or correct the "
            "URL, or give storage=null to do without"
        )
    except Exception as error:
        trouble = (
            f" cannot be opened: {_without_secrets(error, url)}: use null, or a URL such as "
            "postgresql://user@host/database or sqlite:////absolute/path.db"
        )
    raise ConfigError(shown + trouble)


def own_name(storage: BaseStorage, name: str, owner: str, n_objectives: int = 1) -> str:
    """The name of a study in a database in which others may have one of the same name.

    The first study of this name keeps it; to those of later owners, the owner is appended.
    """
    first = optuna.create_study(
        storage=storage,
        study_name=name,
        directions=[StudyDirection.MINIMIZE] * n_objectives,
        load_if_exists=True,
    )
    if "owner" not in first.user_attrs:
        first.set_user_attr("owner", owner)
    return name if first.user_attrs["owner"] == owner else f"{name}-{owner}"


def patiently(
    operation: Callable[[], T],
    patience: float = PATIENCE,
    before_again: Callable[[], None] = lambda: None,
) -> T:
    """What an operation on a storage returns; it is tried again while the connection is lost.

    **Raises:** `LostError` after `patience` seconds; whatever else the operation raises, at once.
    """
    end, pause = time.monotonic() + patience, 0.05
    while True:
        try:
            return operation()
        except LostError:
            left = end - time.monotonic()
            if left <= 0:
                raise
            time.sleep(min(left, pause * random.uniform(0.5, 1.5)))
            pause = min(2 * pause, LONGEST_PAUSE)
        before_again()


def _url(storage: str) -> URL:
    """The URL of a database. **Raises:** `ConfigError` if none can be read."""
    import sqlalchemy.exc

    from_variable = storage.startswith(FROM_VARIABLE)
    text = os.environ.get(VARIABLE, "") if from_variable else storage
    if from_variable and not text:
        raise ConfigError(
            f"storage is '{FROM_VARIABLE}', and that environment variable is not set here: "
            "set it to the database's URL; blocks are trained and kept without it"
        )
    try:
        url = sqlalchemy.make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):  # its words may hold part of the password
        url = None
    if url is None or "@" in f"{url.host}{url.database}":
        if from_variable:  # of which no part may be shown
            raise ConfigError(
                f"{VARIABLE} is not a URL such as postgresql://user:password@host/database: write "
                "each of @ : / ? # % in user and password as %40 %3A %2F %3F %23 %25"
            )
        raise ConfigError(
            f"storage={storage} is not the URL of a database: use null, or a URL such as "
            "postgresql://user@host/database or sqlite:////absolute/path.db"
        )
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    return url


def _place(url: URL) -> str:
    """Server and database, from the parts of the URL: its text may hold spaces and quotes."""
    return place(str(url.set(username=None, password=None, query={})))


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
# a forked process leaves its parent's connections alone, and opens new ones
os.register_at_fork(after_in_child=lambda: [e.dispose(close=False) for e in list(_engines)])


def _connect(url: URL) -> RDBStorage:
    """An open database, whose lost connections raise `LostError`."""
    import sqlalchemy.event
    import sqlalchemy.exc

    postgres = url.get_backend_name() == "postgresql"
    server = url.get_backend_name() != "sqlite"
    options: dict[str, Any] = {"connect_args": {"timeout": 60}}  # seconds, for another writer
    if server:
        options = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 1, "pool_timeout": 60}
    if postgres and url.get_driver_name() in ("psycopg", "psycopg2"):
        options["connect_args"] = {k: v for k, v in _LIBPQ.items() if k not in url.query}
    # Optuna takes braces for a template
    text = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    try:
        opened = RDBStorage(text, engine_kwargs=options)
    except sqlalchemy.exc.DBAPIError as error:
        made = getattr(error.orig, "sqlstate", None) in _MADE_MEANWHILE
        refused = isinstance(error, sqlalchemy.exc.OperationalError)
        if made or (refused and postgres and not _FINAL.search(str(error.orig))):
            raise LostError(first_line(error.orig or error)) from None
        raise
    if server:
        sqlalchemy.event.listen(opened.engine, "handle_error", _notice)
    if postgres:
        sqlalchemy.event.listen(opened.engine, "connect", _begin_session)
        opened.engine.dispose()  # what is open began without it
    _engines.add(opened.engine)
    return opened


def _notice(context: ExceptionContext) -> None:
    """Turn the database's ways of saying that the connection is gone into `LostError`: after those,
    Optuna would repeat an operation of which only the acknowledgement was lost."""
    import sqlalchemy.exc

    if context.is_pre_ping:
        return  # the pool connects anew by itself
    error = context.sqlalchemy_exception
    refused = context.connection is None and isinstance(error, sqlalchemy.exc.OperationalError)
    if context.is_disconnect or refused:
        raise LostError(first_line(context.original_exception)) from None


def _begin_session(connection: Any, _: object) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        for statement in _SESSION:
            cursor.execute(statement)
    connection.commit()


def _without_secrets(error: Exception, url: URL) -> str:
    """The first line of a driver's message without the password, however it is spelt."""
    text = first_line(error)
    secrets = [url.password or "", *(v for k, v in url.query.items() if "passw" in k.lower())]
    for secret in map(str, secrets):
        for spelling in {secret, quote(secret, safe=""), unquote(secret)} - {""}:
            text = text.replace(spelling, "***")
    return text
