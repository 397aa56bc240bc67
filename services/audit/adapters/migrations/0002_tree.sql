-- One Merkle tree (RFC 6962) for each stream, stored as tiles (C2SP tlog-tiles): 256 hashes next to each other. Leaf
-- index is sequence - 1. The rightmost tile of a level is rewritten as it grows; all others are final.
CREATE TABLE tiles (
    stream smallint NOT NULL,
    level  smallint NOT NULL,
    index  bigint   NOT NULL,
    hashes bytea    NOT NULL,
    PRIMARY KEY (stream, level, index)
);

-- Hashes don't compress.
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;

CREATE FUNCTION tile_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.stream, NEW.level, NEW.index) IS DISTINCT FROM (OLD.stream, OLD.level, OLD.index)
        OR substr(NEW.hashes, 1, length(OLD.hashes)) IS DISTINCT FROM OLD.hashes
    THEN
        RAISE EXCEPTION 'a tile only grows' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;

-- What was gone before the log could see it: its leaves are 32 zero bytes, which no entry has for a hash.
CREATE TABLE unseen (
    stream         smallint NOT NULL,
    first_sequence bigint   NOT NULL,
    last_sequence  bigint   NOT NULL,
    PRIMARY KEY (stream, first_sequence)
);

-- Retention: rows of leaves below a minimum are gone for good, as was decided then. The highest one counts.
CREATE TABLE minimums (
    stream     smallint    NOT NULL,
    minimum    bigint      NOT NULL,
    decided_at timestamptz NOT NULL,
    PRIMARY KEY (stream, minimum)
);

-- What was said of the tree, and signed: notes as they were handed out (C2SP tlog-checkpoint).
CREATE TABLE checkpoints_signed (
    stream    smallint    NOT NULL,
    size      bigint      NOT NULL,
    root      bytea       NOT NULL,
    key_id    uuid        NOT NULL,
    note      text        NOT NULL,
    signed_at timestamptz NOT NULL,
    PRIMARY KEY (stream, size)
);

CREATE TRIGGER tile_only_grows BEFORE UPDATE ON tiles FOR EACH ROW EXECUTE FUNCTION tile_only_grows();

REVOKE DELETE, TRUNCATE ON tiles FROM CURRENT_USER;
REVOKE UPDATE, DELETE, TRUNCATE ON unseen, minimums, checkpoints_signed FROM CURRENT_USER;
