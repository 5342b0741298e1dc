//! Those who decide: each has a session in which something waits to be approved, rejected or aborted.

use client::Wish;
use ids::SessionId;

use super::Person;

pub(super) async fn decide(person: Person, session: SessionId) {
    while !person.leave.is_cancelled() {
        person.moment(50, 400).await;
        let wish = Wish::Prompt { text: "say ready\napprove ship it\nsay shipped".to_owned() };
        let Some(asked) = person.submit(session, &person.key(), &wish).await else { continue };
        person.finished(session, asked, None).await;
        let call = || person.operator.session_get(session);
        let Some(view) = person.persist("a session that is there", call).await else { continue };
        // A turn that was lost too often waits for nobody.
        let Some(request_id) = view.projection.content["waiting_for"]["request_id"].as_str() else { continue };
        let request_id = request_id.to_owned();
        let wish = match person.dice.below(4) {
            0 => Wish::Reject { request_id },
            1 => Wish::Abort {},
            _ => Wish::Approve { request_id },
        };
        let Some(decided) = person.submit(session, &person.key(), &wish).await else { continue };
        person.finished(session, decided, None).await;
    }
}
