-- One row per message of both streams. `body` holds the stored bytes; everything else is there to be searched.
-- COLLATE "C": bytewise comparison is what prefix search by index needs, and the cheapest.
CREATE TABLE entries (
    stream        smallint    NOT NULL,
    sequence      bigint      NOT NULL,
    recorded_at   timestamptz NOT NULL,
    event_id      text COLLATE "C" NOT NULL,
    org           text COLLATE "C" NOT NULL,
    type          text COLLATE "C" NOT NULL,
    category      text COLLATE "C" NOT NULL,
    action        text COLLATE "C" NOT NULL,
    outcome       text COLLATE "C" NOT NULL,
    actor         text COLLATE "C" NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    resource_id   text COLLATE "C" NOT NULL,
    gateway       text COLLATE "C" NOT NULL,
    correlation   text COLLATE "C" NOT NULL,
    body          bytea       NOT NULL,
    PRIMARY KEY (stream, sequence, recorded_at)
) PARTITION BY RANGE (recorded_at);

-- Every index ends in the listing's order, so a page is one descending scan. Writing is bound by the CPU time of
-- index maintenance: an index stands here only when the scan of entries_by_time can't replace it.
CREATE INDEX entries_by_time ON entries (org, recorded_at, stream, sequence);
CREATE INDEX entries_by_category ON entries (org, category, recorded_at, stream, sequence);
CREATE INDEX entries_by_resource ON entries (org, resource_id, recorded_at, stream, sequence);
CREATE INDEX entries_by_actor ON entries (org, actor, recorded_at, stream, sequence);

-- The log is append-only for the service as well: it owns the table, and takes these rights from itself.
REVOKE UPDATE, DELETE, TRUNCATE ON entries FROM CURRENT_USER;
