"""Run by Alembic: move the schema of the connection that `cloudaccel.state` hands over."""

from alembic import context

from cloudaccel import state

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=state.metadata,
    transactional_ddl=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
