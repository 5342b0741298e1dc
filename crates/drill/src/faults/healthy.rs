//! Worlds that are whole, each in its own way: the judge has to pass them.
//!
//! Kinds of backups other than our archive are drilled by plans.

use super::act::Act;
use super::fault::Step::{self, After, BusyBackup, EarlierBackup, NextGeneration, RotateKey, Scene, Source};
use super::live::scenes::Scene as Do;
use super::trial::World;

/// A world in which nothing is wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variant {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) world: World,
    pub(crate) steps: &'static [Step],
}

impl Variant {
    const fn new(id: &'static str, what: &'static str, steps: &'static [Step]) -> Self {
        Self { id, what, world: World::Shared, steps }
    }

    const fn of(self, world: World) -> Self {
        Self { world, ..self }
    }
}

/// Those that stand for the rest.
pub(crate) const QUICK: [&str; 2] = ["as-it-is", "backup-after-changes"];

pub(crate) fn all() -> impl Iterator<Item = &'static Variant> {
    VARIANTS.iter()
}

/// No slot fires while a copy's scheduler is there: what the lost system fired later is known outside, and would be missed.
pub(super) const HELD_BACK: Step = Source(Act::Sql("UPDATE triggers SET next_due_at = next_due_at + interval '1 day'"));
pub(super) const DUE_AGAIN: Step = Source(Act::Sql("UPDATE triggers SET next_due_at = next_due_at - interval '1 day'"));
/// What the copy's scheduler fires is not what the lost one fired: that is known outside, and would be missed where the copy let it
/// pass as too old.
const MOVED_ON: Step = Source(Act::Sql(
    "UPDATE triggers SET next_due_at = next_due_at + interval '1 second'
        * (spec->>'every_s')::int * (ceil(EXTRACT(EPOCH FROM now() - next_due_at) / (spec->>'every_s')::int) + 1)
     WHERE kind = 'interval' AND next_due_at < now()
        AND workflow_id IN (SELECT workflow_id FROM workflows WHERE state = 'active')",
));
/// All that happened so far is forty days old.
pub(super) const AGED: Step = Source(Act::Sql(
    "UPDATE sessions SET created_at = created_at - interval '40 days';
     UPDATE events SET created_at = created_at - interval '40 days'",
));
/// Events are kept for thirty.
pub(super) const KEEPING: Step =
    Source(Act::Config { from: "[scheduler]", to: "[retention]\nsession_events_days = 30\n\n[scheduler]" });

/// What waits already goes on waiting while a gateway is there: the judge would not hear of the attempts that it has then.
const PUT_OFF: Step = Source(Act::Sql(
    "UPDATE deliveries SET next_attempt_at = next_attempt_at + interval '1 day' WHERE state = 'pending'",
));
const SENT_AGAIN: Step = Source(Act::Sql(
    "UPDATE deliveries SET next_attempt_at = next_attempt_at - interval '1 day' WHERE state = 'pending'",
));
/// A receiver that takes nothing stands in for the channel's own.
const NOT_TAKEN: Step =
    Source(Act::Sql("UPDATE channels SET destination = '{sink}?was=' || destination WHERE name = 'accept'"));
const TAKEN: Step =
    Source(Act::Sql("UPDATE channels SET destination = split_part(destination, '?was=', 2) WHERE name = 'accept'"));

const VARIANTS: &[Variant] = &[
    Variant::new("as-it-is", "the shared world, idle when it is backed up", &[]),
    Variant::new("bare", "one org with a session and two messages: as little as a drill can ask about", &[])
        .of(World::Bare),
    Variant::new("one-org", "all of it happens in one org", &[]).of(World::OneOrg),
    Variant::new("many-orgs", "sixty orgs with a session each", &[Scene(Do::ManyOrgs)]),
    Variant::new(
        "subscription-reconciled",
        "the plan that an org was put on after the backup was confirmed again before anybody asked",
        // As the provider's word is taken down.
        &[After(
            "generation",
            Act::Sql(
                "UPDATE subscriptions SET plan = 'drill-company', confirmed_at = now(), version = version + 1
                 WHERE plan = 'drill-team'",
            ),
        )],
    ),
    Variant::new(
        "subscriptions-of-each-state",
        "orgs that have paid, have not, and whose subscription has ended, with a prompt that it put off",
        &[Scene(Do::SubscriptionsOfEachState)],
    ),
    Variant::new(
        "begun-with-files",
        "sessions that begin with files: some have done so, some wait, and of some the source was deleted",
        &[Scene(Do::BegunWithFiles)],
    ),
    Variant::new(
        "steered",
        "prompts that steer: heard at work, waiting with a turn that waits, and without any turn to hear them",
        &[Scene(Do::Steered)],
    ),
    Variant::new(
        "huge-org",
        "an org with 1,500 sessions and 20,000 usage records more",
        &[Source(Act::Sql(
            "CREATE TEMPORARY TABLE one AS
             SELECT org_id, session_id FROM sessions WHERE title = 'Which colour?' ORDER BY session_id LIMIT 1;
             INSERT INTO sessions
             SELECT org_id, md5(session_id::text || n)::uuid, created_by, title, agent, last_sequence, 0, NULL,
                    generation, fencing_counter, NULL, created_at, updated_at
             FROM sessions JOIN one USING (org_id, session_id), generate_series(1, 1500) n;
             INSERT INTO events
             SELECT org_id, md5(session_id::text || n)::uuid, sequence, kind, payload, created_at
             FROM events JOIN one USING (org_id, session_id), generate_series(1, 1500) n;
             INSERT INTO projections
             SELECT org_id, md5(session_id::text || n)::uuid, sequence, content, updated_at
             FROM projections JOIN one USING (org_id, session_id), generate_series(1, 1500) n;
             INSERT INTO usage_records
             SELECT org_id, gen_random_uuid(), gen_random_uuid(), kind, quantity, recorded_at
             FROM (SELECT * FROM usage_records LIMIT 1) u, generate_series(1, 20000)",
        ))],
    ),
    Variant::new(
        "unicode-everywhere",
        "orgs, members, titles, prompts, labels and files in scripts that programs stumble over",
        &[Scene(Do::Unicode)],
    ),
    Variant::new(
        "keys-rotated-twice",
        "ciphertexts under three versions of the key, of which two are older ones",
        &[RotateKey, Scene(Do::NewKey), RotateKey, Scene(Do::NewKey)],
    ),
    Variant::new("members-of-each-role", "a member with tokens of each role", &[Scene(Do::MembersOfEachRole)]),
    Variant::new(
        "roles-of-their-own",
        "roles that an org made, one of them changed since, and members who have them",
        &[Scene(Do::RolesOfTheirOwn)],
    ),
    Variant::new("revoked", "tokens and BYOK keys that were revoked", &[Scene(Do::Revoked)]),
    Variant::new("erased-person", "somebody who had talked was erased before the backup", &[Scene(Do::ErasedPerson)]),
    Variant::new("busy-backup", "agents and schedulers are at work while it is backed up", &[MOVED_ON, BusyBackup]),
    Variant::new("half-done", "commands that were accepted and not begun", &[Scene(Do::HalfDone)]),
    Variant::new("waiting-for-approval", "eight sessions wait for an approval", &[Scene(Do::WaitingForApproval)]),
    Variant::new("waiting-for-an-answer", "eight sessions wait for an answer", &[Scene(Do::WaitingForAnAnswer)]),
    Variant::new("failures", "turns that failed, and sessions that went on after it", &[Scene(Do::Failures)]),
    Variant::new("long-session", "a session with thousands of events and many turns", &[Scene(Do::LongSession)]),
    Variant::new(
        "pruned-history",
        "sessions whose oldest events a scheduler compacted, one of which went on",
        &[Scene(Do::Changes), AGED, KEEPING, HELD_BACK, Scene(Do::Compacted), DUE_AGAIN],
    ),
    Variant::new("long-texts", "titles and messages as long as they may be", &[Scene(Do::LongTexts)]),
    Variant::new("big-artifact", "an artifact of 32 MB", &[Scene(Do::BigArtifact)]),
    Variant::new("empty-artifact", "an artifact without a byte", &[Scene(Do::EmptyArtifact)]),
    Variant::new("archived-workflows", "workflows of each kind that were archived", &[Scene(Do::ArchivedWorkflows)]),
    Variant::new("paused-workflows", "workflows of each kind that are paused", &[Scene(Do::PausedWorkflows)]),
    Variant::new(
        "clock-changes",
        "workflows at hours that a change of clocks leaves out or repeats, in zones of half and quarter hours",
        &[Scene(Do::ClockChanges)],
    ),
    Variant::new("many-channels", "twenty channels with and without deduplication", &[Scene(Do::ManyChannels)]),
    Variant::new(
        "dead-letters",
        "a dozen more deliveries that nobody took",
        &[PUT_OFF, NOT_TAKEN, Scene(Do::DeadLetters), TAKEN, SENT_AGAIN],
    ),
    Variant::new(
        "people-in-chats",
        "people who wrote in a chat, admitted, disabled or neither, and threads that were told of questions",
        &[PUT_OFF, NOT_TAKEN, Scene(Do::PeopleInChats), TAKEN, SENT_AGAIN],
    ),
    Variant::new(
        "closed-chat",
        "a channel in which nobody prompts who is not known",
        &[Source(Act::Sql("UPDATE channels SET unknown_may_prompt = false WHERE name = 'chat'"))],
    ),
    Variant::new(
        "unknown-deliveries",
        "deliveries of which nobody knows whether they were sent",
        &[Source(Act::Sql("UPDATE deliveries SET state = 'unknown' WHERE state = 'sent' AND sequence % 2 = 0"))],
    ),
    Variant::new("second-backup", "the second backup in an archive, of the same state", &[EarlierBackup]),
    Variant::new(
        "backup-after-changes",
        "the second backup in an archive, which shares most of its blobs with the first",
        &[EarlierBackup, Scene(Do::Changes)],
    ),
    Variant::new(
        "third-generation",
        "a system that was restored twice before, and wrote in between",
        &[NextGeneration, Scene(Do::Changes), NextGeneration, Scene(Do::Changes)],
    ),
    Variant::new(
        "operators-own-tables",
        "an operator's schema with a table, a view, a function and a sequence beside ours",
        &[Source(Act::Define(
            "CREATE SCHEMA reporting;
             CREATE TABLE reporting.notes (id serial PRIMARY KEY, said text NOT NULL DEFAULT 'nothing');
             INSERT INTO reporting.notes (said) SELECT 'note ' || n FROM generate_series(1, 50) n;
             CREATE VIEW reporting.busy AS SELECT org_id, count(*) AS sessions FROM public.sessions GROUP BY org_id;
             CREATE FUNCTION reporting.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'",
        ))],
    ),
    Variant::new(
        "rewritten-tables",
        "tables that Postgres has written anew, in another order of rows",
        &[
            Source(Act::Define("UPDATE events SET kind = kind")),
            Source(Act::Define("VACUUM FULL events")),
            Source(Act::Define("CLUSTER sessions USING sessions_pkey")),
        ],
    ),
];
