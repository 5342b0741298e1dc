//! What records add up to is what the model of the protocol says: for every order in which up to three sendings of a
//! delivery can be told.

use ::model::{Answer, Told, Word};
use ids::{DeliveryId, OrgId};
use uuid::Uuid;

use crate::{DeliveryFact, DeliveryVerdict, Outcome, Record};

const SENDINGS: u8 = 3;
const ANSWERS: [Answer; 4] = [Answer::Accepted, Answer::Refused, Answer::Rejected, Answer::Unheard];

/// What was told so far, in both tongues.
#[derive(Clone, Default)]
struct Both {
    model: Told,
    fact: DeliveryFact,
    begun: u8,
    ended: u8,
}

#[test]
fn every_way_of_telling_adds_up_to_what_the_model_says() {
    let mut compared = 0;
    compare_all(&Both::default(), &mut compared);
    assert!(compared > 1_000, "only {compared} were compared");
}

fn compare_all(both: &Both, compared: &mut u32) {
    if both.begun > 0 {
        assert_eq!(verdict(both.model.word()), Some(both.fact.verdict()), "{:?} {:?}", both.model, both.fact);
        *compared += 1;
    }
    if both.begun < SENDINGS {
        compare_all(&both.intent(), compared);
    }
    for sending in (1..=both.begun).filter(|sending| both.ended & (1 << sending) == 0) {
        ANSWERS.iter().for_each(|answer| compare_all(&both.outcome(sending, *answer), compared));
    }
}

/// On a channel that does not deduplicate, where most depends on it.
fn verdict(word: Option<Word>) -> Option<DeliveryVerdict> {
    word.map(|word| match word {
        Word::Sent => DeliveryVerdict::Sent,
        Word::InDoubt => DeliveryVerdict::Unknown { deduplicates: false },
        Word::Dead => DeliveryVerdict::Dead,
        Word::NotSent => DeliveryVerdict::NotSent,
    })
}

impl Both {
    fn intent(&self) -> Self {
        let mut next = self.clone();
        next.begun += 1;
        next.model.intent(next.begun);
        let (org, delivery) = ids();
        next.hear(&Record::DeliveryIntent { org, delivery, attempt: next.begun.into(), deduplicates: false });
        next
    }

    fn outcome(&self, sending: u8, answer: Answer) -> Self {
        let mut next = self.clone();
        next.ended |= 1 << sending;
        next.model.outcome(sending, answer);
        let outcome = match answer {
            Answer::Accepted => Outcome::Sent { message: None },
            Answer::Refused => Outcome::NotSent,
            Answer::Rejected => Outcome::Dead,
            Answer::Unheard => Outcome::Unknown,
        };
        let (org, delivery) = ids();
        next.hear(&Record::DeliveryOutcome { org, delivery, attempt: sending.into(), outcome });
        next
    }

    fn hear(&mut self, record: &Record) {
        let (_, fact) = DeliveryFact::of(record).expect("it is about a delivery");
        self.fact = self.fact.join(&fact);
    }
}

fn ids() -> (OrgId, DeliveryId) {
    (Uuid::from_u128(1).into(), Uuid::from_u128(2).into())
}
