"""When a create call was last sent: a listing may lag from then on, not from the first time."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; calls that were sent before count from their first time."""
    op.add_column("operation", sa.Column("last_sent_at", sa.String(length=32), nullable=True))
    op.execute("UPDATE operation SET last_sent_at = sent_at")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("operation", "last_sent_at")
