//! Events, projections and artifacts.

use super::super::act::Act;
use super::super::fault::Step::{After, Scene, Source};
use super::super::fault::{Fault, found};
use super::super::healthy::{AGED, DUE_AGAIN, HELD_BACK, KEEPING};
use super::super::live::scenes::Scene as Do;
use crate::report::CheckId as Row;
use crate::report::Code;

/// The newest session that was compacted and went on is damaged, by a statement around a question for its id.
macro_rules! compacted {
    ($damage:literal, $rest:literal) => {
        &[
            Scene(Do::Changes),
            AGED,
            KEEPING,
            HELD_BACK,
            Scene(Do::Compacted),
            DUE_AGAIN,
            Source(Act::Sql(concat!(
                $damage,
                "(SELECT base.session_id FROM events base
                JOIN events after ON after.session_id = base.session_id AND after.sequence = base.sequence + 1
                WHERE base.kind = 'compacted' ORDER BY 1 DESC LIMIT 1)",
                $rest,
            ))),
        ]
    };
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "projection-behind",
        "a projection stands one event before its session's last",
        &[Source(Act::Sql(
            "UPDATE projections SET sequence = sequence - 1 WHERE session_id = (SELECT session_id FROM \
             sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
        ))],
        &[found(Row::SessionProjectionParity, Code::ProjectionSequence)],
    )
    // If it happens to be the session that is read as a person would.
    .tolerating(&[found(Row::SessionProjectionParity, Code::ProjectionServed)]),
    Fault::new(
        "projection-ahead",
        "a projection stands one event after its session's last",
        &[Source(Act::Sql(
            "UPDATE projections SET sequence = sequence + 1 WHERE session_id = (SELECT session_id FROM \
             sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
        ))],
        &[found(Row::SessionProjectionParity, Code::ProjectionSequence)],
    ),
    Fault::new(
        "projections-behind-everywhere",
        "every projection but the smoke session's stands one event before the last",
        &[Source(Act::Sql("UPDATE projections SET sequence = sequence - 1"))],
        &[
            found(Row::SessionProjectionParity, Code::ProjectionSequence),
            found(Row::SessionProjectionParity, Code::ProjectionServed),
        ],
    ),
    Fault::new(
        "projection-different",
        "a projection at the right event has another title",
        &[Source(Act::Sql(
            "UPDATE projections SET content = jsonb_set(content, '{title}', '\"Another\"') WHERE \
             session_id = (SELECT session_id FROM sessions WHERE title LIKE 'Report %' ORDER BY \
             session_id LIMIT 1)",
        ))],
        &[found(Row::SessionProjectionParity, Code::ProjectionContent)],
    ),
    Fault::new(
        "event-hole",
        "an event is missing in the middle",
        &[Source(Act::Sql(
            "DELETE FROM events WHERE sequence = 3 AND session_id = (SELECT session_id FROM sessions \
             WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
        ))],
        &[
            found(Row::SessionProjectionParity, Code::EventDamage),
            found(Row::SessionProjectionParity, Code::ProjectionContent),
        ],
    ),
    Fault::new(
        "event-duplicate",
        "an event is there twice; the primary key is gone",
        &[
            Source(Act::Define("ALTER TABLE events DROP CONSTRAINT events_pkey")),
            Source(Act::Sql(
                "INSERT INTO events SELECT * FROM events WHERE sequence = 3 AND session_id = (SELECT \
                 session_id FROM sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
            )),
        ],
        &[
            found(Row::SessionProjectionParity, Code::EventDamage),
            found(Row::SessionProjectionParity, Code::EventSequence),
            found(Row::SessionProjectionParity, Code::ProjectionContent),
        ],
    ),
    Fault::new(
        "event-unreadable",
        "an event of a kind that nobody knows",
        &[Source(Act::Sql(
            "UPDATE events SET payload = '{}' WHERE kind = 'message_appended' AND session_id = (SELECT \
             session_id FROM sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
        ))],
        &[
            found(Row::SessionProjectionParity, Code::EventDamage),
            found(Row::SessionProjectionParity, Code::ProjectionContent),
        ],
    ),
    Fault::new(
        "base-missing",
        "a session that was compacted has lost the event that it begins with",
        compacted!("DELETE FROM events WHERE kind = 'compacted' AND session_id = ", ""),
        &[
            found(Row::SessionProjectionParity, Code::EventDamage),
            found(Row::SessionProjectionParity, Code::ProjectionContent),
        ],
    ),
    Fault::new(
        "base-different",
        "the base of a session holds another number of messages",
        compacted!(
            "UPDATE events SET payload = jsonb_set(payload, '{projection,message_count}', '4711') WHERE kind = 'compacted' AND session_id = ",
            ""
        ),
        &[found(Row::SessionProjectionParity, Code::ProjectionContent)],
    ),
    Fault::new(
        "hole-after-base",
        "what was said after a base is missing",
        compacted!(
            "DELETE FROM events e USING events b WHERE b.kind = 'compacted' AND b.session_id = ",
            " AND e.session_id = b.session_id AND e.sequence = b.sequence + 2"
        ),
        &[
            found(Row::SessionProjectionParity, Code::EventDamage),
            found(Row::SessionProjectionParity, Code::ProjectionContent),
        ],
    ),
    Fault::new(
        "base-in-the-middle",
        "an event that was compacted is there again, before the base",
        compacted!(
            "INSERT INTO events (org_id, session_id, sequence, kind, payload, created_at, feed_position) SELECT org_id, session_id, sequence - 1, 'turn_started', '{}', created_at, feed_position FROM events WHERE kind = 'compacted' AND session_id = ",
            ""
        ),
        &[found(Row::SessionProjectionParity, Code::EventDamage)],
    ),
    Fault::new(
        "events-end-too-soon",
        "a session's last event is missing",
        &[Source(Act::Sql(
            "DELETE FROM events WHERE session_id = (SELECT session_id FROM sessions WHERE title LIKE \
             'Report %' ORDER BY session_id LIMIT 1) AND sequence = (SELECT max(sequence) FROM events \
             WHERE session_id = (SELECT session_id FROM sessions WHERE title LIKE 'Report %' ORDER BY \
             session_id LIMIT 1))",
        ))],
        &[
            found(Row::SessionProjectionParity, Code::EventSequence),
            found(Row::SessionProjectionParity, Code::ProjectionContent),
        ],
    ),
    Fault::new(
        "projection-missing",
        "a session has no projection",
        &[Source(Act::Sql(
            "DELETE FROM projections WHERE session_id = (SELECT session_id FROM sessions WHERE title \
             LIKE 'Report %' ORDER BY session_id LIMIT 1)",
        ))],
        &[
            found(Row::SessionProjectionParity, Code::SessionMissing),
            found(Row::SessionProjectionParity, Code::SessionListed),
            found(Row::SessionProjectionParity, Code::SessionCount),
        ],
    ),
    Fault::new(
        "session-added",
        "a session that the backup did not have",
        &[After(
            "restore",
            Act::Sql(
                "INSERT INTO sessions SELECT org_id, '00000000-0000-7000-8000-000000000001', created_by, \
                 title, agent, 0, 0, NULL, generation, 0, NULL, now(), now() FROM sessions WHERE title LIKE \
                 'Report %' ORDER BY session_id LIMIT 1; INSERT INTO projections SELECT org_id, session_id, 0, \
                 '{\"state\": \"idle\"}', now() FROM sessions WHERE session_id = \
                 '00000000-0000-7000-8000-000000000001'",
            ),
        )],
        &[
            found(Row::PostgresRestore, Code::TableCount),
            found(Row::SessionProjectionParity, Code::SessionAdded),
            found(Row::SessionProjectionParity, Code::SessionCount),
        ],
    ),
    Fault::new(
        "session-listed-elsewhere",
        "a session's row claims an event more than there are, after the data's check",
        &[After(
            "data",
            Act::Sql(
                "UPDATE sessions SET last_sequence = last_sequence + 1 WHERE session_id = (SELECT session_id \
                 FROM sessions WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
            ),
        )],
        &[found(Row::SessionProjectionParity, Code::SessionListed)],
    ),
    Fault::new(
        "artifact-renamed",
        "an artifact has another name, after the data's check",
        &[After(
            "data",
            Act::Sql(
                "UPDATE artifacts SET name = 'another.txt' WHERE blob_key = (SELECT blob_key FROM artifacts \
                 WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1)",
            ),
        )],
        &[found(Row::ArtifactMetadata, Code::ArtifactMetadata)],
    ),
    Fault::new(
        "artifact-added",
        "an artifact is listed twice, after the data's check",
        &[After(
            "data",
            Act::Sql(
                "INSERT INTO artifacts SELECT org_id, gen_random_uuid(), session_id, name, media_type, \
                 blob_key, now() FROM artifacts LIMIT 1",
            ),
        )],
        &[found(Row::WebOnlyBoot, Code::DiagnosticsCount), found(Row::ArtifactMetadata, Code::ArtifactCount)],
    ),
    Fault::new(
        "artifact-replaced",
        "an artifact's object is another and its row agrees, after the data's check",
        &[After(
            "data",
            Act::ForgeObject {
                key: "SELECT blob_key FROM artifacts WHERE name LIKE 'report-%' ORDER BY artifact_id LIMIT 1",
            },
        )],
        &[found(Row::ArtifactMetadata, Code::ArtifactMetadata), found(Row::ArtifactMetadata, Code::ArtifactContent)],
    ),
];
