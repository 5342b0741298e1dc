//! Those who ask: prompts of many kinds, some of them twice, some of them taken back.

use std::time::Duration;

use client::Wish;

use super::Person;

/// Without a bound on what waits, a system that is held up would never come to rest.
const WAITS: Duration = Duration::from_secs(4);

pub(super) async fn ask(person: Person) {
    while !person.leave.is_cancelled() {
        person.moment(20, 250).await;
        let (session, key) = (person.one(&person.place.busy), person.key());
        let wish = Wish::Prompt { text: text(&person, &key) };
        let Some(command) = person.submit(session, &key, &wish).await else { continue };
        match person.dice.below(8) {
            // Somebody who does not believe the answer.
            0 => drop(person.submit(session, &key, &wish).await),
            1 => drop(person.submit(session, &person.key(), &Wish::Abort {}).await),
            // Somebody in a hurry.
            2 => continue,
            _ => {}
        }
        person.finished(session, command, Some(WAITS)).await;
    }
}

fn text(person: &Person, key: &str) -> String {
    match person.dice.below(10) {
        0 => format!("stream 20 200\nsay {key}"),
        1 => format!("write {}.txt 4096\nread {}.txt\nsay {key}", &key[..8], &key[..8]),
        2 => format!("sleep 300\nsay {key}"),
        3 => format!("say first\nsleep 2000\nstream 10 100\nsay {key}"),
        4 => format!("say {key}\nfail as it was asked to"),
        _ => format!("say {key}"),
    }
}
