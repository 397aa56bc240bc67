"""Every SQL statement of the webhooks service. Tables are found by the search path of the pool."""

from __future__ import annotations

from typing import Final

_WEBHOOK: Final = (
    "id, org, url, event_types, description, enabled, disabled_reason, secrets, created_sequence, sequence,"
    " created_at, updated_at, deleted"
)

WEBHOOKS_OF: Final = f"SELECT {_WEBHOOK} FROM webhooks WHERE org = ANY(%s) AND (NOT deleted OR id = ANY(%s))"  # noqa: S608

WEBHOOK: Final = f"SELECT {_WEBHOOK} FROM webhooks WHERE org = %s AND id = %s AND NOT deleted"  # noqa: S608

WEBHOOK_PAGE: Final = f"""
SELECT {_WEBHOOK} FROM webhooks
 WHERE org = %s AND NOT deleted AND created_sequence > %s ORDER BY created_sequence LIMIT %s
"""  # noqa: S608 - a constant

COUNT_WEBHOOKS: Final = "SELECT count(*) FROM webhooks WHERE org = %s AND NOT deleted AND id <> %s"

PUT_WEBHOOK: Final = f"""
INSERT INTO webhooks AS w ({_WEBHOOK}, retire_at)
VALUES (%(id)s, %(org)s, %(url)s, %(event_types)s, %(description)s, %(enabled)s, %(disabled_reason)s, %(secrets)s,
        %(created_sequence)s, %(sequence)s, %(created_at)s, %(updated_at)s, %(deleted)s, %(retire_at)s)
    ON CONFLICT (id) DO UPDATE
   SET (url, event_types, description, enabled, disabled_reason, secrets, sequence, updated_at, deleted, retire_at,
        gone_at, hold_until)
     = (excluded.url, excluded.event_types, excluded.description, excluded.enabled, excluded.disabled_reason,
        excluded.secrets, excluded.sequence, excluded.updated_at, excluded.deleted, excluded.retire_at,
        CASE WHEN %(released)s THEN NULL ELSE w.gone_at END, CASE WHEN %(released)s THEN NULL ELSE w.hold_until END)
"""  # noqa: S608 - a constant
"""Whoever changes or disables a webhook releases it from what its address has asked for."""

PUT_LOG: Final = "INSERT INTO outcome_logs (webhook, org) VALUES (%s, %s) ON CONFLICT DO NOTHING"

ADD_DELIVERIES: Final = """
INSERT INTO deliveries (id, webhook, stream, sequence, event_id, event_type, created_at, begun_at, due_at)
SELECT id, webhook, stream, sequence, event_id, event_type, created_at, created_at, created_at
  FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::timestamptz[])
    AS d (id, webhook, stream, sequence, event_id, event_type, created_at)
    ON CONFLICT (id) DO NOTHING
"""

END_PENDING: Final = """
UPDATE deliveries SET status = 'failed', reason = %(reason)s, finished_at = %(now)s, outcome_id = gen_random_uuid()
 WHERE webhook = %(webhook)s AND status = 'pending'
"""

CLAIM: Final = """
WITH chosen AS (
    SELECT d.id
      FROM webhooks AS w
      LEFT JOIN unnest(%(busy)s::text[], %(counts)s::int[]) AS b (webhook, under_way) ON b.webhook = w.id
     CROSS JOIN LATERAL (
           SELECT id, due_at FROM deliveries
            WHERE webhook = w.id AND status = 'pending' AND due_at <= %(now)s
            ORDER BY due_at LIMIT greatest(%(each)s - coalesce(b.under_way, 0), 0)
              FOR UPDATE SKIP LOCKED) AS d
     WHERE w.enabled AND w.gone_at IS NULL AND (w.hold_until IS NULL OR w.hold_until <= %(now)s)
     ORDER BY d.due_at LIMIT %(limit)s)
UPDATE deliveries AS d SET attempts = attempts + 1, claims = claims + 1, due_at = %(lost_at)s
  FROM chosen, webhooks AS w
 WHERE d.id = chosen.id AND w.id = d.webhook
RETURNING d.id, d.webhook, w.org, d.event_id, d.stream, d.sequence, d.attempts, d.claims, w.url, w.secrets
"""

MARK_GONE: Final = "UPDATE webhooks SET gone_at = %(now)s WHERE id = %(webhook)s AND enabled AND gone_at IS NULL"

MARK_HELD: Final = """
UPDATE webhooks SET hold_until = greatest(hold_until, %(hold)s::timestamptz) WHERE id = %(webhook)s
"""

COMPLETE: Final = """
UPDATE deliveries
   SET status = %(status)s, due_at = %(due)s, answered = %(answered)s, reason = %(reason)s,
       finished_at = %(finished)s, outcome_id = %(outcome)s
 WHERE id = %(id)s AND claims = %(claim)s AND status = 'pending'
"""

POSTPONE: Final = """
UPDATE deliveries SET attempts = attempts - 1, due_at = %(due)s
 WHERE id = %(id)s AND claims = %(claim)s AND status = 'pending'
"""

_VIEW: Final = "number, id, event_id, event_type, status, attempts, answered, reason, created_at, due_at, finished_at"

DELIVERY: Final = f"SELECT {_VIEW} FROM deliveries WHERE id = %s AND webhook = %s"  # noqa: S608 - a constant

DELIVERY_PAGE: Final = f"""
SELECT {_VIEW} FROM deliveries
 WHERE webhook = %(webhook)s AND number < %(before)s AND (%(status)s::text IS NULL OR status = %(status)s)
 ORDER BY number DESC LIMIT %(limit)s
"""  # noqa: S608 - a constant

REDELIVER: Final = """
UPDATE deliveries
   SET status = 'pending', attempts = 0, due_at = %(now)s, begun_at = %(now)s, finished_at = NULL
 WHERE id = %(id)s AND webhook = %(webhook)s AND status <> 'pending' AND outcome_id IS NULL
"""

LOCK_LOG: Final = """
SELECT l.webhook, l.org, l.sequence FROM outcome_logs AS l
 WHERE EXISTS (SELECT FROM deliveries AS d WHERE d.webhook = l.webhook AND d.outcome_id IS NOT NULL)
 LIMIT 1 FOR UPDATE SKIP LOCKED
"""

UNRECORDED: Final = """
SELECT outcome_id, id, event_id, event_type, status, attempts, answered, reason, finished_at FROM deliveries
 WHERE webhook = %s AND outcome_id IS NOT NULL ORDER BY finished_at, id LIMIT %s
"""

RECORDED: Final = "UPDATE deliveries SET outcome_id = NULL WHERE webhook = %s AND outcome_id = ANY(%s::uuid[])"

MOVE_LOG: Final = "UPDATE outcome_logs SET sequence = %s WHERE webhook = %s"

OVERDUE_SECRETS: Final = "SELECT org, id, retire_at FROM webhooks WHERE retire_at <= %s AND NOT deleted LIMIT 100"

GONE: Final = "SELECT org, id, gone_at FROM webhooks WHERE gone_at IS NOT NULL AND enabled LIMIT 100"

EXPIRE: Final = """
UPDATE deliveries SET status = 'failed', reason = 'expired', finished_at = %(now)s, outcome_id = gen_random_uuid()
 WHERE id IN (SELECT id FROM deliveries WHERE status = 'pending' AND begun_at < %(before)s LIMIT 10000)
"""

SWEEP: Final = """
DELETE FROM deliveries
 WHERE id IN (SELECT id FROM deliveries
               WHERE status <> 'pending' AND finished_at < %s AND outcome_id IS NULL LIMIT 10000)
"""

SWEEP_DELETED: Final = """
WITH ended AS (
    SELECT w.id FROM webhooks AS w
     WHERE w.deleted
       AND NOT EXISTS (SELECT FROM deliveries AS d WHERE d.webhook = w.id AND d.outcome_id IS NOT NULL)
     LIMIT 10),
gone AS (DELETE FROM deliveries USING ended WHERE webhook = ended.id),
logs AS (DELETE FROM outcome_logs USING ended WHERE webhook = ended.id)
DELETE FROM webhooks USING ended WHERE webhooks.id = ended.id
"""

NAMED: Final = """
SELECT DISTINCT named FROM webhooks, unnest(event_types) AS named WHERE enabled AND named = ANY(%s)
"""

WAITING: Final = """
SELECT w.id, (SELECT count(*) FROM deliveries AS d WHERE d.webhook = w.id AND d.status = 'pending')
  FROM unnest(%s::text[]) AS w (id)
"""

IS_FOLLOWED: Final = "SELECT active FROM access_follow FOR UPDATE"

SET_FOLLOWED: Final = "UPDATE access_follow SET active = %s"

BEGIN_AT: Final = """
INSERT INTO checkpoints (projection, sequence, digest) VALUES (%s, %s, %s)
    ON CONFLICT (projection) DO UPDATE SET sequence = excluded.sequence, digest = excluded.digest
"""
