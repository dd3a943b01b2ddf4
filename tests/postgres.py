"""A PostgreSQL server of its own on a free port, in a temporary folder, as Debian's package brings it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

BINARIES = ":".join([*map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), os.environ["PATH"]])
MISSING = None if shutil.which("initdb", path=BINARIES) else "PostgreSQL is not installed; apt-get install postgresql"


@contextmanager
def postgres_server() -> Iterator[str]:
    """URL of a running server's database ``postgres``; the server ends, and its folder goes, with the context."""
    with tempfile.TemporaryDirectory(prefix="routelab-postgres-") as folder:
        data = f"{folder}/data"
        if os.geteuid() == 0:  # whom the server refuses to run as
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        _run("initdb", "-D", data, "-U", "routelab", "--auth=trust", "--encoding=UTF8", "--locale=C")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c port={port} -c max_connections=200"
        _run("pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "-o", options, "start")
        try:
            yield f"postgresql://routelab@127.0.0.1:{port}/postgres"
        finally:
            _run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def empty_schema(server: str, name: str) -> str:
    """URL of a schema ``name``, made anew."""
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    engine.dispose()
    return f"{server}?options=-csearch_path%3D{name}"


def _run(program: str, *arguments: str) -> None:
    command = [str(shutil.which(program, path=BINARIES)), *arguments]
    if os.geteuid() == 0:
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
    # the server inherits whatever it is given: a pipe would stay open until it ends
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", check=False)
    if done.returncode:
        raise RuntimeError(f"{program} ended with {done.returncode}: {' '.join(command)}")
