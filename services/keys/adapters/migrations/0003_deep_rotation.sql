-- Deep rotation reads the values of one key in the order of their ids, and looks for stragglers the same way.
CREATE INDEX sealed_values_of_key ON sealed_values (key_id, id);
DROP INDEX sealed_values_by_key;

-- One row per deep rotation of an org, the finished ones included. Its events are sent from here: recorded counts
-- those that are stored (the start, the completion).
CREATE TABLE deep_rotations (
    id uuid PRIMARY KEY,
    org text NOT NULL,
    new_key uuid NOT NULL,
    old_keys uuid[] NOT NULL,
    transport_key uuid NOT NULL,
    data_keys bigint NOT NULL,
    rewrapped bigint NOT NULL DEFAULT 0,
    damaged bigint NOT NULL DEFAULT 0,
    destroyed_keys uuid[] NOT NULL DEFAULT '{}',
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    request_id text NOT NULL,
    source_ip text NOT NULL,
    user_agent text NOT NULL,
    started_at timestamptz NOT NULL,
    completed_at timestamptz,
    retired_by xid8 NOT NULL DEFAULT pg_current_xact_id(),
    retired_at timestamptz NOT NULL DEFAULT now(),
    recorded smallint NOT NULL DEFAULT 0
);

COMMENT ON COLUMN deep_rotations.data_keys IS 'How many were wrapped under the old keys when it began';
COMMENT ON COLUMN deep_rotations.retired_by IS
    'The transaction that retired the old keys; a statement that began before it may still seal under them';

CREATE UNIQUE INDEX deep_rotations_running ON deep_rotations (org) WHERE completed_at IS NULL;
CREATE INDEX deep_rotations_of_org ON deep_rotations (org, started_at);

-- Sealed values that were found not to open, for people to look at. Whoever lists them looks again first.
CREATE TABLE damaged_values (
    sealed_id uuid PRIMARY KEY,
    org text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    digest text,
    why text NOT NULL,
    found_at timestamptz NOT NULL
);

COMMENT ON COLUMN damaged_values.digest IS 'What the event that refers to it says, where that is known';

CREATE INDEX damaged_values_of_org ON damaged_values (org, kind, name);
