"""A shop's own Alembic migrations make the store's tables, from one line in its ``env.py``."""

import re
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from records import CALLS, FIRST, SECOND
from sources import ROOT
from sqlalchemy import create_engine

from flask_iterapay.orders.stores.sqlalchemy import SQLAlchemyStore

ENV = """
from alembic import context
from sqlalchemy import Column, Integer, MetaData, Table, create_engine

shop_metadata = MetaData()
Table("products", shop_metadata, Column("product_id", Integer, primary_key=True))
{lines}
engine = create_engine(context.config.attributes["url"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
engine.dispose()
"""
TEMPLATE = """
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
"""
# What the documentation tells a shop to write, under this shop's name for its own metadata.
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/database.md").read_text(), re.MULTILINE | re.DOTALL)
[LINES] = [block.replace("db.metadata", "shop_metadata") for block in BLOCKS if "target_metadata" in block]


@pytest.fixture
def alembic(tmp_path: Path, database_url):
    """Alembic's configuration for a shop that follows the documentation."""
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV.format(lines=LINES))
    (folder / "script.py.mako").write_text(TEMPLATE)
    config = Config(attributes={"url": database_url})
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    return config


def migrate(alembic):
    """Write a migration and run it; return its text."""
    script = command.revision(alembic, autogenerate=True, rev_id="1")
    command.upgrade(alembic, "head")
    return Path(script.path).read_text()


def test_a_migration_makes_everything_and_stays_complete(alembic):
    """After the upgrade there is nothing left to migrate, and the migration needs nothing of this package."""
    text = migrate(alembic)
    command.check(alembic)
    assert "products" in text
    assert "flask_iterapay" not in text


def test_the_store_works_in_migrated_tables(alembic, database_url):
    """All that a migration cannot bring is the row with the version, which the store does without."""
    migrate(alembic)
    store = SQLAlchemyStore(database_url)
    store.add(FIRST)
    store.add(SECOND)
    for call in CALLS.values():
        call(store)
    [problem] = store.check_schema()
    assert "version of the tables is not recorded" in problem
    store.create_tables()
    assert store.check_schema() == []
    command.check(alembic)


def test_a_lost_index_shows_as_a_difference(alembic, database_url):
    """The comparison that finds nothing does find an index that is gone."""
    migrate(alembic)
    engine = create_engine(database_url)
    with engine.begin() as connection:
        on = "" if engine.dialect.name in {"sqlite", "postgresql"} else " ON iterapay_refs"
        connection.exec_driver_sql(f"DROP INDEX iterapay_refs_key{on}")
    engine.dispose()
    with pytest.raises(CommandError, match="iterapay_refs_key"):
        command.check(alembic)


def test_a_migration_can_be_taken_back(alembic, database_url):
    """The downgrade leaves no table of ours behind."""
    migrate(alembic)
    command.downgrade(alembic, "base")
    assert all("is missing" in problem for problem in SQLAlchemyStore(database_url).check_schema())
