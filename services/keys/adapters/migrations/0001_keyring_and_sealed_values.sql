-- The layout of wrapped, wrapped_data_key and ciphertext is docs/reference/sealed-format.md.

CREATE TABLE keyring (
    id uuid PRIMARY KEY,
    org text NOT NULL,
    purpose text NOT NULL,
    algorithm text NOT NULL,
    wrapped bytea NOT NULL,
    public bytea NOT NULL,
    master_fingerprint text NOT NULL,
    created_at timestamptz NOT NULL,
    retired_at timestamptz
);

COMMENT ON TABLE keyring IS 'Keys, each wrapped under the master key with this fingerprint; org * is system-wide';
COMMENT ON COLUMN keyring.retired_at IS 'Since when nothing new is protected with the key';

CREATE UNIQUE INDEX keyring_current ON keyring (org, purpose) WHERE retired_at IS NULL;

-- key_id has no foreign key: its row lock would make every seal of an org write to one keyring row. The insert
-- itself demands that the key is there and not retired.
CREATE TABLE sealed_values (
    id uuid PRIMARY KEY,
    org text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    key_id uuid NOT NULL,
    wrapped_data_key bytea NOT NULL,
    ciphertext bytea NOT NULL,
    sealed_at timestamptz NOT NULL
);

COMMENT ON COLUMN sealed_values.sealed_at IS 'When it was last asked to be sealed; the sweep counts from here';

-- Ciphertext does not compress; EXTERNAL saves the attempt.
ALTER TABLE sealed_values ALTER COLUMN ciphertext SET STORAGE EXTERNAL;

CREATE INDEX sealed_values_by_key ON sealed_values (key_id);

-- Changes of the keyring that are not on record yet: written with the change, gone once the event is stored.
CREATE TABLE rotation_notices (
    id uuid PRIMARY KEY,
    org text NOT NULL,
    from_fingerprint text NOT NULL,
    to_fingerprint text NOT NULL,
    rewrapped integer NOT NULL
);

-- The projection of KT_EVENTS: which events refer to which sealed value. The place is part of the key, so that an
-- event can neither keep nor destroy what belongs to another name.
CREATE TABLE sealed_references (
    sealed_id uuid NOT NULL,
    org text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (sealed_id, org, kind, name)
);

CREATE INDEX sealed_references_by_name ON sealed_references (org, kind, name);
