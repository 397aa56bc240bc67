-- Rows of the earlier system's table whose value was sealed here. A claim is made before the value is sealed, becomes
-- due with the event that refers to the sealed value, and is gone once the row is. Claims without an event are swept.
CREATE TABLE legacy_claims (
    sealed_id uuid PRIMARY KEY,
    org text NOT NULL,
    name text NOT NULL,
    row_version text NOT NULL,
    claimed_at timestamptz NOT NULL,
    due boolean NOT NULL DEFAULT false
);

COMMENT ON COLUMN legacy_claims.row_version IS 'xmin of the row that was read: a row that was changed since is not deleted';

CREATE INDEX legacy_claims_due ON legacy_claims (claimed_at) WHERE due;
