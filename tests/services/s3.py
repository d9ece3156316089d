"""Two S3 services: radosgw, which is a real one (it checks signatures), and moto, which starts in a second."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.ports import free_port

_START_S = 90


@dataclass(frozen=True)
class S3:
    """A running service."""

    endpoint: str
    access_key: str
    secret_key: str

    @property
    def options(self) -> dict[str, str]:
        """What `open_blobs` needs to reach it."""
        return {
            "endpoint": self.endpoint,
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "region": "us-east-1",
            "allow_http": "true",
        }

    def new_bucket(self) -> str:
        """Return the URL of a folder in a new, empty bucket."""
        import boto3

        name = f"vault-{secrets.token_hex(6)}"
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=name)
        client.close()
        return f"s3://{name}/vault"


@contextmanager
def running_moto() -> Iterator[S3]:
    """Run moto's server while the block lasts."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _await_answer(endpoint, process)
        yield S3(endpoint, "testkey", "testsecret")
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_radosgw() -> Iterator[S3]:
    """Run a monitor, a store in memory and a gateway of Ceph while the block lasts; takes some 15 s to start.

    Fails if they are not installed (`make test` installs them).
    """
    for name in ("ceph-mon", "ceph-osd", "radosgw", "ceph"):
        if shutil.which(name) is None:
            raise RuntimeError(f"{name} is not installed; `make test` installs it.")
    folder = Path(tempfile.mkdtemp(prefix="holdfast-ceph-"))
    cluster = _Cluster(folder)
    try:
        yield cluster.start()
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


class _Cluster:
    """The daemons of one small Ceph cluster, all children of this process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._conf = folder / "ceph.conf"
        self._keyring = folder / "keyring"
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> S3:
        s3 = S3(f"http://127.0.0.1:{free_port()}", "testkey", "testsecret")
        self._configure(s3)
        self._start_monitor()
        self._start_store()
        gateway = self._spawn("radosgw", "-n", "client.rgw", "-f")
        self._run(
            *("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=test", "--display-name=test"),
            *(f"--access-key={s3.access_key}", f"--secret-key={s3.secret_key}"),
        )
        _await_answer(s3.endpoint, gateway)
        return s3

    def stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.kill()
            daemon.wait()

    def _configure(self, s3: S3) -> None:
        self._fsid = str(uuid.uuid4())
        v2, v1 = free_port(), free_port()
        self._monitor = f"[v2:127.0.0.1:{v2}/0,v1:127.0.0.1:{v1}/0]"
        self._conf.write_text(
            _CONF.format(
                fsid=self._fsid,
                monitor=self._monitor,
                folder=self._folder,
                port=s3.endpoint.rpartition(":")[2],
            )
        )

    def _start_monitor(self) -> None:
        keyring, monmap = self._keyring, self._folder / "monmap"
        tool = "ceph-authtool"
        self._run(tool, "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        admin = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
        self._run(tool, keyring, "--gen-key", "-n", "client.admin", *admin)
        address = self._monitor.replace("/0", "")
        self._run("monmaptool", "--create", "--addv", "a", address, "--fsid", self._fsid, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._spawn("ceph-mon", "-i", "a", "-f")

    def _start_store(self) -> None:
        secret = self._run("ceph-authtool", "--gen-print-key").strip()
        osd = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd, "-i", "-", text=json.dumps({"cephx_secret": secret}))
        self._run("ceph-authtool", self._keyring, "-n", "osd.0", "--add-key", secret)
        gateway = self._run(
            "ceph", "auth", "get-or-create", "client.rgw", "mon", "allow rw", "osd", "allow rwx"
        )
        with self._keyring.open("a") as file:
            file.write(gateway)
        (self._folder / "osd").mkdir()
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-i", "0", "-f")

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        daemon = subprocess.Popen(
            [command[0], "-c", str(self._conf), *command[1:]],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._daemons.append(daemon)
        return daemon

    def _run(self, *command: object, text: str | None = None) -> str:
        program, *rest = map(str, command)
        conf = [] if program in ("ceph-authtool", "monmaptool") else ["-c", str(self._conf)]
        done = subprocess.run(
            [program, *conf, *rest],
            cwd=self._folder,
            input=text or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=_START_S,
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(done.stdout + done.stderr)[-2000:]}")
        return done.stdout


_CONF = """
[global]
fsid = {fsid}
mon host = {monitor}
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
public addr = 127.0.0.1
cluster addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
mon allow pool size one = true
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
pid file = {folder}/$name.pid
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
"""


def _await_answer(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until an HTTP service answers anything at all."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}.")
        try:
            urllib.request.urlopen(endpoint, timeout=5).close()
        except urllib.error.HTTPError as exc:
            exc.close()
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{endpoint} did not answer within {_START_S} s.")
