-- Names sort by byte, so that a cursor means the same whatever the database's locale.
CREATE TABLE variables (
    org         text        NOT NULL,
    name        text        NOT NULL COLLATE "C",
    description text        NOT NULL,
    sensitive   boolean     NOT NULL,
    version     integer     NOT NULL,
    sequence    bigint      NOT NULL,
    created_at  text        NOT NULL,
    updated_at  text        NOT NULL,
    PRIMARY KEY (org, name)
);

CREATE TABLE gateways (
    org         text        NOT NULL,
    name        text        NOT NULL COLLATE "C",
    allowed     text[]      NOT NULL,
    enrolled_at text        NOT NULL,
    PRIMARY KEY (org, name)
);
