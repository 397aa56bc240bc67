-- The projection of KT_EVENTS, and what the delivery itself adds to it: gone_at and hold_until.
CREATE TABLE webhooks (
    id               text        COLLATE "C" PRIMARY KEY,
    org              text        NOT NULL,
    url              text        NOT NULL,
    event_types      text[]      NOT NULL,
    description      text        NOT NULL,
    enabled          boolean     NOT NULL DEFAULT true,
    disabled_reason  text        NOT NULL DEFAULT '',
    secrets          jsonb       NOT NULL,
    retire_at        timestamptz,
    created_sequence bigint      NOT NULL,
    sequence         bigint      NOT NULL,
    created_at       text        NOT NULL,
    updated_at       text        NOT NULL,
    deleted          boolean     NOT NULL DEFAULT false,
    gone_at          timestamptz,
    hold_until       timestamptz
);

COMMENT ON COLUMN webhooks.secrets IS 'Id and digest of each sealed secret, the current one first, the others with the time until which they sign';
COMMENT ON COLUMN webhooks.retire_at IS 'When the overlap of the first old secret is over';
COMMENT ON COLUMN webhooks.gone_at IS 'When the address answered 410; it is to be disabled';
COMMENT ON COLUMN webhooks.hold_until IS 'The address asked to be left alone until then (Retry-After)';

CREATE INDEX webhooks_listed ON webhooks (org, created_sequence) WHERE NOT deleted;

-- One row for each webhook and event. The event itself stays in its stream.
CREATE TABLE deliveries (
    id          uuid        PRIMARY KEY,
    number      bigint      GENERATED ALWAYS AS IDENTITY,
    webhook     text        NOT NULL COLLATE "C",
    stream      text        NOT NULL,
    sequence    bigint      NOT NULL,
    event_id    text        NOT NULL,
    event_type  text        NOT NULL,
    created_at  timestamptz NOT NULL,
    begun_at    timestamptz NOT NULL,
    status      text        NOT NULL DEFAULT 'pending',
    attempts    integer     NOT NULL DEFAULT 0,
    claims      integer     NOT NULL DEFAULT 0,
    due_at      timestamptz NOT NULL,
    answered    integer     NOT NULL DEFAULT 0,
    reason      text        NOT NULL DEFAULT '',
    finished_at timestamptz,
    outcome_id  uuid
);

COMMENT ON COLUMN deliveries.begun_at IS 'When it became due first, or was asked for again';
COMMENT ON COLUMN deliveries.claims IS 'Counts every attempt there ever was, so that a late one changes nothing';
COMMENT ON COLUMN deliveries.due_at IS 'When the next attempt is due; while one is made, when it counts as lost';
COMMENT ON COLUMN deliveries.outcome_id IS 'Id of the outcome''s event until it is on record';

CREATE INDEX deliveries_due ON deliveries (webhook, due_at) WHERE status = 'pending';
CREATE INDEX deliveries_begun ON deliveries (begun_at) WHERE status = 'pending';
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE status <> 'pending';
CREATE INDEX deliveries_listed ON deliveries (webhook, number);
CREATE INDEX deliveries_unrecorded ON deliveries (webhook, finished_at) WHERE outcome_id IS NOT NULL;

-- How far the outcomes of each webhook are on record. Who records them holds the row's lock.
CREATE TABLE outcome_logs (
    webhook  text   COLLATE "C" PRIMARY KEY,
    org      text   NOT NULL,
    sequence bigint NOT NULL DEFAULT 0
);

-- Whether KT_ACCESS is followed: only while a webhook names one of its events.
CREATE TABLE access_follow (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    active   boolean NOT NULL DEFAULT false
);

INSERT INTO access_follow DEFAULT VALUES;
