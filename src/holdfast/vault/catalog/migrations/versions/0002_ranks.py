"""Attempts have a rank, a round and a state of their own.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add the columns; the newest attempt of a run is given the state that the run has."""
    for column in (
        sa.Column('rank', sa.Integer(), server_default=sa.text('0'), nullable=False),
        sa.Column('round', sa.Integer(), server_default=sa.text('1'), nullable=False),
        sa.Column('state', _NAME, server_default=sa.text("'running'"), nullable=False),
        sa.Column('opened_at', sa.Double(), server_default=sa.text('0'), nullable=False),
        sa.Column('heartbeat_at', sa.Double(), server_default=sa.text('0'), nullable=False),
        sa.Column('ended_at', sa.Double(), nullable=True),
        sa.Column('exit_code', sa.Integer(), nullable=True),
    ):
        op.add_column('attempt', column)
    of_run = '(SELECT run.{0} FROM run WHERE run.id = attempt.run_id)'
    taken = ', '.join(f'{name} = {of_run.format(name)}' for name in ('state', 'heartbeat_at', 'ended_at', 'exit_code'))
    op.execute(f'UPDATE attempt SET round = number, opened_at = started_at, {taken}')
