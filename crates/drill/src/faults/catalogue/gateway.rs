//! The gateway, its deliveries and its cursors.

use super::super::act::{Act, SecretChange};
use super::super::fault::Step::{After, Source, Wrapper};
use super::super::fault::{Fault, found};
use super::super::front::Tamper;
use crate::processes::Role;
use crate::report::CheckId as Row;
use crate::report::Code;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new(
        "gateway-does-not-start",
        "the gateway ends at once (a script in its place)",
        &[Wrapper(r#"*"--roles gateway"*) echo no >&2; exit 3;;"#)],
        &[found(Row::GatewayRecovery, Code::RoleDidNotStart)],
    ),
    Fault::new(
        "gateway-too-soon",
        "a gateway runs before it was its turn",
        &[
            After("worker", Act::Start("stray-gateway", Role::Gateway)),
            After(
                "worker",
                Act::Await(
                    "SELECT EXISTS (SELECT FROM deliveries
                     WHERE finished_at > (SELECT max(started_at) FROM generations))",
                ),
            ),
        ],
        &[found(Row::GatewayRecovery, Code::RoleNotIdle), found(Row::GatewayRecovery, Code::DeliveryLost)],
    ),
    Fault::new(
        "gateway-dies",
        "the gateway is killed after its last message",
        &[After("asked", Act::Kill(Role::Gateway))],
        &[found(Row::GatewayRecovery, Code::RoleDied)],
    ),
    Fault::new(
        "delivery-sent-twice",
        "a delivery that was sent is pending after the replay",
        &[After(
            "generation",
            Act::Sql(
                "UPDATE deliveries SET state = 'pending', attempt = 0, next_attempt_at = created_at, \
                 finished_at = NULL WHERE delivery_id = (SELECT delivery_id FROM deliveries WHERE state = \
                 'sent' ORDER BY created_at LIMIT 1)",
            ),
        )],
        &[found(Row::GatewayRecovery, Code::DeliverySentAgain)],
    ),
    Fault::new(
        "delivery-never-arrived",
        "the backup knows a delivery as sent that the receiver never had",
        &[Source(Act::Sql("UPDATE deliveries SET state = 'sent', finished_at = now() WHERE state = 'pending'"))],
        &[found(Row::GatewayRecovery, Code::DeliveryNeverArrived)],
    ),
    Fault::new(
        "delivery-lost",
        "a delivery that is pending in the backup is set aside after the data's check",
        &[After("data", Act::Sql("UPDATE deliveries SET state = 'dead', finished_at = now() WHERE state = 'pending'"))],
        &[found(Row::GatewayRecovery, Code::DeliveryLost)],
    ),
    Fault::new(
        "delivery-duplicated",
        "what was sent is pending again, three times: a trigger",
        &[Source(Act::Define(
            "CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.state = 'sent' \
             AND OLD.state = 'pending' AND NEW.attempt < 3 THEN NEW.state := 'pending'; NEW.finished_at \
             := NULL; END IF; RETURN NEW; END $$; CREATE TRIGGER again BEFORE UPDATE ON deliveries FOR \
             EACH ROW EXECUTE FUNCTION again()",
        ))],
        &[found(Row::GatewayRecovery, Code::DeliveryDuplicated), found(Row::GatewayRecovery, Code::OutOfOrder)],
    ),
    Fault::new(
        "deliveries-out-of-order",
        "of two messages of a thread the second is rendered first",
        &[Source(Act::Sql(
            "INSERT INTO deliveries (org_id, delivery_id, channel_id, binding_id, sequence, payload, \
             state, next_attempt_at, created_at) SELECT org_id, gen_random_uuid(), channel_id, \
             binding_id, 900000 + n, jsonb_set(payload, '{data,sequence}', to_jsonb(900002 - n)), \
             'pending', now(), now() FROM deliveries, generate_series(1, 2) n WHERE delivery_id = \
             (SELECT delivery_id FROM deliveries WHERE state = 'sent' ORDER BY created_at LIMIT 1)",
        ))],
        &[found(Row::GatewayRecovery, Code::CursorBehind), found(Row::GatewayRecovery, Code::OutOfOrder)],
    ),
    Fault::new(
        "inbound-forgotten",
        "messages that were accepted are in no row, after the data's check",
        &[After("data", Act::Sql("DELETE FROM inbound_messages"))],
        &[
            found(Row::WebOnlyBoot, Code::DiagnosticsCount),
            found(Row::GatewayRecovery, Code::InboundTakenTwice),
            found(Row::GatewayRecovery, Code::DecisionForgotten),
        ],
    ),
    Fault::new(
        "call-forgotten",
        "calls of a workflow that were accepted are in no row, after the data's check",
        &[After("data", Act::Sql("DELETE FROM trigger_calls"))],
        &[found(Row::WebOnlyBoot, Code::DiagnosticsCount), found(Row::GatewayRecovery, Code::CallTakenTwice)],
    ),
    Fault::new(
        "channel-secret-changed",
        "the channels' secret is another one when the gateway starts",
        &[After("scheduler", Act::Secret { name: "channel", change: SecretChange::Other })],
        &[found(Row::GatewayRecovery, Code::CallRefused)],
    ),
    Fault::new(
        "deliveries-signed-otherwise",
        "what is delivered is not what was signed (a stand-in before the receiver)",
        &[After("scheduler", Act::FrontOfSink(Tamper::Unsigned))],
        &[found(Row::GatewayRecovery, Code::Signature)],
    ),
    Fault::new(
        "gateway-does-no-work",
        "new deliveries wait for a hundred years: a trigger",
        &[Source(Act::Define(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.next_attempt_at := \
             now() + interval '100 years'; RETURN NEW; END $$; CREATE TRIGGER late BEFORE INSERT ON \
             deliveries FOR EACH ROW EXECUTE FUNCTION late()",
        ))],
        &[found(Row::GatewayRecovery, Code::SmokeUnanswered)],
    ),
    Fault::new(
        "dead-letter-stays-dead",
        "a dead letter that is retried waits for a hundred years: a trigger",
        &[Source(Act::Define(
            "CREATE FUNCTION dead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.state = 'dead' \
             AND NEW.state = 'pending' THEN NEW.next_attempt_at := now() + interval '100 years'; END IF; \
             RETURN NEW; END $$; CREATE TRIGGER dead BEFORE UPDATE ON deliveries FOR EACH ROW EXECUTE \
             FUNCTION dead()",
        ))],
        &[found(Row::GatewayRecovery, Code::Retry)],
    ),
    Fault::new(
        "dead-letter-refused",
        "what is set aside stays pending: a trigger",
        &[Source(Act::Define(
            "CREATE FUNCTION alive() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.state = \
             'pending' AND NEW.state = 'dead' THEN NEW.state := 'pending'; NEW.finished_at := NULL; \
             NEW.next_attempt_at := now() + interval '100 years'; END IF; RETURN NEW; END $$; CREATE \
             TRIGGER alive BEFORE UPDATE ON deliveries FOR EACH ROW EXECUTE FUNCTION alive()",
        ))],
        &[found(Row::GatewayRecovery, Code::DeadLetter)],
    ),
    Fault::new(
        "cursor-ahead",
        "a delivery cursor stands after its session's last event",
        &[Source(Act::Sql(
            "UPDATE delivery_cursors SET sequence = sequence + 1000 WHERE binding_id = (SELECT \
             binding_id FROM delivery_cursors ORDER BY 1 LIMIT 1)",
        ))],
        &[found(Row::GatewayRecovery, Code::CursorAhead)],
    ),
    Fault::new(
        "cursor-behind",
        "a delivery cursor stands before what was rendered in its thread",
        &[Source(Act::Sql(
            "UPDATE delivery_cursors SET sequence = 0 WHERE binding_id = (SELECT binding_id FROM \
             deliveries ORDER BY 1 LIMIT 1)",
        ))],
        &[found(Row::GatewayRecovery, Code::CursorBehind)],
    ),
    Fault::new(
        "copy-reaches-the-world",
        "the copy thinks that it is production, and its channels lead to a receiver",
        &[
            After("scheduler", Act::Sql("UPDATE generations SET environment = 'production'")),
            After("scheduler", Act::Sql("UPDATE channels SET destination = '{sink}'")),
            After("scheduler", Act::Config { from: "redirect_to", to: "# redirect_to" }),
        ],
        &[found(Row::GatewayRecovery, Code::ReachedDestination)],
    ),
];
