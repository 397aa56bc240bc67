-- Times and ids of people as the events have them. What is not known of a token that was signed elsewhere is empty.
CREATE TABLE tokens (
    org              text    NOT NULL,
    id               text    NOT NULL COLLATE "C",
    sequence         bigint  NOT NULL,
    role             text    NOT NULL,
    name             text    NOT NULL COLLATE "C",
    key_id           text    NOT NULL,
    allowed          text[]  NOT NULL,
    issued_at        text    NOT NULL,
    issued_by_type   text    NOT NULL,
    issued_by_id     text    NOT NULL,
    expires_at       bigint  NOT NULL,
    revoked_sequence bigint,
    revoked_at       text    NOT NULL DEFAULT '',
    revoked_by_type  text    NOT NULL DEFAULT '',
    revoked_by_id    text    NOT NULL DEFAULT '',
    PRIMARY KEY (org, id)
);
CREATE INDEX tokens_by_age ON tokens (org, sequence DESC);
CREATE INDEX tokens_by_name ON tokens (org, name, sequence DESC);
CREATE INDEX tokens_revoked ON tokens (revoked_sequence) WHERE revoked_sequence IS NOT NULL;
