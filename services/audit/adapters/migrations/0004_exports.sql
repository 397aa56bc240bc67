-- Exports of the log: what was asked for, and the files that were made of it, as their manifests name them.
CREATE TABLE exports (
    id             uuid PRIMARY KEY,
    org            text COLLATE "C" NOT NULL,
    format         text NOT NULL,
    filter         text NOT NULL,
    begins         timestamptz,
    ends           timestamptz,
    requester_type text NOT NULL,
    requester_id   text NOT NULL,
    requested_at   timestamptz NOT NULL,
    logs           jsonb NOT NULL
);

-- A file that is made again replaces what was said of it; it has the same rows.
CREATE TABLE export_segments (
    export        uuid     NOT NULL,
    number        integer  NOT NULL,
    stream        smallint NOT NULL,
    last_sequence bigint   NOT NULL,
    file          jsonb,
    PRIMARY KEY (export, number)
);

REVOKE UPDATE, DELETE, TRUNCATE ON exports FROM CURRENT_USER;
REVOKE DELETE, TRUNCATE ON export_segments FROM CURRENT_USER;
