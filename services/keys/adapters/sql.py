"""Every SQL statement of the key service. Tables are found by the search path of the pool."""

from __future__ import annotations

from typing import Final

LOCK_KEYRING: Final = "SELECT pg_advisory_xact_lock(hashtext('keys/keyring'))"
"""Held to the end of the transaction. Everyone who writes to the keyring takes it first."""

PREPARE_WRITING: Final = (
    "SELECT set_config('lock_timeout', '10s', true), set_config('synchronous_commit', 'on', true)"
)

_ENTRY: Final = "id, org, purpose, algorithm, wrapped, public, master_fingerprint, created_at, retired_at"

ENTRIES: Final = f"SELECT {_ENTRY} FROM keyring ORDER BY created_at, id"  # noqa: S608 - a constant

REVISION: Final = """
SELECT md5(coalesce(string_agg(concat_ws(' ', id, master_fingerprint, retired_at), ',' ORDER BY id), ''))
  FROM keyring
"""

CURRENT_ENTRY: Final = f"SELECT {_ENTRY} FROM keyring WHERE org = %s AND purpose = %s AND retired_at IS NULL"  # noqa: S608 - a constant

ADD_ENTRY: Final = f"INSERT INTO keyring ({_ENTRY}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608

REWRAP_ENTRY: Final = "UPDATE keyring SET wrapped = %s, master_fingerprint = %s WHERE id = %s"

RETIRE_ENTRY: Final = "UPDATE keyring SET retired_at = %s WHERE id = %s AND retired_at IS NULL"

_NOTICE: Final = "id, org, from_fingerprint, to_fingerprint, rewrapped"

ADD_NOTICE: Final = f"INSERT INTO rotation_notices ({_NOTICE}) VALUES (%s, %s, %s, %s, %s)"  # noqa: S608 - a constant

NOTICES: Final = f"SELECT {_NOTICE} FROM rotation_notices ORDER BY id"  # noqa: S608 - a constant

NOTICE_DONE: Final = "DELETE FROM rotation_notices WHERE id = %s"

RESTORES: Final = (
    "SELECT id, manifest_sha256, taken_at, restored_at, into_what FROM restore_notices ORDER BY restored_at"
)

RESTORE_RECORDED: Final = "DELETE FROM restore_notices WHERE id = %s"

HAS_SEALED_VALUES: Final = "SELECT EXISTS (SELECT FROM sealed_values)"

PUT_VALUE: Final = """
INSERT INTO sealed_values AS stored (id, org, kind, name, key_id, wrapped_data_key, ciphertext, sealed_at)
SELECT %(id)s, %(org)s, %(kind)s, %(name)s, keyring.id, %(wrapped_data_key)s, %(ciphertext)s, %(now)s
  FROM keyring, set_config('synchronous_commit', 'on', true)
 WHERE keyring.id = %(key_id)s AND keyring.retired_at IS NULL
    ON CONFLICT (id) DO UPDATE SET sealed_at = greatest(stored.sealed_at, excluded.sealed_at)
RETURNING wrapped_data_key
"""
"""One statement, so that a sweep or another writer can't come between the check and the write. Its commit is on the
disk when it returns, whatever the server's default. The wrapped data key that comes back tells whether the row is the
new one; data keys are random."""

VALUES: Final = """
SELECT id::text, org, kind, name, key_id::text, wrapped_data_key, ciphertext
  FROM sealed_values
 WHERE id = ANY(%s::uuid[])
"""

SWEEP: Final = """
DELETE FROM sealed_values AS v
 WHERE v.sealed_at < %s
   AND NOT EXISTS (SELECT FROM sealed_references AS r
                    WHERE r.sealed_id = v.id AND r.org = v.org AND r.kind = v.kind AND r.name = v.name)
"""

REFER: Final = """
INSERT INTO sealed_references AS r (sealed_id, org, kind, name, sequence)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[])
    ON CONFLICT (sealed_id, org, kind, name) DO UPDATE SET sequence = greatest(r.sequence, excluded.sequence)
"""

DESTROY: Final = """
WITH destroyed AS (
    DELETE FROM sealed_references AS r
     USING unnest(%s::text[], %s::text[], %s::text[], %s::bigint[]) AS d (org, kind, name, sequence)
     WHERE r.org = d.org AND r.kind = d.kind AND r.name = d.name AND r.sequence < d.sequence
    RETURNING r.sealed_id, r.org, r.kind, r.name)
DELETE FROM sealed_values AS v
 USING destroyed AS d
 WHERE v.id = d.sealed_id AND v.org = d.org AND v.kind = d.kind AND v.name = d.name
"""
"""Deletes what events before the deletion refer to, by id: a name that was created again keeps its new value."""

DESTROY_VERSIONS: Final = """
WITH destroyed AS (
    DELETE FROM sealed_references AS r
     USING unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[])
        AS d (sealed_id, org, kind, name, sequence)
     WHERE r.sealed_id = d.sealed_id AND r.org = d.org AND r.kind = d.kind AND r.name = d.name
       AND r.sequence < d.sequence
    RETURNING r.sealed_id, r.org, r.kind, r.name)
DELETE FROM sealed_values AS v
 USING destroyed AS d
 WHERE v.id = d.sealed_id AND v.org = d.org AND v.kind = d.kind AND v.name = d.name
"""

CLAIM_ROW: Final = """
INSERT INTO legacy_claims (sealed_id, org, name, row_version, claimed_at)
SELECT %s, %s, %s, %s, %s FROM set_config('synchronous_commit', 'on', true)
"""

ROWS_TAKEN_OVER: Final = """
UPDATE legacy_claims AS c SET due = true
  FROM unnest(%s::uuid[], %s::text[], %s::text[]) AS t (sealed_id, org, name)
 WHERE c.sealed_id = t.sealed_id AND c.org = t.org AND c.name = t.name
"""

DUE_CLAIMS: Final = """
SELECT sealed_id, name, row_version FROM legacy_claims WHERE due AND sealed_id > %s ORDER BY sealed_id LIMIT %s
"""

COUNT_DUE_CLAIMS: Final = "SELECT count(*) FROM legacy_claims WHERE due AND org = %s"

CLAIM_DONE: Final = "DELETE FROM legacy_claims WHERE sealed_id = %s"

SWEEP_CLAIMS: Final = "DELETE FROM legacy_claims WHERE NOT due AND claimed_at < %s"
