//! Emptying the outbox into the ledger.
//!
//! Many who flush at once share one look: whoever waited while a look began after they had asked is served by it. Looks of
//! several processes may tell an effect twice, which the ledger does not mind.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use ledger::{Key, Label, Record};
use store::{Effect, Outboxed, StoreError};

use crate::{Effects, FLUSH_WAIT, NotRecorded, chain, delivery_outcome};

/// Effects of one look.
const BATCH: i64 = 1_000;
/// What is younger than this is about to be told by whoever caused it.
const LEFT_OVER: TimeDelta = TimeDelta::seconds(5);

/// The number of the newest look that told everything it saw.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    done: u64,
}

#[derive(Debug, thiserror::Error)]
enum FlushError {
    #[error("the outbox can't be read or cleared")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Ledger(#[from] NotRecorded),
}

impl Effects {
    /// Tells the ledger what stands in the outbox, for somebody who waits. Gives up after a while: then the effects stay
    /// there, and the scheduler tells them. Whether the ledger knows.
    pub async fn flush(&self) -> bool {
        let asked = self.0.begun.load(Ordering::Acquire);
        let late = match tokio::time::timeout(FLUSH_WAIT, self.flush_after(asked)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => chain(&error),
            Err(_) => "it takes too long".to_owned(),
        };
        tracing::warn!(error = late, "the recovery ledger learns of a change later");
        false
    }

    async fn flush_after(&self, asked: u64) -> Result<(), FlushError> {
        let mut flushes = self.0.flushes.lock().await;
        if flushes.done > asked {
            return Ok(());
        }
        let number = self.0.begun.fetch_add(1, Ordering::AcqRel) + 1;
        while self.tell_some(TimeDelta::zero()).await? {}
        flushes.done = number;
        Ok(())
    }

    /// Tells the ledger what was left over in the outbox. For one who comes by now and then.
    pub async fn drain(&self) {
        loop {
            match self.tell_some(LEFT_OVER).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    return tracing::warn!(error = chain(&error), "effects stay in the outbox of the recovery ledger");
                }
            }
        }
    }

    /// Whether there may be more.
    async fn tell_some(&self, older_than: TimeDelta) -> Result<bool, FlushError> {
        let rows = self.0.store.outbox_list(self.0.store.sources().now() - older_than, BATCH).await?;
        if rows.is_empty() {
            return Ok(false);
        }
        self.intend(rows.iter().map(record).collect()).await?;
        self.0.store.outbox_remove(&rows).await?;
        Ok(i64::try_from(rows.len()).is_ok_and(|count| count == BATCH))
    }
}

fn record(row: &Outboxed) -> Record {
    match row.effect {
        Effect::DeliverySettled { org, delivery, sending, outcome } => {
            delivery_outcome(org, delivery, sending, outcome)
        }
        Effect::SlotFired { org, workflow, due_at } => Record::SlotFired { org, workflow, due_at },
        Effect::InboundAccepted { org, inlet, event } => Record::InboundAccepted { org, inlet, event },
        Effect::InteractionUsed { org, interaction } => Record::InteractionUsed { org, interaction },
        Effect::IdentityRestricted { org, identity } => Record::IdentityRestricted { org, identity },
        Effect::TokenRevoked { org, token } => Record::TokenRevoked { org, token },
        Effect::BrowserSessionRevoked { account, session } => Record::SessionRevoked { account, session },
        Effect::MemberRemoved { org, account } => Record::MemberRemoved { org, account },
        Effect::KeyRevoked { org, key } => Record::KeyRevoked { org, key },
        Effect::ByokKeyRotated { org, key, number } => {
            Record::KeyRotated { org: Some(org), key: Key::Byok(key), version: numbered(number) }
        }
        Effect::TriggerSecretRotated { org, trigger, number } => {
            Record::KeyRotated { org: Some(org), key: Key::Trigger(trigger), version: numbered(number) }
        }
        Effect::ChannelClosed { org, channel } => Record::ChannelClosed { org, channel },
        Effect::AdapterKeyRotated { ref version } => {
            let version = Label::new(version).expect("the table of rotations takes no other version");
            Record::KeyRotated { org: None, key: Key::Adapter, version }
        }
        Effect::SubjectErased { org, account } => Record::SubjectErased { org, account },
    }
}

/// So that the greatest number is also the greatest label.
fn numbered(number: i32) -> Label {
    Label::new(&format!("{number:010}")).expect("ten digits are visible")
}
