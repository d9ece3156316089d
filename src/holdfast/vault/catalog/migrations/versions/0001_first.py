"""The first schema.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create all tables."""
    op.create_table('audit',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('at', sa.Double(), nullable=False),
    sa.Column('actor', _NAME, nullable=False),
    sa.Column('action', _NAME, nullable=False),
    sa.Column('object', _NAME, nullable=False),
    sa.Column('detail', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('domain',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('key', sa.LargeBinary(), nullable=False),
    sa.Column('epoch', _NUMBER, server_default=sa.text('1'), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('name')
    )
    op.create_table('entity',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('name')
    )
    op.create_table('account',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('entity_id', _NUMBER, nullable=False),
    sa.Column('is_admin', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('disabled_at', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['entity_id'], ['entity.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('name')
    )
    op.create_table('chunk',
    sa.Column('domain_id', _NUMBER, nullable=False),
    sa.Column('id', sa.LargeBinary(), nullable=False),
    sa.Column('pack_id', _NUMBER, nullable=False),
    sa.Column('start', sa.Integer(), nullable=False),
    sa.Column('stored_len', sa.Integer(), nullable=False),
    sa.Column('raw_len', sa.Integer(), nullable=False),
    sa.Column('codec', sa.SmallInteger(), nullable=False),
    sa.Column('damaged', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.ForeignKeyConstraint(['domain_id'], ['domain.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('domain_id', 'id'),
    sqlite_with_rowid=False
    )
    op.create_index('chunk_damaged', 'chunk', ['domain_id', 'pack_id'], unique=False, sqlite_where=sa.text('damaged != 0'), postgresql_where=sa.text('damaged != 0'))
    op.create_table('pack',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('domain_id', _NUMBER, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('blob', _NAME, nullable=False),
    sa.Column('state', sa.SmallInteger(), nullable=False),
    sa.Column('size_bytes', _NUMBER, nullable=False),
    sa.Column('chunks', sa.Integer(), nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('condemned_at', sa.Double(), nullable=True),
    sa.Column('verified_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['domain_id'], ['domain.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('blob'),
    sa.UniqueConstraint('domain_id', 'name')
    )
    op.create_table('project',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('entity_id', _NUMBER, nullable=False),
    sa.Column('domain_id', _NUMBER, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('run_count', _NUMBER, server_default=sa.text('0'), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['domain_id'], ['domain.id'], ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['entity_id'], ['entity.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('entity_id', 'name')
    )
    op.create_table('api_key',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('account_id', _NUMBER, nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('label', _NAME, nullable=False),
    sa.Column('scope', _NAME, nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=True),
    sa.Column('revoked_at', sa.Double(), nullable=True),
    sa.Column('used_at', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('hash')
    )
    op.create_table('member',
    sa.Column('account_id', _NUMBER, nullable=False),
    sa.Column('entity_id', _NUMBER, nullable=False),
    sa.Column('role', _NAME, nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['entity_id'], ['entity.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('account_id', 'entity_id')
    )
    op.create_table('run',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('project_id', _NUMBER, nullable=False),
    sa.Column('run_id', _NAME, nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('state', _NAME, nullable=False),
    sa.Column('notes', sa.Text(), nullable=False),
    sa.Column('tags', sa.Text(), nullable=False),
    sa.Column('run_group', sa.Text(), nullable=True),
    sa.Column('job_type', sa.Text(), nullable=True),
    sa.Column('config', sa.Text(), nullable=False),
    sa.Column('summary', sa.Text(), nullable=False),
    sa.Column('step', _NUMBER, nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('created_by', _NAME, nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('heartbeat_at', sa.Double(), nullable=False),
    sa.Column('ended_at', sa.Double(), nullable=True),
    sa.Column('exit_code', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['project_id'], ['project.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('project_id', 'run_id')
    )
    op.create_table('segment',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('domain_id', _NUMBER, nullable=False),
    sa.Column('hash', sa.LargeBinary(), nullable=False),
    sa.Column('pack_id', _NUMBER, nullable=False),
    sa.Column('chunks', sa.Integer(), nullable=False),
    sa.Column('raw_bytes', _NUMBER, nullable=False),
    sa.Column('is_complete', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('refs', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['domain_id'], ['domain.id'], ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['pack_id'], ['pack.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('domain_id', 'hash')
    )
    op.create_table('attempt',
    sa.Column('run_id', _NUMBER, nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('started_at', sa.Double(), nullable=False),
    sa.Column('host', sa.Text(), nullable=True),
    sa.Column('program', sa.Text(), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['run.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('run_id', 'number'),
    sa.UniqueConstraint('run_id', 'name')
    )
    op.create_table('file',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('run_id', _NUMBER, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('last_version', sa.Integer(), server_default=sa.text('0'), nullable=False),
    sa.Column('head', sa.Integer(), nullable=True),
    sa.Column('thin_at', sa.Double(), nullable=True),
    sa.ForeignKeyConstraint(['run_id'], ['run.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('run_id', 'name')
    )
    op.create_index('file_thin', 'file', ['thin_at'], unique=False, sqlite_where=sa.text('thin_at IS NOT NULL'), postgresql_where=sa.text('thin_at IS NOT NULL'))
    op.create_table('idempotency',
    sa.Column('run_id', _NUMBER, nullable=False),
    sa.Column('key', _NAME, nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(), nullable=False),
    sa.Column('answer', sa.Text(), nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['run.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('run_id', 'key')
    )
    op.create_index('idempotency_created', 'idempotency', ['created_at'], unique=False)
    op.create_table('segment_pack',
    sa.Column('segment_id', _NUMBER, nullable=False),
    sa.Column('pack_id', _NUMBER, nullable=False),
    sa.ForeignKeyConstraint(['pack_id'], ['pack.id'], ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['segment_id'], ['segment.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('segment_id', 'pack_id'),
    sqlite_with_rowid=False
    )
    op.create_index('segment_pack_pack', 'segment_pack', ['pack_id'], unique=False)
    op.create_table('upload',
    sa.Column('id', _NUMBER, nullable=False),
    sa.Column('name', _NAME, nullable=False),
    sa.Column('run_id', _NUMBER, nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('created_by', _NAME, nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('expires_at', sa.Double(), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['run.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id'),
    sa.UniqueConstraint('name')
    )
    op.create_index('upload_expires', 'upload', ['expires_at'], unique=False)
    op.create_table('pin',
    sa.Column('upload_id', _NUMBER, nullable=False),
    sa.Column('pack_id', _NUMBER, nullable=False),
    sa.ForeignKeyConstraint(['pack_id'], ['pack.id'], ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['upload_id'], ['upload.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('upload_id', 'pack_id'),
    sqlite_with_rowid=False
    )
    op.create_index('pin_pack', 'pin', ['pack_id'], unique=False)
    op.create_table('version',
    sa.Column('file_id', _NUMBER, nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('domain_id', _NUMBER, nullable=False),
    sa.Column('attempt', sa.Integer(), nullable=False),
    sa.Column('size_bytes', _NUMBER, nullable=False),
    sa.Column('digest', sa.LargeBinary(), nullable=False),
    sa.Column('chunks', sa.Integer(), nullable=False),
    sa.Column('mode', sa.Integer(), nullable=False),
    sa.Column('mtime_ns', _NUMBER, nullable=False),
    sa.Column('fidelity', _NAME, nullable=False),
    sa.Column('policy', _NAME, nullable=False),
    sa.Column('splitter', _NAME, nullable=False),
    sa.Column('created_by', _NAME, nullable=False),
    sa.Column('created_at', sa.Double(), nullable=False),
    sa.Column('deleted_at', sa.Double(), nullable=True),
    sa.Column('pinned', sa.SmallInteger(), server_default=sa.text('0'), nullable=False),
    sa.Column('manifest', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['domain_id'], ['domain.id'], ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['file_id'], ['file.id'], ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('file_id', 'number')
    )
    op.create_index('version_content', 'version', ['domain_id', 'digest'], unique=False)
    op.create_table('version_pack',
    sa.Column('file_id', _NUMBER, nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('pack_id', _NUMBER, nullable=False),
    sa.ForeignKeyConstraint(['file_id', 'number'], ['version.file_id', 'version.number'], ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['pack_id'], ['pack.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('file_id', 'number', 'pack_id'),
    sqlite_with_rowid=False
    )
    op.create_index('version_pack_pack', 'version_pack', ['pack_id'], unique=False)
    op.create_table('version_segment',
    sa.Column('file_id', _NUMBER, nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('segment_id', _NUMBER, nullable=False),
    sa.ForeignKeyConstraint(['file_id', 'number'], ['version.file_id', 'version.number'], ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['segment_id'], ['segment.id'], ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('file_id', 'number', 'segment_id'),
    sqlite_with_rowid=False
    )
    op.create_index('version_segment_segment', 'version_segment', ['segment_id'], unique=False)
