"""Optuna's dashboard on a study's ledger and searches, live.

    python -m study.dashboard outputs/<study>
    python -m study.dashboard outputs/<study> --port 9000

It needs optuna-dashboard (`pip install 'lagrangian-study[dashboard]'`) and follows a running sweep.
What is changed or deleted in it is changed in the storage: of a grid only the record, of a search
the trials. Exit status: 0 when ended by Ctrl-C, 1 if there is nothing to serve.
"""

import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from study.config.errors import ConfigError
from study.config.terminal import Parser, one_line
from study.sweeping.folder import StudyError, StudyFolder
from study.sweeping.storage import LostError, open_storage

PATIENCE = 10.0  # seconds to wait for a database


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # so that an open page does not keep the server from ending


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: a page asks every few seconds."""


def main() -> None:
    """Serve until Ctrl-C. **Raises:** `SystemExit`, one sentence, for what cannot be served."""
    parser = Parser("python -m study.dashboard", str(__doc__))
    parser.add_argument("folder", type=Path, help="outputs/<study>")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1: for this machine alone")
    parser.add_argument("--port", type=int, default=8080, help="8080; 0 for any that is free")
    arguments = parser.read()
    try:
        server = serve(arguments.folder, arguments.host, arguments.port)
    except (StudyError, ConfigError, LostError) as error:
        sys.exit(f"error: {one_line(error)}")
    host, port = server.server_address[:2]
    print(f"http://{host}:{port}/dashboard/ (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


def serve(folder: Path, host: str, port: int) -> WSGIServer:
    """A server of the dashboard, bound and not yet begun.

    **Raises:** `StudyError` if there is no study; `ConfigError` if its storage cannot be opened,
    the dashboard is not installed, or the port is taken.
    """
    try:
        from optuna_dashboard import wsgi
    except ModuleNotFoundError:
        raise ConfigError(
            "optuna-dashboard is not installed: pip install 'lagrangian-study[dashboard]'"
        ) from None
    study = StudyFolder(folder.resolve())
    orders = study.read_orders()
    journal = study.root / "ledger.log"
    if orders.storage is None and not journal.exists():
        raise StudyError(f"{journal} is not there yet: the first block that is done makes it")
    storage = open_storage(orders.storage, journal, PATIENCE)
    try:
        return make_server(host, port, wsgi(storage), _Server, _Quiet)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"--host {host} --port {port}: {reason}; give another port, or 0 for any that is free"
        ) from None


if __name__ == "__main__":
    main()
