-- Of what archive the sealed store was filled, while that is not on record: written with the values, gone once the
-- event is stored.
CREATE TABLE restore_notices (
    id uuid PRIMARY KEY,
    manifest_sha256 text NOT NULL,
    taken_at text NOT NULL,
    restored_at text NOT NULL,
    into_what text NOT NULL
);
COMMENT ON COLUMN restore_notices.into_what IS 'home or engines';
