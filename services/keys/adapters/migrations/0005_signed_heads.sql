-- The newest tree of each log that this service signed. A signature is given only for a tree that continues it.
CREATE TABLE signed_heads (
    origin text PRIMARY KEY,
    size bigint NOT NULL,
    root bytea NOT NULL
);
