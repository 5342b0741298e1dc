//! Workers that lose, forget or oversleep.

use super::super::act::Act;
use super::super::fault::Step::{After, Source, Wrapper};
use super::super::fault::{Fault, found};
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "command-lost",
        "a command that was acknowledged is in no row",
        &[Source(Act::Sql(
            "DELETE FROM commands WHERE state = 'done' AND session_id = (SELECT session_id FROM sessions \
             WHERE title LIKE 'Report %' ORDER BY session_id LIMIT 1)",
        ))],
        &[found(Row::WorkerRecovery, Code::CommandLost)],
    ),
    Fault::new(
        "worker-does-not-start",
        "the worker ends at once (a script in its place)",
        &[Wrapper(r#"*"--roles worker"*) echo no >&2; exit 3;;"#)],
        &[found(Row::WorkerRecovery, Code::RoleDidNotStart), found(Row::GatewayRecovery, Code::SmokeUnanswered)],
    ),
    Fault::new(
        "worker-does-no-work",
        "the worker is healthy and sees no session that can run: leases wake in a hundred years",
        &[Source(Act::Define(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.wake_at := now() + \
             interval '100 years'; RETURN NEW; END $$; CREATE TRIGGER late BEFORE INSERT OR UPDATE ON \
             session_leases FOR EACH ROW EXECUTE FUNCTION late()",
        ))],
        &[found(Row::WorkerRecovery, Code::SmokeUnfinished), found(Row::GatewayRecovery, Code::SmokeUnanswered)],
    ),
    Fault::new(
        "worker-dies",
        "a worker is killed after its lease was outlasted",
        &[After("lease", Act::KillOne("worker-2"))],
        &[found(Row::WorkerRecovery, Code::RoleDied)],
    ),
    Fault::new(
        "acknowledged-without-checkpoint",
        "a worker acknowledges without a checkpoint: a trigger drops the row",
        &[
            Source(Act::Define(
                "ALTER TABLE sessions DROP CONSTRAINT sessions_org_id_checkpoint_id_fkey; ALTER TABLE \
                 checkpoint_blobs DROP CONSTRAINT checkpoint_blobs_org_id_checkpoint_id_fkey",
            )),
            Source(Act::Define(
                "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN  RETURN NULL; END $$; \
                 CREATE TRIGGER forget BEFORE INSERT ON checkpoints FOR EACH ROW EXECUTE FUNCTION forget()",
            )),
        ],
        &[
            found(Row::WorkerRecovery, Code::CheckpointSaved),
            // The worker that had the session goes on from memory, and the one that takes it over has nothing to go on from.
            found(Row::WorkerRecovery, Code::StaleTakeover),
        ],
    ),
    Fault::new(
        "checkpoint-saved-broken",
        "what a worker saves does not open: a trigger changes the event that it covers",
        &[Source(Act::Define(
            "CREATE FUNCTION shift() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.sequence := \
             NEW.sequence + 1; RETURN NEW; END $$; CREATE TRIGGER shift BEFORE INSERT ON checkpoints FOR \
             EACH ROW EXECUTE FUNCTION shift()",
        ))],
        &[found(Row::WorkerRecovery, Code::CheckpointUnopened)],
    ),
    Fault::new(
        "nobody-takes-over",
        "the second worker looks at another database (a script in its place)",
        &[
            After("generation", Act::Define("CREATE DATABASE elsewhere TEMPLATE cowork")),
            Wrapper(
                r#"*worker-2.ready*)
                  url=$(sed -n 's/^url = "\(.*\)"/\1/p' "$HERE/target/cowork.toml" | sed 's#/cowork?#/elsewhere?#')
                  export COWORK_DATABASE__URL="$url";;"#,
            ),
        ],
        &[found(Row::WorkerRecovery, Code::StaleTakeover)],
    )
    // The sleeper goes on when it wakes up, or finds its own lease run out and begins anew.
    .tolerating(&[
        found(Row::WorkerRecovery, Code::StaleAttempts),
        found(Row::WorkerRecovery, Code::StaleTokenAccepted),
        found(Row::WorkerRecovery, Code::CheckpointSaved),
        found(Row::WorkerRecovery, Code::StaleWrite),
    ]),
    Fault::new(
        "workspace-lost",
        "the smoke session's row names no checkpoint",
        &[Source(Act::Sql(
            "UPDATE sessions SET checkpoint_id = NULL WHERE session_id = (SELECT session_id FROM \
             sessions WHERE title = 'A long memory')",
        ))],
        &[found(Row::WorkerRecovery, Code::WorkspaceLost), found(Row::WorkerRecovery, Code::LinkLost)],
    ),
    Fault::new(
        "link-lost",
        "the smoke session's row names its checkpoint of before it had a link; the backup's digests agree with it",
        &[Source(Act::Sql(
            "UPDATE sessions SET checkpoint_id = (SELECT checkpoint_id FROM checkpoints WHERE \
             checkpoints.session_id = sessions.session_id ORDER BY sequence LIMIT 1) WHERE title = 'A long memory'",
        ))],
        &[found(Row::WorkerRecovery, Code::LinkLost)],
    ),
    Fault::new(
        "event-kind-lost",
        "the event of an artifact becomes a message: a trigger",
        &[After(
            "web",
            Act::Define(
                "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.kind = \
                 'artifact_created' THEN NEW.kind := 'usage_recorded'; NEW.payload := '{\"input_tokens\": 0, \
                 \"output_tokens\": 0}'; END IF; RETURN NEW; END $$; CREATE TRIGGER lose BEFORE INSERT ON \
                 events FOR EACH ROW EXECUTE FUNCTION lose()",
            ),
        )],
        &[found(Row::WorkerRecovery, Code::SmokeEvents)],
    ),
    Fault::new(
        "event-lost-at-work",
        "every message is lost when it was written: a trigger",
        &[After(
            "web",
            Act::Define(
                "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DELETE FROM events e \
                 WHERE e.session_id = NEW.session_id AND e.sequence = NEW.sequence AND NEW.kind = \
                 'message_appended'; RETURN NEW; END $$; CREATE TRIGGER lose AFTER INSERT ON events FOR EACH \
                 ROW EXECUTE FUNCTION lose()",
            ),
        )],
        &[
            found(Row::WorkerRecovery, Code::SmokeSequence),
            found(Row::WorkerRecovery, Code::SmokeEvents),
            found(Row::WorkerRecovery, Code::SteeringUnheard),
            found(Row::WorkerRecovery, Code::StaleWrite),
            found(Row::GatewayRecovery, Code::SmokeUnanswered),
        ],
    ),
    Fault::new(
        "projection-lags-at-work",
        "a projection is written one event behind: a trigger",
        &[After(
            "web",
            Act::Define(
                "CREATE FUNCTION lag() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.sequence := \
                 NEW.sequence - 1; RETURN NEW; END $$; CREATE TRIGGER lag BEFORE UPDATE ON projections FOR \
                 EACH ROW EXECUTE FUNCTION lag()",
            ),
        )],
        &[found(Row::WorkerRecovery, Code::SmokeProjection)],
    ),
];
