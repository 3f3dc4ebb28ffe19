"""The tables of the SQLite file (`visits.state.SCHEMA`), and nothing else.

STRICT (https://sqlite.org/stricttables.html): no column ever holds another type than its own. All moments are Unix milliseconds.
One file has one log partition, 0.
"""

from __future__ import annotations

APPLICATION_ID = 0x56434E54
"""`VCNT`: what `file` and SQLite tools tell the file by (https://sqlite.org/pragma.html#pragma_application_id)."""

BACKUP_ID = 0x56434E42
"""`VCNB`: a backup of a Redis store, whose generations are the partitions; nobody counts in it."""

SCHEMA_SQL = (
    # AUTOINCREMENT: a position is never given again, whatever is deleted. The log's position is `position` - 1.
    """CREATE TABLE log (
        position INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL
    ) STRICT""",
    "CREATE TABLE property (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO property VALUES ('log_id', lower(hex(randomblob(16))))",
    """CREATE TABLE dead_letter (
        partition INTEGER NOT NULL, position INTEGER NOT NULL, received INTEGER NOT NULL, reason TEXT NOT NULL,
        key BLOB NOT NULL, value BLOB NOT NULL, buried_at INTEGER NOT NULL, PRIMARY KEY (partition, position)
    ) STRICT""",
    "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), meta TEXT NOT NULL) STRICT",
    "CREATE TABLE salt (day TEXT PRIMARY KEY, salt BLOB NOT NULL) STRICT, WITHOUT ROWID",
    # Which generation of a partition is live; its head stands in `head`. Row -1 names the shadow.
    "CREATE TABLE live (partition INTEGER PRIMARY KEY, generation INTEGER NOT NULL) STRICT",
    """CREATE TABLE head (
        generation INTEGER PRIMARY KEY, log_id TEXT NOT NULL, position INTEGER NOT NULL, fingerprint TEXT NOT NULL,
        as_of INTEGER NOT NULL, log_time INTEGER NOT NULL, id_window TEXT NOT NULL, parameters TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE counter (
        generation INTEGER NOT NULL, site TEXT NOT NULL, field TEXT NOT NULL, amount INTEGER NOT NULL,
        PRIMARY KEY (generation, site, field)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE page (
        generation INTEGER NOT NULL, site TEXT NOT NULL, page TEXT NOT NULL, views INTEGER NOT NULL,
        PRIMARY KEY (generation, site, page)
    ) STRICT, WITHOUT ROWID""",
    # How many rows of `page` a site has: counting 200,000 of them for every batch would take longer than the batch.
    """CREATE TABLE page_count (
        generation INTEGER NOT NULL, site TEXT NOT NULL, pages INTEGER NOT NULL, PRIMARY KEY (generation, site)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TRIGGER page_added AFTER INSERT ON page BEGIN
        INSERT INTO page_count VALUES (new.generation, new.site, 1)
        ON CONFLICT DO UPDATE SET pages = pages + 1;
    END""",
    """CREATE TRIGGER page_removed AFTER DELETE ON page BEGIN
        UPDATE page_count SET pages = pages - 1 WHERE generation = old.generation AND site = old.site;
    END""",
    # The day comes before the site: days are forgotten whole.
    """CREATE TABLE page_day (
        generation INTEGER NOT NULL, day INTEGER NOT NULL, site TEXT NOT NULL, page TEXT NOT NULL, views INTEGER NOT NULL,
        PRIMARY KEY (generation, day, site, page)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE book (
        generation INTEGER NOT NULL, site TEXT NOT NULL, name TEXT NOT NULL, amount INTEGER NOT NULL,
        PRIMARY KEY (generation, site, name)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE ledger (
        generation INTEGER NOT NULL, site TEXT NOT NULL, id TEXT NOT NULL, entry BLOB NOT NULL,
        PRIMARY KEY (generation, site, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE seen (
        generation INTEGER NOT NULL, site TEXT NOT NULL, visitor BLOB NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (generation, site, visitor)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX seen_by_at ON seen (generation, at, site)",
    """CREATE TABLE id (
        generation INTEGER NOT NULL, hash BLOB NOT NULL, log_time INTEGER NOT NULL, PRIMARY KEY (generation, hash)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX id_by_log_time ON id (generation, log_time)",
)

ADDED_SQL = (
    # Since 0.2: which generations are to be removed, and from which moment on.
    "CREATE TABLE IF NOT EXISTS doomed (generation INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT",
)
"""Tables that a file of an earlier release lacks. That release does not look at them: the schema's number stays."""
