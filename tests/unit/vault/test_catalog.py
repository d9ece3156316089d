"""The catalog's schema and transactions."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from holdfast.errors import SettingsError, VaultLocationError, VaultUnavailableError
from holdfast.names import RunPath
from holdfast.protocol.messages import RunState
from holdfast.vault import open_vault, open_vault_at
from holdfast.vault.catalog import migrations
from holdfast.vault.catalog.engine import Catalog
from holdfast.vault.catalog.migrating import migrate
from holdfast.vault.catalog.schema import metadata
from tests.contract.storing import Source, commit, noise, open_run, spec
from tests.services.fixtures import postgres  # noqa: F401 - a fixture


def objects(engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        return {name: normal(sql) for name, sql in rows if name != "alembic_version"}


def normal(sql: str) -> str:
    """The parts of a statement in an order of their own, without white space or names of implicit constraints."""
    words = (
        sql.replace("\n", " ").replace("\t", " ").replace("(", " ( ").replace(")", " ) ").replace(",", " , ")
    )
    return " ".join(sorted(words.split()))


def test_the_migrations_lead_to_the_very_schema(tmp_path):
    migrated = Catalog(f"sqlite:///{tmp_path / 'migrated.sqlite'}")
    migrate(migrated)
    made = create_engine(f"sqlite:///{tmp_path / 'made.sqlite'}")
    metadata.create_all(made)

    assert objects(migrated.engine) == objects(made)
    made.dispose()
    migrated.close()


@pytest.mark.services
def test_the_migrations_lead_to_the_very_schema_on_postgres(postgres):  # noqa: F811
    migrated, made = Catalog(postgres.new_database()), Catalog(postgres.new_database())
    migrate(migrated)
    metadata.create_all(made.engine)
    columns = text(
        "SELECT table_name, column_name, data_type, is_nullable, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2"
    )
    indexes = text(
        "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        " AND tablename <> 'alembic_version' ORDER BY 1, 2"
    )
    with migrated.engine.connect() as one, made.engine.connect() as two:
        assert compare_metadata(MigrationContext.configure(one), metadata) == []
        for query in (columns, indexes):
            assert one.execute(query).all() == two.execute(query).all()
    migrated.close()
    made.close()


def test_an_up_to_date_catalog_opens_without_alembic(tmp_path):
    open_vault_at(tmp_path, reserve_bytes=0).close()
    program = (
        "import sys; from pathlib import Path; from holdfast.vault import open_vault_at\n"
        "open_vault_at(Path(sys.argv[1]), reserve_bytes=0)\n"
        "print('alembic' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True
    )

    assert out.stdout == "False\n"


def test_processes_that_open_a_new_vault_at_the_same_moment_all_succeed(tmp_path):
    program = (
        "import sys; from pathlib import Path; from holdfast.vault import open_vault_at\n"
        "import alembic.command, sqlalchemy.dialects.sqlite; from tests.contract.storing import open_run\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "open_run(open_vault_at(Path(sys.argv[1]), reserve_bytes=0), sys.argv[2])"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "vault"), f"run{n}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    codes = [child.wait() for child in children]
    for child in children:
        child.stdin.close()
        child.stdout.close()

    assert codes == [0] * 4
    vault = open_vault_at(tmp_path / "vault", reserve_bytes=0)
    assert len(vault.list_runs("me", "mnist").runs) == 4
    vault.close()


@pytest.mark.services
def test_processes_that_migrate_one_postgres_at_the_same_moment_all_succeed(postgres):  # noqa: F811
    url = postgres.new_database()
    catalogs = [Catalog(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, catalogs))
    for catalog in catalogs:
        catalog.close()
    open_vault(url, "memory:").close()


def test_a_vault_of_a_newer_holdfast_is_refused(tmp_path):
    vault = open_vault_at(tmp_path, reserve_bytes=0)
    vault.foundation.catalog.write(
        lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    )
    vault.close()

    with pytest.raises(VaultLocationError, match="newer"):
        open_vault_at(tmp_path)


def test_a_file_that_is_no_database_is_an_error(tmp_path):
    (tmp_path / "catalog.sqlite").write_bytes(b"something else entirely " * 100)
    with pytest.raises(VaultUnavailableError):
        open_vault_at(tmp_path)


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "sqlite+nope:///x"])
def test_a_catalog_url_of_another_kind_is_refused(url):
    with pytest.raises(SettingsError):
        open_vault(url, "memory:")


@pytest.mark.parametrize("url", ["ftp://x/y", "nonsense", ""])
def test_a_blobs_url_of_another_kind_is_refused(tmp_path, url):
    with pytest.raises(SettingsError):
        open_vault(f"sqlite:///{tmp_path / 'c.sqlite'}", url)


def test_the_catalog_is_durable_and_checks_its_references(tmp_path):
    vault = open_vault_at(tmp_path, reserve_bytes=0)
    pragmas = ("journal_mode", "synchronous", "foreign_keys")
    found = vault.foundation.catalog.read(
        lambda c: [c.exec_driver_sql(f"PRAGMA {p}").scalar() for p in pragmas]
    )
    vault.close()

    assert found == ["wal", 2, 1]


def test_a_pack_that_a_version_or_an_upload_needs_cannot_be_deleted(tmp_path):
    vault = open_vault_at(tmp_path, reserve_bytes=0)
    run = open_run(vault)
    upload = vault.begin(run)
    loose, folded = Source(upload, noise(900)), Source(upload, noise(200_000, 1))
    loose.put(vault)
    folded.put(vault)
    commit(vault, upload, [loose.entry("a"), folded.entry("b")])

    def delete(connection):
        refused = 0
        for (id_,) in connection.execute(text("SELECT id FROM pack")).all():
            try:
                connection.execute(text("DELETE FROM pack WHERE id = :id"), {"id": id_})
            except IntegrityError:
                refused += 1
        return refused

    write = vault.foundation.catalog.write
    assert write(delete) == 2
    write(lambda c: c.execute(text("DELETE FROM upload")))
    assert write(delete) == 2
    write(lambda c: c.execute(text("DELETE FROM version")))
    write(lambda c: c.execute(text("DELETE FROM segment")))
    assert write(delete) == 0
    vault.close()


def test_a_collision_is_tried_again(tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path / 'c.sqlite'}")
    tries = []

    def collide(connection):
        tries.append(1)
        if len(tries) < 3:
            raise IntegrityError("INSERT", {}, Exception("UNIQUE"))
        return "done"

    assert catalog.write(collide) == "done"
    with pytest.raises(VaultUnavailableError):
        catalog.write(lambda _: (_ for _ in ()).throw(OperationalError("x", {}, Exception("disk I/O error"))))
    catalog.close()


FIRST_SCHEMA = """
INSERT INTO entity (id, name, created_at) VALUES (1, 'me', 1);
INSERT INTO domain (id, name, key) VALUES (1, 'd', x'00');
INSERT INTO project (id, entity_id, domain_id, name, run_count, created_at) VALUES (1, 1, 1, 'mnist', 1, 1);
INSERT INTO run (id, project_id, run_id, name, state, notes, tags, config, summary, attempts, created_by, created_at,
  heartbeat_at, ended_at, exit_code) VALUES (1, 1, 'run1', 'n-1', 'failed', '', '[]', '{}', '{}', 2, 'me', 1, 9, 9, 3);
INSERT INTO attempt (run_id, number, name, started_at) VALUES (1, 1, 'attempt-1', 1), (1, 2, 'attempt-2', 5);
"""


def test_a_catalog_of_the_first_schema_keeps_its_runs_and_their_states(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in FIRST_SCHEMA.split(";\n"):
            connection.exec_driver_sql(statement or "SELECT 1")
    engine.dispose()

    vault = open_vault_at(tmp_path, reserve_bytes=0)
    info = vault.get_run(RunPath("me", "mnist", "run1"))

    assert (info.state, info.exit_code, info.attempts, info.ranks) == (RunState.FAILED, 3, 2, {})
    again = vault.open_run(spec("run1", attempt="attempt-3"))
    assert (again.attempts, again.state) == (3, RunState.RUNNING)
    vault.close()
