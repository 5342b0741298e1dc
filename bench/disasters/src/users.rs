//! People and providers who use a system while it lives: they ask, write from outside, revoke, remove and erase, at random
//! instants, and keep in mind what they were told has happened.
//!
//! Not here: what has to be true of it after all (`judge`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use domain::command::Wish;
use domain::version::Expected;
use ids::{AccountId, ChannelId, OrgId, SessionId, TokenId};
use serde_json::{Value, json};
use store::{ErasedFor, NewCommand, Removal};
use tower::ServiceExt as _;

use crate::life::Parts;

/// What there is to use. Made before the first disaster, and so in every backup.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) org: OrgId,
    /// Bound to threads, half of them on a destination that takes keys.
    pub(crate) sessions: Vec<SessionId>,
    /// Where messages come in.
    pub(crate) door: ChannelId,
    pub(crate) signing_secret: String,
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) members: Vec<AccountId>,
    pub(crate) subjects: Vec<AccountId>,
}

/// What somebody was told has happened.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    pub(crate) tokens: BTreeSet<TokenId>,
    pub(crate) members: BTreeSet<AccountId>,
    pub(crate) subjects: BTreeSet<AccountId>,
    /// Ids of events from outside that were accepted.
    pub(crate) events: BTreeSet<String>,
    /// Events that were accepted when they came again.
    pub(crate) accepted_again: u64,
}

/// What all lives of a lineage keep in mind.
pub(crate) type Shared = Arc<Mutex<Acknowledged>>;

const ACTOR: &str = "role:disasters";

impl Acknowledged {
    pub(crate) fn of(shared: &Shared) -> MutexGuard<'_, Self> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn arrive(parts: &Parts, place: &Place) {
    let both = || (parts.clone(), place.clone());
    let (parts_, place_) = both();
    tokio::spawn(async move { while ask(&parts_, &place_).await.is_ok() {} });
    let (parts_, place_) = both();
    tokio::spawn(async move { while write(&parts_, &place_).await.is_ok() {} });
    let (parts_, place_) = both();
    tokio::spawn(async move { while take_away(&parts_, &place_).await.is_ok() {} });
}

/// A moment between `least` and `most` milliseconds.
async fn moment(parts: &Parts, least: u32, most: u32) {
    let wait = least + parts.lasting.dice.below(most - least);
    tokio::time::sleep(Duration::from_millis(wait.into())).await;
}

fn one<T: Copy>(parts: &Parts, of: &[T]) -> T {
    of[parts.lasting.dice.below(u32::try_from(of.len()).expect("they are few")) as usize]
}

async fn ask(parts: &Parts, place: &Place) -> anyhow::Result<()> {
    moment(parts, 4, 30).await;
    let id: uuid::Uuid = parts.lasting.sources.id();
    let new = NewCommand {
        org: place.org,
        session: one(parts, &place.sessions),
        wish: Wish::Prompt { text: format!("say m-{id}") },
        idempotency_key: id.to_string(),
        created_by: None,
    };
    parts.store.command_enqueue(&new).await?;
    Ok(())
}

/// A provider posts an event, or posts one again that was accepted before, perhaps by a system that was lost since.
async fn write(parts: &Parts, place: &Place) -> anyhow::Result<()> {
    moment(parts, 15, 60).await;
    let known: Vec<String> = Acknowledged::of(&parts.lasting.acknowledged).events.iter().cloned().collect();
    let again = !known.is_empty() && parts.lasting.dice.below(2) == 0;
    let event = if again {
        known[parts.lasting.dice.below(u32::try_from(known.len())?) as usize].clone()
    } else {
        format!("evt-{}", parts.lasting.sources.id::<uuid::Uuid>())
    };
    let answer = post(parts, place, &event).await?;
    let mut acknowledged = Acknowledged::of(&parts.lasting.acknowledged);
    match answer["duplicate"].as_bool() {
        Some(false) if again => acknowledged.accepted_again += 1,
        Some(_) => _ = acknowledged.events.insert(event),
        None => {}
    }
    Ok(())
}

async fn post(parts: &Parts, place: &Place, event: &str) -> anyhow::Result<Value> {
    let body = json!({"thread": "door", "text": format!("say in-{event}")}).to_string();
    let at = parts.lasting.sources.now().timestamp();
    let signature = standardwebhooks::Webhook::new(&place.signing_secret)?.sign(event, at, body.as_bytes())?;
    let request = Request::post(format!("/hooks/{}", place.door))
        .header("content-type", "application/json")
        .header("webhook-id", event)
        .header("webhook-timestamp", at)
        .header("webhook-signature", signature)
        .body(Body::from(body))?;
    let response = gateway::router(parts.gateway()).oneshot(request).await?;
    Ok(serde_json::from_slice(&axum::body::to_bytes(response.into_body(), 1 << 16).await?).unwrap_or_default())
}

/// Revokes a token, removes a member or erases a subject. It counts from the moment that whoever asked for it is told.
async fn take_away(parts: &Parts, place: &Place) -> anyhow::Result<()> {
    moment(parts, 20, 120).await;
    let (store, org) = (&parts.store, place.org);
    match parts.lasting.dice.below(3) {
        0 => {
            let token = one(parts, &place.tokens);
            if store.token_revoke(org, token, None, ACTOR).await? && parts.effects.flush().await {
                Acknowledged::of(&parts.lasting.acknowledged).tokens.insert(token);
            }
        }
        1 => {
            let member = one(parts, &place.members);
            if store.member_remove(org, member, &Expected::Anything, ACTOR).await? == Removal::Done
                && parts.effects.flush().await
            {
                Acknowledged::of(&parts.lasting.acknowledged).members.insert(member);
            }
        }
        _ => {
            let subject = one(parts, &place.subjects);
            if Acknowledged::of(&parts.lasting.acknowledged).subjects.contains(&subject) {
                return Ok(());
            }
            store.subject_erase(subject, ErasedFor::Installation, ACTOR).await?;
            store.subject_erasure_carry_out(subject).await?;
            if parts.effects.flush().await {
                Acknowledged::of(&parts.lasting.acknowledged).subjects.insert(subject);
            }
        }
    }
    Ok(())
}
