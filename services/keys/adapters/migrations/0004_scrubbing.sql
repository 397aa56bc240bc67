-- What was destroyed may not stay behind: neither in the statistics that ANALYZE takes of a column, nor in the pages of
-- a table, where PostgreSQL leaves deleted rows until something else needs the room.
ALTER TABLE keyring ALTER COLUMN wrapped SET STATISTICS 0;
ALTER TABLE sealed_values
    ALTER COLUMN wrapped_data_key SET STATISTICS 0,
    ALTER COLUMN ciphertext SET STATISTICS 0;

-- Written with each deletion. A table is to be rewritten while its file is still the one that rows were deleted from,
-- whoever rewrites it. There is no key, so that no deletion waits for another one.
CREATE TABLE scrubs_due (
    table_name text NOT NULL,
    filenode oid NOT NULL
);

CREATE FUNCTION note_deletion() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO scrubs_due (table_name, filenode)
    SELECT TG_TABLE_NAME, pg_relation_filenode(TG_RELID) WHERE EXISTS (SELECT FROM gone);
    RETURN NULL;
END
$$;

CREATE TRIGGER scrub_keyring AFTER DELETE ON keyring REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION note_deletion();
CREATE TRIGGER scrub_sealed_values AFTER DELETE ON sealed_values REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION note_deletion();
