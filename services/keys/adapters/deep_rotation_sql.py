"""The SQL statements of deep rotation and of damaged values."""

from __future__ import annotations

from typing import Final

_ROTATION: Final = """
id::text, org, new_key::text, old_keys::text[], transport_key::text, data_keys, actor_type, actor_id, request_id,
source_ip, user_agent, started_at, rewrapped, damaged, destroyed_keys::text[], completed_at
"""

ROTATION: Final = f"SELECT {_ROTATION} FROM deep_rotations WHERE id = %s"  # noqa: S608 - a constant

RUNNING_OF_ORG: Final = f"SELECT {_ROTATION} FROM deep_rotations WHERE org = %s AND completed_at IS NULL"  # noqa: S608

RUNNING: Final = f"SELECT {_ROTATION} FROM deep_rotations WHERE completed_at IS NULL ORDER BY started_at, id"  # noqa: S608

LATEST: Final = f"SELECT {_ROTATION} FROM deep_rotations WHERE org = %s ORDER BY started_at DESC, id DESC LIMIT 1"  # noqa: S608

UNRECORDED: Final = f"""
SELECT recorded, {_ROTATION} FROM deep_rotations
 WHERE recorded < CASE WHEN completed_at IS NULL THEN 1 ELSE 2 END
 ORDER BY started_at, id
"""  # noqa: S608 - a constant

RECORDED: Final = "UPDATE deep_rotations SET recorded = greatest(recorded, %s) WHERE id = %s"

BEGIN: Final = """
INSERT INTO deep_rotations AS r (id, org, new_key, old_keys, transport_key, data_keys, actor_type, actor_id,
                                 request_id, source_ip, user_agent, started_at)
VALUES (%(id)s, %(org)s, %(new_key)s, %(old_keys)s, %(transport_key)s, %(data_keys)s, %(actor_type)s, %(actor_id)s,
        %(request_id)s, %(source_ip)s, %(user_agent)s, %(started_at)s)
    ON CONFLICT (id) DO UPDATE SET new_key = excluded.new_key, old_keys = excluded.old_keys, rewrapped = 0,
       transport_key = excluded.transport_key, data_keys = excluded.data_keys, retired_by = excluded.retired_by,
       retired_at = excluded.retired_at
"""

COMPLETE: Final = """
UPDATE deep_rotations SET completed_at = %s, damaged = %s, destroyed_keys = %s WHERE id = %s
"""

VALUES_UNDER: Final = "SELECT key_id::text, count(*) FROM sealed_values WHERE key_id = ANY(%s) GROUP BY key_id"

ARE_LEFT: Final = """
SELECT EXISTS (SELECT FROM sealed_values AS v
                WHERE v.key_id = ANY(%s) AND NOT EXISTS (SELECT FROM damaged_values AS d WHERE d.sealed_id = v.id))
"""

ARE_UNDER_WAY: Final = """
SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
                  AND age(backend_xmin) >= age(retired_by::xid))
  FROM deep_rotations
 WHERE id = %s AND retired_at > now() - interval '1 hour'
"""
"""A statement does not see what was committed behind its snapshot. So one whose snapshot is as old as the transaction
that retired the keys may still store a value under them. It is over within the statement timeout of half a minute."""

DAMAGED_UNDER: Final = """
SELECT count(*) FROM damaged_values AS d JOIN sealed_values AS v ON v.id = d.sealed_id WHERE v.key_id = %s
"""

DESTROY_ENTRY: Final = "DELETE FROM keyring WHERE id = %s"

IS_WORK_DUE: Final = """
SELECT EXISTS (SELECT FROM deep_rotations WHERE completed_at IS NULL)
    OR EXISTS (SELECT FROM keyring AS k
                WHERE k.retired_at IS NOT NULL
                  AND (k.purpose = 'transport' AND k.retired_at < %s
                    OR k.purpose = 'key-encryption'
                       AND NOT EXISTS (SELECT FROM sealed_values AS v WHERE v.key_id = k.id)))
"""

LEAD: Final = "SELECT pg_try_advisory_lock(hashtext('keys/deep-rotation'))"

NEXT_VALUES: Final = """
SELECT id::text, org, kind, name, key_id::text, wrapped_data_key, ciphertext
  FROM sealed_values
 WHERE key_id = %s AND id > %s
 ORDER BY id
 LIMIT %s
   FOR NO KEY UPDATE SKIP LOCKED
"""
"""It waits for nobody, so it can be part of no deadlock."""

MOVE: Final = """
UPDATE sealed_values AS v
   SET key_id = m.key_id, wrapped_data_key = m.wrapped_data_key
  FROM unnest(%s::uuid[], %s::uuid[], %s::bytea[]) AS m (id, key_id, wrapped_data_key)
 WHERE v.id = m.id
"""

COUNT_MOVED: Final = "UPDATE deep_rotations SET rewrapped = rewrapped + %s WHERE id = %s"

REPORT: Final = """
INSERT INTO damaged_values AS d (sealed_id, org, kind, name, digest, why, found_at)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::timestamptz[])
    ON CONFLICT (sealed_id) DO UPDATE SET org = excluded.org, kind = excluded.kind, name = excluded.name,
       why = excluded.why, digest = coalesce(nullif(excluded.digest, ''), d.digest)
"""

LISTED: Final = """
SELECT d.sealed_id::text, d.org, d.kind, d.name, d.why, d.found_at, coalesce(d.digest, '')
  FROM damaged_values AS d
 WHERE d.org = %s
   AND (EXISTS (SELECT FROM sealed_values AS v WHERE v.id = d.sealed_id)
     OR EXISTS (SELECT FROM sealed_references AS r
                 WHERE r.sealed_id = d.sealed_id AND r.org = d.org AND r.kind = d.kind AND r.name = d.name))
 ORDER BY d.kind, d.name, d.sealed_id
 LIMIT %s
"""

FORGET: Final = "DELETE FROM damaged_values WHERE sealed_id = ANY(%s::uuid[])"
