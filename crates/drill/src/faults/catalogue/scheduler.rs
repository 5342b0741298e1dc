//! Schedulers and their slots.

use super::super::act::Act;
use super::super::fault::Step::{After, Source, Wrapper};
use super::super::fault::{Fault, found};
use crate::processes::Role;
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "scheduler-does-not-start",
        "a scheduler ends at once (a script in its place)",
        &[Wrapper(r#"*"--roles scheduler"*) echo no >&2; exit 3;;"#)],
        &[found(Row::SchedulerRecovery, Code::RoleDidNotStart)],
    ),
    Fault::new(
        "scheduler-dies",
        "one of two schedulers is killed when both were up",
        &[After("scheduler-up", Act::KillOne("scheduler-2"))],
        &[found(Row::SchedulerRecovery, Code::RoleDied)],
    ),
    Fault::new(
        "scheduler-too-soon",
        "a scheduler runs before it was its turn",
        &[
            After("worker", Act::Start("stray-scheduler", Role::Scheduler)),
            After(
                "worker",
                Act::Await(
                    "SELECT t.next_due_at > now() - interval '2 s' FROM triggers t
                     JOIN workflows w USING (org_id, workflow_id) WHERE w.name = 'pulse'",
                ),
            ),
        ],
        &[found(Row::SchedulerRecovery, Code::RoleNotIdle)],
    ),
    Fault::new(
        "run-lost",
        "a run is gone after the data's check",
        &[After(
            "data",
            Act::Sql(
                "DELETE FROM runs WHERE run_id = (SELECT run_id FROM runs WHERE state = 'succeeded' ORDER BY \
                 due_at LIMIT 1)",
            ),
        )],
        &[
            found(Row::WebOnlyBoot, Code::DiagnosticsCount),
            found(Row::SchedulerRecovery, Code::RunMissing),
            found(Row::SchedulerRecovery, Code::SlotWithoutRun),
        ],
    ),
    Fault::new(
        "slot-without-its-run",
        "a slot has fired and has no run",
        &[Source(Act::Sql(
            "DELETE FROM runs WHERE run_id = (SELECT run_id FROM runs WHERE state = 'succeeded' ORDER BY \
             due_at LIMIT 1)",
        ))],
        &[found(Row::SchedulerRecovery, Code::SlotWithoutRun)],
    ),
    Fault::new(
        "slot-fired-twice",
        "two runs for one slot: a trigger makes the second, and the key that forbids it is gone",
        &[
            Source(Act::Define(
                "ALTER TABLE runs DROP CONSTRAINT runs_org_id_workflow_id_due_at_key; ALTER TABLE runs DROP \
                 CONSTRAINT runs_org_id_command_id_key",
            )),
            Source(Act::Define(
                "CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF pg_trigger_depth() \
                 = 1 THEN INSERT INTO runs SELECT NEW.org_id, gen_random_uuid(), NEW.workflow_id, \
                 NEW.due_at, NEW.session_id, NEW.command_id, NEW.state, NEW.created_at, NEW.finished_at; END \
                 IF; RETURN NEW; END $$; CREATE TRIGGER twice AFTER INSERT ON runs FOR EACH ROW EXECUTE \
                 FUNCTION twice()",
            )),
        ],
        &[found(Row::SchedulerRecovery, Code::SlotFiredTwice), found(Row::SchedulerRecovery, Code::HeldSlot)],
    ),
    Fault::new(
        "slot-lost",
        "slots of the first three seconds are passed over: a trigger takes them for fired",
        &[Source(Act::Define(
            "CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF NEW.due_at BETWEEN now() - interval '2 s' AND
                  (SELECT max(started_at) FROM role_instances WHERE 'scheduler' = ANY (roles)) + interval '3 s'
               THEN RETURN NULL; END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER pass BEFORE INSERT ON slots FOR EACH ROW
             WHEN (NEW.state = 'fired') EXECUTE FUNCTION pass()",
        ))],
        &[found(Row::SchedulerRecovery, Code::SlotLost)],
    ),
    Fault::new(
        "missed-slots-fire",
        "a workflow runs what it missed in the last half minute, after the data's check",
        &[After(
            "data",
            Act::Sql("UPDATE workflows SET missed_policy = 'run_all', missed_window_s = 30 WHERE name = 'pulse'"),
        )],
        &[found(Row::SchedulerRecovery, Code::MissedSlotFired)],
    )
    // If the disaster was that recently.
    .tolerating(&[found(Row::SchedulerRecovery, Code::SlotFiredAgain)]),
    Fault::new(
        "slot-forgotten",
        "a slot that fired before the disaster is in no row, and its trigger is due again",
        &[
            Source(Act::Sql(
                "DELETE FROM runs WHERE workflow_id = (SELECT workflow_id FROM workflows WHERE name = \
                 'launch')",
            )),
            Source(Act::Sql(
                "UPDATE triggers t SET next_due_at = s.due_at FROM slots s WHERE s.workflow_id = \
                 t.workflow_id AND t.workflow_id = (SELECT workflow_id FROM workflows WHERE name = 'launch')",
            )),
            Source(Act::Sql(
                "DELETE FROM slots WHERE workflow_id = (SELECT workflow_id FROM workflows WHERE name = \
                 'launch')",
            )),
            // The recovery ledger remembers it.
            After(
                "web",
                Act::Sql(
                    "DELETE FROM slots WHERE workflow_id = (SELECT workflow_id FROM workflows WHERE name = 'launch')",
                ),
            ),
        ],
        &[found(Row::SchedulerRecovery, Code::SlotFiredAgain)],
    ),
];
