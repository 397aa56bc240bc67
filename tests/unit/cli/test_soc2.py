"""The report on logical access: every figure from its events, and nothing of the log as markup."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from libs.cli.soc2.findings import Findings
from libs.cli.soc2.page import MAX_SHOWN, Figure, Proof, Section, render

BEGINS, ENDS = "2026-01-01T00:00:00.000000Z", "2026-04-01T00:00:00.000000Z"
BEFORE, WITHIN = "2025-06-01T08:00:00.000000Z", "2026-02-01T08:00:00.000000Z"


class Story:
    """Events in the order of their stream."""

    def __init__(self) -> None:
        self.found = Findings(BEGINS, ENDS)
        self._sequence = 0

    def happens(
        self,
        action: str,
        resource: str,
        *,
        time: str = WITHIN,
        outcome: str = "success",
        actor: str = "operator/alice",
        stream: str = "KT_EVENTS",
        category: str = "secret_management",
        type_: str = "",
        **detail: Any,
    ) -> str:
        self._sequence += 1
        (actor_type, actor_id), (kind, name) = actor.split("/"), resource.split("/")
        event_id = f"e{self._sequence}"
        data = {
            "category": category,
            "action": action,
            "outcome": {"result": outcome, "reason": "" if outcome == "success" else "not_found"},
            "actor": {"type": actor_type, "id": actor_id},
            "resource": {"type": kind, "id": name, "version": self._sequence},
            "request": {"id": "r1", "source_ip": "192.0.2.7"},
            "detail": detail,
        }
        event = {"id": event_id, "time": time, "type": type_ or f"kt.{kind}.{action}.v1", "data": data}
        self.found.take(stream, self._sequence, event)
        return event_id


@pytest.fixture
def story() -> Story:
    return Story()


def test_changes_and_failures_are_those_of_the_period(story: Story) -> None:
    story.happens("create", "config_variable/A", time=BEFORE)
    change = story.happens("update", "config_variable/A")
    failure = story.happens(
        "resolve", "config_variable/B", outcome="failure", stream="KT_ACCESS", actor="gateway/edge-1"
    )

    assert [entry.event for entry in story.found.changes] == [change]
    assert [(entry.event, entry.reason) for entry in story.found.failures] == [(failure, "not_found")]
    assert story.found.changes[0].position == "KT_EVENTS:2"
    assert story.found.events == 2


def test_the_first_moment_of_the_period_is_in_it(story: Story) -> None:
    story.happens("update", "config_variable/A", time="2026-01-01T00:00:00.000001Z")
    story.happens("update", "config_variable/A", time=BEGINS)
    story.happens("update", "config_variable/A", time="2025-12-31T23:59:59.999999Z")

    assert len(story.found.changes) == 2


def test_the_age_of_a_key_is_that_of_its_value(story: Story) -> None:
    story.happens("create", "config_variable/OLD", time=BEFORE)
    story.happens("create", "config_variable/ROTATED", time=BEFORE)
    story.happens("create", "git_token/GONE", time=BEFORE)
    rotation = story.happens("rotate", "config_variable/ROTATED", actor="admin/bob")
    story.happens("update", "config_variable/OLD")
    story.happens("delete", "git_token/GONE")

    old, rotated = story.found.keys()
    assert (old.resource, old.age_days, old.rotations) == ("config_variable/OLD", 303, 0)
    assert (rotated.age_days, rotated.rotations, rotated.set_by, rotated.event) == (58, 1, "admin/bob", rotation)
    assert rotated.created_at == BEFORE
    assert [entry.event for entry in story.found.rotations] == [rotation]


def test_tokens_that_could_be_used_in_the_period_had_access(story: Story) -> None:
    def issue(name: str, expires_at: int) -> None:
        story.happens(
            "issue",
            f"token/{name}",
            time=BEFORE,
            category="access_management",
            type_="kt.token.issued.v1",
            role="machine",
            name=name,
            references=["A*", "B"],
            expires_at=expires_at,
        )

    late, early = 1_798_761_600, 1_756_684_800  # 2027-01-01, 2025-09-01
    issue("valid", late)
    issue("expired", early)
    issue("revoked-before", late)
    issue("revoked-within", late)
    for name, time in (("revoked-before", BEFORE), ("revoked-within", WITHIN), ("unknown", WITHIN)):
        story.happens("revoke", f"token/{name}", time=time, category="access_management", type_="kt.token.revoked.v1")

    valid, revoked = story.found.valid_tokens()
    assert (valid.id, valid.references, valid.expires_at, valid.revoked_at) == (
        "valid",
        "A* B",
        "2027-01-01T00:00:00Z",
        "",
    )
    assert (revoked.id, revoked.revoked_at, revoked.events.split()) == ("revoked-within", WITHIN, ["e4", "e6"])


def test_uses_are_counted_by_actor_and_secret(story: Story) -> None:
    made = [
        story.happens(
            "resolve", "config_variable/A", stream="KT_ACCESS", actor="gateway/edge-1", outcome=outcome, time=time
        )
        for outcome, time in (("success", BEFORE), ("success", WITHIN), ("failure", WITHIN), ("success", WITHIN))
    ]

    (use,) = story.found.uses.values()
    assert (use.actor, use.resolved, use.refused) == ("gateway/edge-1", 2, 1)
    assert (use.first_event, use.last_event) == (made[1], made[3])


def test_gateways_that_were_enrolled_are_named(story: Story) -> None:
    story.happens(
        "enroll", "gateway/edge-1", time=BEFORE, type_="kt.gateway.enrolled.v1", references=["*"], actor="admin/bob"
    )
    story.happens("enroll", "gateway/edge-1", type_="kt.gateway.enrolled.v2", references=["A"], token_id="t2")

    assert [(g.name, g.token, g.references) for g in story.found.gateways.values()] == [
        ("edge-1", "", "*"),
        ("edge-1", "t2", "A"),
    ]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"] or ""

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_the_log_holds_is_never_markup() -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=y>"
    section = Section(evil, evil, "a.csv", [evil], [[evil]] * (MAX_SHOWN + 5), frozenset({0}))

    page = render(evil, {evil: evil}, [Figure(evil, evil, "a.csv")], [section], Proof(True, [evil], {evil: evil}))

    tags = Tags()
    tags.feed(page)
    assert not {"script", "img"} & set(tags.tags)
    assert tags.text.count("<script>") > MAX_SHOWN
    assert tags.policy.startswith("default-src 'none'; style-src 'sha256-")
    assert f"The first {MAX_SHOWN} of {MAX_SHOWN + 5}." in tags.text


@pytest.mark.parametrize(("complete", "word"), [(True, "Yes."), (False, "Not shown.")])
def test_the_page_says_whether_the_log_is_complete(complete: bool, word: str) -> None:
    assert word in render("t", {}, [], [], Proof(complete, [], {}))
