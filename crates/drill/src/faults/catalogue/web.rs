//! What an operator reads, and the quiet before any other role.

use super::super::act::{Act, SecretChange};
use super::super::fault::Step::{After, Source, Survivor, Wrapper};
use super::super::fault::{Fault, found, unknown};
use super::super::front::Tamper;
use crate::processes::Role;
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "web-well-once",
        "the web role is well when it is asked first, and gone the next time: it crash-loops (a stand-in before it)",
        &[After("booted", Act::Front(Role::Web, Tamper::WellOnce))],
        &[found(Row::WebOnlyBoot, Code::HealthUnstable)],
    ),
    Fault::new(
        "web-says-another-schema",
        "the web role says another schema version than the backup's (a stand-in before it)",
        &[After("booted", Act::Front(Role::Web, Tamper::OtherSchema))],
        &[found(Row::WebOnlyBoot, Code::SchemaVersion)],
    ),
    Fault::new(
        "source-reachable",
        "the source's server goes on after the disaster, and answers where the target runs",
        &[Survivor],
        &[found(Row::WebOnlyBoot, Code::SourceReachable)],
    ),
    Fault::new(
        "somebody-moves",
        "a session's fencing counter is raised again and again while only the web role is there",
        &[After(
            "booted",
            Act::Restless("UPDATE sessions SET fencing_counter = fencing_counter + 1 WHERE title = 'It fails'"),
        )],
        &[found(Row::WebOnlyBoot, Code::NotQuiet)],
    ),
    Fault::new(
        "maintenance-does-not-hold",
        "maintenance is written down for the generation before: a trigger moves the row",
        &[Source(Act::Define(
            "CREATE FUNCTION shift() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.generation := NEW.generation - 1; \
             RETURN NEW; END $$; CREATE TRIGGER shift BEFORE INSERT ON maintenance FOR EACH ROW EXECUTE FUNCTION shift()",
        ))],
        &[found(Row::WebOnlyBoot, Code::NotReadOnly)],
    ),
    Fault::new(
        "schema-of-another-version",
        "the newest migration is taken away after the data's check",
        &[After(
            "data",
            Act::Sql("DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)"),
        )],
        &[
            unknown(Row::WebOnlyBoot),
            unknown(Row::SessionProjectionParity),
            unknown(Row::ArtifactMetadata),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
    Fault::new(
        "web-does-not-start",
        "the web role ends at once (a script in its place)",
        &[Wrapper(r#"*"--roles web"*) echo no >&2; exit 3;;"#)],
        &[
            found(Row::WebOnlyBoot, Code::RoleDidNotStart),
            unknown(Row::SessionProjectionParity),
            unknown(Row::ArtifactMetadata),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
    Fault::new(
        "web-dies-after-its-check",
        "the web role is killed when row 4 was judged",
        &[After("quiet", Act::Kill(Role::Web))],
        &[
            found(Row::SessionProjectionParity, Code::RoleDied),
            found(Row::ArtifactMetadata, Code::ArtifactUnavailable),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
    Fault::new(
        "web-dead-at-once",
        "the web role is killed when it was ready",
        &[After("booted", Act::Kill(Role::Web))],
        &[
            found(Row::WebOnlyBoot, Code::RoleDied),
            found(Row::WebOnlyBoot, Code::Healthz),
            found(Row::WebOnlyBoot, Code::HealthUnstable),
            found(Row::ArtifactMetadata, Code::ArtifactUnavailable),
            unknown(Row::SessionProjectionParity),
            unknown(Row::WorkerRecovery),
            unknown(Row::SchedulerRecovery),
            unknown(Row::GatewayRecovery),
            unknown(Row::Redaction),
        ],
    ),
    Fault::new(
        "system-of-another-name",
        "the system says that it is another one",
        &[
            After("generation", Act::Sql("UPDATE generations SET system_id = gen_random_uuid()")),
            // The roles of another system don't take this one's ledger.
            After("generation", Act::Config { from: "target.ledger", to: "target.another-ledger" }),
        ],
        &[found(Row::WebOnlyBoot, Code::SystemId)],
    ),
    Fault::new(
        "generation-skipped",
        "the system is two generations on",
        &[
            After(
                "generation",
                Act::Define("ALTER TABLE restore_reports DROP CONSTRAINT restore_reports_generation_fkey"),
            ),
            After(
                "generation",
                Act::Sql(
                    "UPDATE generations SET generation = generation + 1 WHERE generation = (SELECT \
                     max(generation) FROM generations)",
                ),
            ),
        ],
        &[found(Row::WebOnlyBoot, Code::Generation), found(Row::WebOnlyBoot, Code::MetricsGeneration)],
    ),
    Fault::new(
        "copy-thinks-it-is-production",
        "the copy's newest generation says production",
        &[After("generation", Act::Sql("UPDATE generations SET environment = 'production'"))],
        &[found(Row::WebOnlyBoot, Code::Environment), found(Row::GatewayRecovery, Code::RoleDidNotStart)],
    ),
    Fault::new(
        "migrated-under-the-web-role",
        "a newer migration appears while the web role runs",
        &[After(
            "booted",
            Act::Sql(
                "INSERT INTO _sqlx_migrations SELECT version + 1, 'later', now(), true, checksum, 1 FROM \
                 _sqlx_migrations ORDER BY version DESC LIMIT 1",
            ),
        )],
        &[
            found(Row::WorkerRecovery, Code::RoleDidNotStart),
            found(Row::SchedulerRecovery, Code::RoleDidNotStart),
            found(Row::GatewayRecovery, Code::RoleDidNotStart),
        ],
    ),
    Fault::new(
        "second-web-role",
        "another web role is registered",
        &[After(
            "booted",
            Act::Sql(
                "INSERT INTO role_instances SELECT gen_random_uuid(), roles, generation, now(), now() FROM \
                 role_instances LIMIT 1",
            ),
        )],
        &[found(Row::WebOnlyBoot, Code::WebInstances)],
    ),
    Fault::new(
        "worker-registered",
        "a worker is registered before one was started",
        &[After(
            "booted",
            Act::Sql(
                "INSERT INTO role_instances SELECT gen_random_uuid(), '{worker}', generation, now(), now() \
                 FROM role_instances LIMIT 1",
            ),
        )],
        &[found(Row::WebOnlyBoot, Code::RoleNotIdle)],
    ),
    Fault::new(
        "rows-lost-before-web",
        "a usage record goes away between the data's check and the web role",
        &[After(
            "data",
            Act::Sql(
                "DELETE FROM usage_records WHERE usage_id = (SELECT usage_id FROM usage_records ORDER BY \
                 usage_id LIMIT 1)",
            ),
        )],
        &[found(Row::WebOnlyBoot, Code::DiagnosticsCount)],
    ),
    Fault::new(
        "session-between-checks",
        "a session appears between the data's check and the web role",
        &[After(
            "data",
            Act::Sql(
                "INSERT INTO sessions SELECT org_id, gen_random_uuid(), created_by, title, agent, 0, 0, \
                 NULL, generation, 0, NULL, now(), now() FROM sessions LIMIT 1",
            ),
        )],
        &[found(Row::WebOnlyBoot, Code::DiagnosticsCount), found(Row::WebOnlyBoot, Code::MetricsSessions)],
    ),
    Fault::new(
        "worker-at-work",
        "a worker runs while only the web role may, and there is work for it",
        &[
            Source(Act::Sql(
                "INSERT INTO session_leases SELECT org_id, session_id, now(), NULL, NULL FROM sessions WHERE \
                 title LIKE 'Report %' AND NOT EXISTS (SELECT FROM session_leases l WHERE l.session_id = \
                 sessions.session_id)",
            )),
            After("booted", Act::Start("stray-worker", Role::Worker)),
        ],
        &[found(Row::WebOnlyBoot, Code::RoleNotIdle)],
    )
    .tolerating(&[
        found(Row::WebOnlyBoot, Code::NotQuiet),
        found(Row::WebOnlyBoot, Code::DiagnosticsCount),
        found(Row::SessionProjectionParity, Code::SessionListed),
        found(Row::SessionProjectionParity, Code::ProjectionServed),
        found(Row::WorkerRecovery, Code::StaleAttempts),
        found(Row::WorkerRecovery, Code::StaleTokenAccepted),
    ]),
    Fault::new(
        "secret-gone-under-the-web-role",
        "the file of a secret is away while the web role is asked",
        &[
            After("booted", Act::Secret { name: "channel", change: SecretChange::Hide }),
            After("quiet", Act::Secret { name: "channel", change: SecretChange::Show }),
        ],
        &[found(Row::WebOnlyBoot, Code::SecretUnresolved)],
    ),
];
