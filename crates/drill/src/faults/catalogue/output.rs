//! What must not be said, and what surrounds a drill.

use super::super::act::{Act, Form};
use super::super::fault::Step::{After, CanaryAsOwner, DeafScanner, Source, Wrapper};
use super::super::fault::{Fault, Told, found, unknown};
use super::super::front::Tamper;
use crate::processes::Role;
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "canary-in-a-log-raw",
        "a worker's log has a planted address, as it is",
        &[After("gateway", Act::Say { process: "worker-1", label: "a member's email", form: Form::Raw })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-base64",
        "a worker's log has a planted address, as base64",
        &[After("gateway", Act::Say { process: "worker-1", label: "a member's email", form: Form::Base64 })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-hex",
        "a worker's log has a planted address, as hexadecimal digits",
        &[After("gateway", Act::Say { process: "worker-1", label: "a member's email", form: Form::Hex })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-percent",
        "a worker's log has a planted address, percent-encoded",
        &[After("gateway", Act::Say { process: "worker-1", label: "a member's email", form: Form::Percent })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-json",
        "a worker's log has a planted address, escaped for JSON",
        &[After("gateway", Act::Say { process: "worker-1", label: "host path in a prompt", form: Form::Json })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-byok",
        "a web role's log has: BYOK key",
        &[After("gateway", Act::Say { process: "web", label: "BYOK key", form: Form::Raw })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-oauth",
        "a web role's log has: OAuth token in a prompt",
        &[After("gateway", Act::Say { process: "web", label: "OAuth token in a prompt", form: Form::Raw })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-signature",
        "a web role's log has: signature in a destination's query",
        &[After("gateway", Act::Say { process: "web", label: "signature in a destination's query", form: Form::Raw })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-token",
        "a web role's log has: the operator's token",
        &[After("gateway", Act::Say { process: "web", label: "the operator's token", form: Form::Raw })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-log-channel",
        "a web role's log has: a channel's signing secret",
        &[After("gateway", Act::Say { process: "web", label: "a channel's signing secret", form: Form::Raw })],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-the-audit",
        "an audit record that is not sealed yet holds a planted address",
        &[Source(Act::Sql(
            "INSERT INTO audit_records (org_id, audit_id, actor, action, target, detail, recorded_at) SELECT \
             org_id, gen_random_uuid(), actor, action, '{email}', detail, now() FROM audit_records WHERE \
             org_id = (SELECT org_id FROM orgs ORDER BY created_at LIMIT 1) ORDER BY position DESC LIMIT 1",
        ))],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-label",
        "the label of a BYOK key is a planted address",
        &[Source(Act::Sql("UPDATE byok_keys SET label = '{email}'"))],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-a-metric-label",
        "a worker's metrics have a planted address as a label (a stand-in before it)",
        &[After("gateway", Act::Front(Role::Worker, Tamper::MetricLabel))],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-diagnostics",
        "diagnostics hold a planted address (a stand-in before the web role)",
        &[After("gateway", Act::Front(Role::Web, Tamper::Diagnostics))],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-an-error",
        "what the API says of a bad request ends with a planted address (a stand-in before it)",
        &[After("gateway", Act::Front(Role::Web, Tamper::ErrorBody))],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-process-arguments",
        "a worker is called by a planted address (a script in its place)",
        &[Wrapper(r#"*worker-1.ready*) exec bash -c 'exec -a "$0" "$@"' "$CANARY" "$REAL" "$@";;"#)],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-the-report",
        "the report names its owner by a planted address",
        &[CanaryAsOwner],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "canary-in-what-restore-printed",
        "the restore prints a planted address (a script in its place)",
        &[Wrapper(r#"restore*) echo "$CANARY" >&2;;"#)],
        &[found(Row::Redaction, Code::CanaryFound)],
    ),
    Fault::new(
        "scanner-deaf",
        "the scanner knows no canary",
        &[DeafScanner],
        &[found(Row::Redaction, Code::PositiveControl)],
    ),
    Fault::new(
        "disk-full",
        "the restore can't write an object: files are limited to 2 KB (a script in its place)",
        &[Wrapper(r#"restore*) trap '' XFSZ; ulimit -f 4;;"#)],
        &[
            unknown(Row::PostgresRestore),
            unknown(Row::ObjectStoreRestore),
            unknown(Row::SecretReferences),
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
        "process-left-over",
        "a worker leaves a process behind (a script in its place)",
        &[Wrapper(r#"*worker-1.ready*) sleep 300 & ;;"#)],
        &[Told::Stage("tear-down")],
    ),
    Fault::new(
        "clock-skewed",
        "the lost system's clock was a day ahead: what waits is due tomorrow",
        &[Source(Act::Sql("UPDATE deliveries SET next_attempt_at = now() + interval '1 day' WHERE state = 'pending'"))],
        &[found(Row::GatewayRecovery, Code::DeliveryLost)],
    ),
];
