//! What holds for all records, facts and chains.

use chrono::{DateTime, TimeDelta};
use ids::{DeliveryId, OrgId};
use proptest::prelude::*;
use uuid::Uuid;

use crate::chain::Chains;
use crate::codec::{Cursor, MAX_RECORD};
use crate::finding::Findings;
use crate::segment::{Link, SegmentKey};
use crate::{DeliveryFact, DeliveryVerdict, Environment, Key, Label, Outcome, Record};

fn id<I: From<Uuid> + std::fmt::Debug>() -> impl Strategy<Value = I> {
    (1..u128::MAX).prop_map(|bits| I::from(Uuid::from_u128(bits)))
}

fn instant() -> impl Strategy<Value = clock::Timestamp> {
    (0..4_000_000_000_000_000_i64).prop_map(|micros| DateTime::from_timestamp_micros(micros).unwrap())
}

fn label() -> impl Strategy<Value = Label> {
    "[!-~]{1,128}".prop_map(|text| Label::new(&text).unwrap())
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        prop::option::of(label()).prop_map(|message| Outcome::Sent { message }),
        Just(Outcome::NotSent),
        Just(Outcome::Dead),
        Just(Outcome::Unknown),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let key = prop_oneof![
        Just(Key::Adapter),
        id().prop_map(Key::Byok),
        id().prop_map(Key::Channel),
        id().prop_map(Key::Trigger),
    ];
    let environment = prop_oneof![Just(Environment::Production), Just(Environment::Drill)];
    prop_oneof![
        (id(), id(), any::<u32>(), any::<bool>()).prop_map(|(org, delivery, attempt, deduplicates)| {
            Record::DeliveryIntent { org, delivery, attempt, deduplicates }
        }),
        (id(), id(), any::<u32>(), outcome()).prop_map(|(org, delivery, attempt, outcome)| {
            Record::DeliveryOutcome { org, delivery, attempt, outcome }
        }),
        (id(), id(), instant()).prop_map(|(org, workflow, due_at)| Record::SlotIntent { org, workflow, due_at }),
        (id(), id(), instant()).prop_map(|(org, workflow, due_at)| Record::SlotFired { org, workflow, due_at }),
        (id(), id(), any::<[u8; 32]>())
            .prop_map(|(org, inlet, event)| { Record::InboundAccepted { org, inlet, event } }),
        (id(), any::<[u8; 32]>()).prop_map(|(org, interaction)| Record::InteractionUsed { org, interaction }),
        (id(), any::<[u8; 32]>()).prop_map(|(org, identity)| Record::IdentityRestricted { org, identity }),
        (id(), id()).prop_map(|(org, token)| Record::TokenRevoked { org, token }),
        (id(), any::<[u8; 32]>()).prop_map(|(account, session)| Record::SessionRevoked { account, session }),
        (id(), id()).prop_map(|(org, account)| Record::MemberRemoved { org, account }),
        (id(), id()).prop_map(|(org, channel)| Record::ChannelClosed { org, channel }),
        (prop::option::of(id()), key, label())
            .prop_map(|(org, key, version)| { Record::KeyRotated { org, key, version } }),
        (id(), id()).prop_map(|(org, key)| Record::KeyRevoked { org, key }),
        (prop::option::of(id()), id()).prop_map(|(org, account)| Record::SubjectErased { org, account }),
        (any::<i64>(), environment, prop::option::of(id())).prop_map(|(generation, environment, backup)| {
            Record::GenerationStarted { generation, environment, backup }
        }),
    ]
}

/// Any sequence of records about one delivery.
fn about_one() -> impl Strategy<Value = Vec<Record>> {
    let (org, delivery): (OrgId, DeliveryId) = (Uuid::from_u128(1).into(), Uuid::from_u128(2).into());
    let one = prop_oneof![
        (1..70_u32, any::<bool>()).prop_map(move |(attempt, deduplicates)| {
            Record::DeliveryIntent { org, delivery, attempt, deduplicates }
        }),
        (1..70_u32, outcome())
            .prop_map(move |(attempt, outcome)| { Record::DeliveryOutcome { org, delivery, attempt, outcome } }),
    ];
    prop::collection::vec(one, 0..12)
}

fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> DeliveryFact {
    let facts = records.into_iter().map(|record| DeliveryFact::of(record).unwrap().1);
    facts.fold(DeliveryFact::default(), |known, fact| known.join(&fact))
}

proptest! {
    #[test]
    fn a_record_reads_back_as_it_was(record in record()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        prop_assert!(bytes.len() <= MAX_RECORD, "{}", bytes.len());
        let mut cursor = Cursor(&bytes);
        prop_assert_eq!(Record::decode(&mut cursor), Ok(record));
        prop_assert!(cursor.end().is_ok());
    }

    #[test]
    fn a_record_that_is_cut_short_is_refused(record in record()) {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        for length in 0..bytes.len() {
            prop_assert!(Record::decode(&mut Cursor(&bytes[..length])).is_err());
        }
    }

    #[test]
    fn bytes_never_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Record::decode(&mut Cursor(&bytes));
        let _ = crate::segment::Segment::open(Uuid::nil().into(), &bytes);
        let _ = crate::bundle::open(Uuid::nil().into(), &bytes);
    }

    #[test]
    fn a_key_reads_back_and_sorts_like_time(at in instant(), generation in 1..1_000_i64, sequence in 1..1_000_000_u64) {
        let key = SegmentKey { writer: Uuid::from_u128(3).into(), sequence, at, generation };
        prop_assert_eq!(SegmentKey::parse(&key.to_string()), Some(key));
        let later = SegmentKey { at: at + TimeDelta::microseconds(1), ..key };
        prop_assert!(key.to_string() < later.to_string());
    }

    #[test]
    fn a_delivery_adds_up_to_the_same_in_any_order_and_however_often(
        records in about_one(),
        seed in any::<u64>(),
    ) {
        let known = fold(&records);
        let mut shuffled = [records.clone(), records.clone()].concat();
        shuffled.sort_by_key(|record| {
            use std::hash::{Hash as _, Hasher as _};
            let mut hasher = std::hash::DefaultHasher::new();
            (seed, record).hash(&mut hasher);
            hasher.finish()
        });
        prop_assert_eq!(fold(&shuffled), known.clone());
        prop_assert_eq!(known.join(&known), known);
    }

    #[test]
    fn what_was_sent_stays_sent_and_an_open_intent_is_never_called_not_sent(records in about_one()) {
        let verdict = fold(&records).verdict();
        let sent = records.iter().any(|record| {
            matches!(record, Record::DeliveryOutcome { outcome: Outcome::Sent { .. }, .. })
        });
        prop_assert_eq!(verdict == DeliveryVerdict::Sent, sent);
        let settles = |attempt: u32, record: &Record| match record {
            Record::DeliveryOutcome { attempt: other, outcome: Outcome::NotSent, .. } => *other == attempt,
            Record::DeliveryOutcome { attempt: other, outcome: Outcome::Dead, .. } => *other >= attempt,
            _ => false,
        };
        let open = records.iter().any(|record| match record {
            Record::DeliveryIntent { attempt, .. } => !records.iter().any(|other| settles(*attempt, other)),
            _ => false,
        });
        prop_assert!(!(open && verdict == DeliveryVerdict::NotSent));
    }

    #[test]
    fn a_whole_chain_has_no_finding_in_whatever_order_it_is_read(
        order in Just((1..=30_u64).collect::<Vec<_>>()).prop_shuffle(),
        missing in prop::option::of(1..30_u64),
    ) {
        let mut chains = Chains::default();
        let checksum = |sequence: u64| if sequence == 0 { [0; 32] } else { [u8::try_from(sequence).unwrap(); 32] };
        let at = |sequence: u64| DateTime::UNIX_EPOCH + TimeDelta::seconds(sequence.cast_signed());
        for sequence in order.into_iter().filter(|sequence| Some(*sequence) != missing) {
            let link = Link {
                generation: 1,
                writer: Uuid::from_u128(1).into(),
                sequence,
                at: at(sequence),
                previous: checksum(sequence - 1),
                previous_at: at(sequence - 1),
            };
            prop_assert!(chains.add(&link, checksum(sequence)));
        }
        let mut findings = Findings::default();
        chains.finish(DateTime::UNIX_EPOCH, &mut findings);
        prop_assert_eq!(findings.list().len(), usize::from(missing.is_some()));
    }
}

#[test]
fn verdicts_of_the_stories_that_happen() {
    let (org, delivery): (OrgId, DeliveryId) = (Uuid::from_u128(1).into(), Uuid::from_u128(2).into());
    let intent = |attempt| Record::DeliveryIntent { org, delivery, attempt, deduplicates: false };
    let outcome = |attempt, outcome| Record::DeliveryOutcome { org, delivery, attempt, outcome };
    let unknown = DeliveryVerdict::Unknown { deduplicates: false };
    let check = |records: &[Record], expected| assert_eq!(fold(records).verdict(), expected, "{records:?}");
    check(&[intent(1)], unknown);
    check(&[intent(1), outcome(1, Outcome::NotSent)], DeliveryVerdict::NotSent);
    check(&[intent(1), outcome(1, Outcome::NotSent), intent(2)], unknown);
    check(&[intent(1), outcome(1, Outcome::Unknown), outcome(1, Outcome::Dead)], DeliveryVerdict::Dead);
    check(&[intent(1), outcome(1, Outcome::Dead), intent(2)], unknown);
    check(&[intent(1), outcome(1, Outcome::Dead), intent(2), outcome(2, Outcome::NotSent)], DeliveryVerdict::NotSent);
    check(&[intent(1), intent(2), outcome(2, Outcome::Dead)], DeliveryVerdict::Dead);
    check(&[intent(1), intent(2), outcome(2, Outcome::NotSent)], unknown);
    check(&[outcome(1, Outcome::Sent { message: None }), outcome(2, Outcome::Dead)], DeliveryVerdict::Sent);
    check(&[intent(64), outcome(64, Outcome::NotSent)], unknown);
}
