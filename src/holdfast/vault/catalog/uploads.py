"""Uploads under way, their pins, and the memory of commits, in the catalog."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, select, update

from holdfast.errors import UploadNotFoundError
from holdfast.vault.catalog.bulk import OR_IGNORE, insert_rows
from holdfast.vault.catalog.runs import RunKey
from holdfast.vault.catalog.schema import domain, idempotency, pin, project, run, upload

_SLACK = 0.1
"""An expiry is moved on only once a tenth of the time has passed, to spare a write for each request."""

# Asked with each request of an upload; to put a statement together costs more than to run it.
_UPLOAD = (
    select(
        upload.c.id,
        upload.c.attempt,
        upload.c.expires_at,
        run.c.id,
        run.c.project_id,
        domain.c.id,
        domain.c.name,
        domain.c.key,
    )
    .join(run, run.c.id == upload.c.run_id)
    .join(project, project.c.id == run.c.project_id)
    .join(domain, domain.c.id == project.c.domain_id)
    .where(
        upload.c.name == bindparam("name"),
        upload.c.created_by == bindparam("user"),
        upload.c.expires_at > bindparam("now"),
    )
)
_PINNED = select(pin.c.pack_id).where(pin.c.upload_id == bindparam("upload"))


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload under way, with its run."""

    id: int
    attempt: int
    expires_at: float
    run: RunKey


def insert_upload(
    connection: Connection, *, name: str, run_pk: int, attempt: int, user: str, now: float, lease_s: float
) -> None:
    """Insert an upload."""
    row = {
        "name": name,
        "run_id": run_pk,
        "attempt": attempt,
        "created_by": user,
        "created_at": now,
        "expires_at": now + lease_s,
    }
    connection.execute(upload.insert(), row)


def need_upload(connection: Connection, name: str, *, user: str, now: float = 0) -> UploadRow:
    """Return an upload of this user that expires after ``now``. Raises `UploadNotFoundError`."""
    row = connection.execute(_UPLOAD, {"name": name, "user": user, "now": now}).one_or_none()
    if row is None:
        raise UploadNotFoundError(
            "The upload has ended or expired; begin a new one.", details={"upload": name}
        )
    return UploadRow(row[0], row[1], row[2], RunKey(row[3], row[4], row[5], row[6], bytes(row[7])))


def prolong(connection: Connection, row: UploadRow, *, now: float, lease_s: float) -> None:
    """Move the upload's expiry on."""
    if now + lease_s - row.expires_at > lease_s * _SLACK:
        connection.execute(update(upload).where(upload.c.id == row.id).values(expires_at=now + lease_s))


def pin_packs(connection: Connection, upload_pk: int, pack_ids: Collection[int]) -> None:
    """Keep these packs while the upload lasts."""
    if not pack_ids:
        return
    held = set(connection.execute(_PINNED, {"upload": upload_pk}).scalars())
    rows = [(upload_pk, id_) for id_ in sorted(set(pack_ids) - held)]
    insert_rows(connection, (pin.c.upload_id, pin.c.pack_id), rows, ending=OR_IGNORE)


def forget_expired(connection: Connection, *, now: float, memory_s: float) -> None:
    """Drop expired uploads with their pins, and commits older than the memory."""
    connection.execute(delete(upload).where(upload.c.expires_at <= now))
    connection.execute(delete(idempotency).where(idempotency.c.created_at <= now - memory_s))


def claim_key(
    connection: Connection, run_pk: int, key: str, fingerprint: bytes, now: float
) -> tuple[bytes, str] | None:
    """Claim an idempotency key, or return the fingerprint and answer of whoever had it.

    Waits for another transaction that holds the key.
    """
    columns = list(idempotency.c)
    row = {"run_id": run_pk, "key": key, "fingerprint": fingerprint, "answer": "", "created_at": now}
    if insert_rows(connection, columns, [tuple(row[c.name] for c in columns)], ending=OR_IGNORE):
        return None
    known = connection.execute(
        select(idempotency.c.fingerprint, idempotency.c.answer).where(
            idempotency.c.run_id == run_pk, idempotency.c.key == key
        )
    ).one()
    return bytes(known.fingerprint), known.answer


def store_answer(connection: Connection, run_pk: int, key: str, answer: str) -> None:
    """Remember the answer to a claimed key."""
    connection.execute(
        update(idempotency)
        .where(idempotency.c.run_id == run_pk, idempotency.c.key == key)
        .values(answer=answer)
    )
