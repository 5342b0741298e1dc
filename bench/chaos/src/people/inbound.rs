//! Those who write from outside: a provider that posts each event until it is accepted, and some of them once more.

use clock::Sources;
use reqwest::RequestBuilder;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::{PATIENCE, Person};
use crate::place::Door;
use crate::told::ToldInbound;

const THREADS: u32 = 3;

pub(super) async fn write(person: Person) {
    let Ok(http) = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() else {
        return person.told.surprise("no HTTP client could be set up");
    };
    while !person.leave.is_cancelled() {
        person.moment(100, 500).await;
        let door = &person.place.doors[person.dice.below(2) as usize];
        let event = format!("evt-{}", person.key());
        let thread = format!("door {}", person.dice.below(THREADS));
        post(&person, &http, door, &event, &thread).await;
        if person.dice.below(4) == 0 {
            post(&person, &http, door, &event, &thread).await;
        }
    }
}

/// Until it is accepted.
async fn post(person: &Person, http: &reqwest::Client, door: &Door, event: &str, thread: &str) {
    let text = format!("say in {event}");
    loop {
        let answered = match request(http, &person.gateway, door, event, thread, &text, &person.sources) {
            Ok(request) => request.send().await,
            Err(error) => return person.told.surprise(format!("a message could not be signed: {error:#}")),
        };
        if let Ok(answer) = answered {
            let status = answer.status();
            match answer.json::<Value>().await {
                Ok(answer) if status.is_success() => return accepted(person, door, event, &answer),
                _ if status.is_client_error() => {
                    return person.told.surprise(format!("a message was refused with {status}"));
                }
                _ => {}
            }
        }
        person.moment(30, 200).await;
    }
}

fn accepted(person: &Person, door: &Door, event: &str, answer: &Value) {
    person.told.record().inbound.push(ToldInbound {
        channel: door.channel,
        event: event.to_owned(),
        command: serde_json::from_value(answer["command_id"].clone()).ok(),
        duplicate: answer["duplicate"].as_bool().unwrap_or_default(),
    });
}

/// A message, signed as its provider would.
pub(crate) fn request(
    http: &reqwest::Client,
    gateway: &str,
    door: &Door,
    event: &str,
    thread: &str,
    text: &str,
    sources: &Sources,
) -> anyhow::Result<RequestBuilder> {
    let body = json!({"thread": thread, "text": text}).to_string();
    let at = sources.now().timestamp();
    let webhook = standardwebhooks::Webhook::new(door.signing_secret.expose_secret())?;
    let signature = webhook.sign(event, at, body.as_bytes())?;
    let request = http.post(format!("{gateway}/hooks/{}", door.channel)).header("content-type", "application/json");
    let request = request.header("webhook-id", event).header("webhook-timestamp", at.to_string());
    Ok(request.header("webhook-signature", signature).body(body))
}
