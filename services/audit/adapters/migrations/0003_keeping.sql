-- How long entries are kept: projections of the events about the log itself, written with the rows.
-- gateway '' is what the org itself set; a gateway's policy can only lengthen that.
CREATE TABLE retention (
    org     text COLLATE "C" NOT NULL,
    gateway text COLLATE "C" NOT NULL,
    days    integer NOT NULL,
    PRIMARY KEY (org, gateway)
);

CREATE TABLE holds (
    org      text COLLATE "C" NOT NULL,
    hold     text COLLATE "C" NOT NULL,
    begins   timestamptz NOT NULL,
    ends     timestamptz,
    reason   text NOT NULL,
    added_at timestamptz NOT NULL,
    added_by text NOT NULL,
    PRIMARY KEY (org, hold)
);

-- What was decided to go, by the event that says so. The rows go afterwards.
CREATE TABLE retired (
    org            text COLLATE "C" NOT NULL,
    period         text COLLATE "C" NOT NULL,
    stream         smallint NOT NULL,
    first_sequence bigint NOT NULL,
    last_sequence  bigint NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (org, period, stream)
);

-- Rebuilding the log from the streams outlives a restart: what was asked for, how far it is, what came of it.
CREATE TABLE rebuilds (
    id           uuid PRIMARY KEY,
    org          text COLLATE "C" NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    phase        text NOT NULL,
    replayed     bigint NOT NULL,
    total        bigint NOT NULL,
    trees        jsonb NOT NULL,
    detail       text NOT NULL,
    ended_at     timestamptz
);
CREATE UNIQUE INDEX rebuilds_one_at_a_time ON rebuilds ((ended_at IS NULL)) WHERE ended_at IS NULL;
