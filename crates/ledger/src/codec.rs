//! Records as bytes: a kind, a length, and the fields in order. FORMAT.md has every one.
//!
//! Written by hand, so that no reordering of an enum changes what is stored. Numbers are big-endian. Whatever is read
//! is checked against the bytes that are there before anything is allocated.
//!
//! Not here: what stands around records (`segment`).

use chrono::DateTime;
use clock::Timestamp;
use uuid::Uuid;

use crate::record::{Environment, Key, Label, Outcome, Record};

/// The longest record: an outcome with the longest label.
pub(crate) const MAX_RECORD: usize = 2 + 16 + 16 + 4 + 1 + 1 + Label::MAX;

/// Bytes that are no record, or no longer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the bytes end in the middle of a field")]
    Short,
    #[error("{0} bytes are left over")]
    LeftOver(usize),
    #[error("{0} is no kind of record")]
    Kind(u8),
    #[error("the field {0} has a value that means nothing")]
    Field(&'static str),
}

impl Record {
    fn kind(&self) -> u8 {
        match self {
            Self::DeliveryIntent { .. } => 1,
            Self::DeliveryOutcome { .. } => 2,
            Self::SlotIntent { .. } => 3,
            Self::SlotFired { .. } => 4,
            Self::InboundAccepted { .. } => 5,
            Self::InteractionUsed { .. } => 6,
            Self::TokenRevoked { .. } => 7,
            Self::SessionRevoked { .. } => 8,
            Self::MemberRemoved { .. } => 9,
            Self::KeyRotated { .. } => 10,
            Self::KeyRevoked { .. } => 11,
            Self::SubjectErased { .. } => 12,
            Self::GenerationStarted { .. } => 13,
            Self::IdentityRestricted { .. } => 14,
            Self::ChannelClosed { .. } => 15,
        }
    }

    /// Appends the record to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        let length_at = out.len();
        out.push(0);
        self.encode_fields(out);
        let length = out.len() - length_at - 1;
        out[length_at] = u8::try_from(length).expect("the longest record fits");
    }

    fn encode_fields(&self, out: &mut Vec<u8>) {
        match self {
            Self::DeliveryIntent { org, delivery, attempt, deduplicates } => {
                put_ids(out, &[*org.as_uuid(), *delivery.as_uuid()]);
                out.extend(attempt.to_be_bytes());
                out.push(u8::from(*deduplicates));
            }
            Self::DeliveryOutcome { org, delivery, attempt, outcome } => {
                put_ids(out, &[*org.as_uuid(), *delivery.as_uuid()]);
                out.extend(attempt.to_be_bytes());
                put_outcome(out, outcome);
            }
            Self::SlotIntent { org, workflow, due_at } | Self::SlotFired { org, workflow, due_at } => {
                put_ids(out, &[*org.as_uuid(), *workflow.as_uuid()]);
                out.extend(due_at.timestamp_micros().to_be_bytes());
            }
            Self::InboundAccepted { org, inlet, event } => {
                put_ids(out, &[*org.as_uuid(), *inlet.as_uuid()]);
                out.extend(event);
            }
            Self::InteractionUsed { org, interaction } => {
                put_ids(out, &[*org.as_uuid()]);
                out.extend(interaction);
            }
            Self::IdentityRestricted { org, identity } => {
                put_ids(out, &[*org.as_uuid()]);
                out.extend(identity);
            }
            Self::TokenRevoked { org, token } => put_ids(out, &[*org.as_uuid(), *token.as_uuid()]),
            Self::SessionRevoked { account, session } => {
                put_ids(out, &[*account.as_uuid()]);
                out.extend(session);
            }
            Self::MemberRemoved { org, account } => put_ids(out, &[*org.as_uuid(), *account.as_uuid()]),
            Self::ChannelClosed { org, channel } => put_ids(out, &[*org.as_uuid(), *channel.as_uuid()]),
            Self::KeyRotated { org, key, version } => {
                put_ids(out, &[org.map_or(Uuid::nil(), Uuid::from)]);
                put_key(out, *key);
                out.extend(version.as_str().as_bytes());
            }
            Self::KeyRevoked { org, key } => put_ids(out, &[*org.as_uuid(), *key.as_uuid()]),
            Self::SubjectErased { org, account } => {
                put_ids(out, &[org.map_or(Uuid::nil(), Uuid::from), *account.as_uuid()]);
            }
            Self::GenerationStarted { generation, environment, backup } => {
                out.extend(generation.to_be_bytes());
                out.push(environment_code(*environment));
                put_ids(out, &[backup.map_or(Uuid::nil(), Uuid::from)]);
            }
        }
    }

    /// Takes one record off `from`.
    pub(crate) fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let kind = from.byte()?;
        let length = from.byte()?;
        let mut fields = Cursor(from.slice(usize::from(length))?);
        let record = decode_fields(kind, &mut fields)?;
        fields.end()?;
        Ok(record)
    }
}

fn decode_fields(kind: u8, from: &mut Cursor<'_>) -> Result<Record, Malformed> {
    Ok(match kind {
        1 => Record::DeliveryIntent {
            org: from.id()?,
            delivery: from.id()?,
            attempt: from.u32()?,
            deduplicates: match from.byte()? {
                0 => false,
                1 => true,
                _ => return Err(Malformed::Field("deduplicates")),
            },
        },
        2 => Record::DeliveryOutcome {
            org: from.id()?,
            delivery: from.id()?,
            attempt: from.u32()?,
            outcome: take_outcome(from)?,
        },
        3 => Record::SlotIntent { org: from.id()?, workflow: from.id()?, due_at: from.instant()? },
        4 => Record::SlotFired { org: from.id()?, workflow: from.id()?, due_at: from.instant()? },
        5 => Record::InboundAccepted { org: from.id()?, inlet: from.id()?, event: from.array()? },
        6 => Record::InteractionUsed { org: from.id()?, interaction: from.array()? },
        7 => Record::TokenRevoked { org: from.id()?, token: from.id()? },
        8 => Record::SessionRevoked { account: from.id()?, session: from.array()? },
        9 => Record::MemberRemoved { org: from.id()?, account: from.id()? },
        10 => Record::KeyRotated { org: from.id_or_nil()?, key: take_key(from)?, version: from.label("version")? },
        11 => Record::KeyRevoked { org: from.id()?, key: from.id()? },
        12 => Record::SubjectErased { org: from.id_or_nil()?, account: from.id()? },
        13 => Record::GenerationStarted {
            generation: from.i64()?,
            environment: match from.byte()? {
                1 => Environment::Production,
                2 => Environment::Drill,
                _ => return Err(Malformed::Field("environment")),
            },
            backup: from.id_or_nil()?,
        },
        14 => Record::IdentityRestricted { org: from.id()?, identity: from.array()? },
        15 => Record::ChannelClosed { org: from.id()?, channel: from.id()? },
        other => return Err(Malformed::Kind(other)),
    })
}

fn put_ids(out: &mut Vec<u8>, ids: &[Uuid]) {
    for id in ids {
        out.extend(id.as_bytes());
    }
}

fn put_outcome(out: &mut Vec<u8>, outcome: &Outcome) {
    match outcome {
        Outcome::Sent { message } => {
            out.push(1);
            out.extend(message.as_ref().map_or(&[][..], |label| label.as_str().as_bytes()));
        }
        Outcome::NotSent => out.push(2),
        Outcome::Dead => out.push(3),
        Outcome::Unknown => out.push(4),
    }
}

fn take_outcome(from: &mut Cursor<'_>) -> Result<Outcome, Malformed> {
    Ok(match from.byte()? {
        1 if from.0.is_empty() => Outcome::Sent { message: None },
        1 => Outcome::Sent { message: Some(from.label("message")?) },
        2 => Outcome::NotSent,
        3 => Outcome::Dead,
        4 => Outcome::Unknown,
        _ => return Err(Malformed::Field("outcome")),
    })
}

fn put_key(out: &mut Vec<u8>, key: Key) {
    let (code, id) = match key {
        Key::Adapter => (1, Uuid::nil()),
        Key::Byok(id) => (2, id.into()),
        Key::Channel(id) => (3, id.into()),
        Key::Trigger(id) => (4, id.into()),
    };
    out.push(code);
    put_ids(out, &[id]);
}

fn take_key(from: &mut Cursor<'_>) -> Result<Key, Malformed> {
    let code = from.byte()?;
    let id: Uuid = from.id()?;
    match code {
        1 if id.is_nil() => Ok(Key::Adapter),
        2 => Ok(Key::Byok(id.into())),
        3 => Ok(Key::Channel(id.into())),
        4 => Ok(Key::Trigger(id.into())),
        _ => Err(Malformed::Field("key")),
    }
}

fn environment_code(environment: Environment) -> u8 {
    match environment {
        Environment::Production => 1,
        Environment::Drill => 2,
    }
}

/// What is left to be read.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn slice(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn id<I: From<Uuid>>(&mut self) -> Result<I, Malformed> {
        Ok(I::from(Uuid::from_bytes(self.array()?)))
    }

    fn id_or_nil<I: From<Uuid>>(&mut self) -> Result<Option<I>, Malformed> {
        let id = Uuid::from_bytes(self.array()?);
        Ok((!id.is_nil()).then(|| I::from(id)))
    }

    pub(crate) fn instant(&mut self) -> Result<Timestamp, Malformed> {
        DateTime::from_timestamp_micros(self.i64()?).ok_or(Malformed::Field("instant"))
    }

    /// All that is left.
    fn label(&mut self, field: &'static str) -> Result<Label, Malformed> {
        let text = std::str::from_utf8(std::mem::take(&mut self.0)).map_err(|_| Malformed::Field(field))?;
        Label::new(text).ok_or(Malformed::Field(field))
    }

    pub(crate) fn end(&self) -> Result<(), Malformed> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(Malformed::LeftOver(left)),
        }
    }
}
