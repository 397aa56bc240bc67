-- How far each place outside has the signed states of a log: directories, buckets, branches, witnesses.
CREATE TABLE checkpoint_copies (
    place     text        NOT NULL,
    stream    smallint    NOT NULL,
    size      bigint      NOT NULL,
    copied_at timestamptz NOT NULL,
    PRIMARY KEY (place, stream)
);

-- Signature lines of witnesses, behind the log's own (C2SP tlog-cosignature).
CREATE TABLE cosignatures (
    stream smallint NOT NULL,
    size   bigint   NOT NULL,
    line   text     NOT NULL,
    PRIMARY KEY (stream, size, line)
);

REVOKE UPDATE, DELETE, TRUNCATE ON cosignatures FROM CURRENT_USER;
REVOKE DELETE, TRUNCATE ON checkpoint_copies FROM CURRENT_USER;
