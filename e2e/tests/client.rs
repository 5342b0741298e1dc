//! Calls of the typed client that no other story makes, against the whole program.
//!
//! Not here: that there is a method for every operation (`architecture`), a browser's own session (`sign_in`), findings
//! (`said`).

use client::{AuditFilter, AuditFormat, AuditRecord, Client, Error, SealedAuditRecord, Wish};
use e2e::{Folder, Installation, Sink, wait_for_async};
use serde_json::Value;

const DESCRIPTION: &str = include_str!("../../docs/reference/openapi.json");

#[tokio::test]
async fn calls_that_no_other_story_makes_do_what_they_say() {
    let folder = Folder::new();
    let served = Installation::new(folder.path(), "").serve();
    let operator = served.operator();
    let described: Value = serde_json::from_str(DESCRIPTION).unwrap();
    assert!(operator.openapi().await.unwrap() == described, "another description is served than the committed one");
    assert_eq!(operator.browser_session_current().await.unwrap_err().status(), Some(404), "it shows a token");
    the_org_is_renamed_by_whoever_has_seen_its_name(&operator).await;
    what_a_session_left_is_listed_with_it(&operator).await;
    nothing_is_deleted_that_has_changed_since_it_was_seen(&operator).await;
    the_trail_is_searched(&operator).await;
    the_trail_is_handed_out_in_both_forms(&operator).await;
    assert_eq!(served.stop(), 0);
}

async fn the_org_is_renamed_by_whoever_has_seen_its_name(operator: &Client) {
    let seen = operator.org_view().await.unwrap();
    let renamed = operator.org_rename("Acme & Co", Some(&seen.tag)).await.unwrap();
    assert_eq!((renamed.org_id, renamed.name.as_str()), (seen.org_id, "Acme & Co"));
    assert_eq!(operator.org_rename("Late", Some(&seen.tag)).await.unwrap_err().status(), Some(412));
    assert_eq!(operator.workspace().await.unwrap().org.name, "Acme & Co");
}

/// Two sessions, so that what belongs to one of them is not simply all that there is.
async fn what_a_session_left_is_listed_with_it(operator: &Client) {
    let sink = Sink::start();
    let session = operator.session_create("A report", "scripted").await.unwrap().session_id;
    let other = operator.session_create("Nothing yet", "scripted").await.unwrap().session_id;
    let channel = operator.channel_create("ops", &sink.url("accept")).await.unwrap().channel_id;
    operator.binding_create(channel, "general", session).await.unwrap();
    let wish = Wish::Prompt { text: "say it is done\nwrite report.txt 2048".to_owned() };
    let taken = operator.command_submit(session, "once", &wish).await.unwrap().command_id;
    let command = wait_for_async("the prompt is carried out", async || {
        let command = operator.command_get(session, taken).await.unwrap();
        (command.state == "done").then_some(command)
    })
    .await;
    assert_eq!((command.while_running.as_str(), command.finished_at.is_some()), ("queue", true));
    assert_eq!(operator.command_list(session, None, 10).await.unwrap().items, [command]);
    assert_eq!(operator.command_list(other, None, 10).await.unwrap().items, []);

    let left = operator.session_artifact_list(session, None, 10).await.unwrap().items;
    let names: Vec<&str> = left.iter().map(|artifact| artifact.name.as_str()).collect();
    assert_eq!(names, ["report.txt"]);
    assert!(operator.session_artifact_list(other, None, 10).await.unwrap().items.is_empty());

    let sent = wait_for_async("its message is sent", async || {
        operator.delivery_list(Some("sent"), None, 1).await.unwrap().items.pop()
    })
    .await;
    assert_eq!(operator.delivery_view(sent.delivery_id).await.unwrap(), sent);
}

/// Of two who have seen the same state, the second one is told that it is another one now.
async fn nothing_is_deleted_that_has_changed_since_it_was_seen(operator: &Client) {
    let seen = operator.profile_put("research", "scripted", &["ops"], None).await.unwrap().tag;
    let now = operator.profile_put("research", "scripted", &["lab"], Some(&seen)).await.unwrap().tag;
    assert_stale(operator.profile_delete("research", Some(&seen)).await);
    operator.profile_delete("research", Some(&now)).await.unwrap();

    let seen = operator.role_put("on-call", &["channels.read"], None).await.unwrap().tag;
    let now = operator.role_put("on-call", &["sessions.read"], Some(&seen)).await.unwrap().tag;
    assert_stale(operator.role_delete("on-call", Some(&seen)).await);
    operator.role_delete("on-call", Some(&now)).await.unwrap();

    let seen = operator.quota_put("runs", "day", 7, None).await.unwrap().tag;
    let now = operator.quota_put("runs", "day", 8, Some(&seen)).await.unwrap().tag;
    assert_stale(operator.quota_remove("runs", Some(&seen)).await);
    operator.quota_remove("runs", Some(&now)).await.unwrap();

    let bob = operator.member_create("bob@example.org", "Bob", "member").await.unwrap().account_id;
    let seen = operator.member_get(bob).await.unwrap().tag;
    let now = operator.member_change(bob, "viewer", Some(&seen)).await.unwrap().tag;
    assert_stale(operator.member_remove(bob, Some(&seen)).await);
    operator.member_remove(bob, Some(&now)).await.unwrap();
}

#[track_caller]
fn assert_stale(deleted: Result<(), Error>) {
    let refused = deleted.unwrap_err();
    assert!(matches!(&refused, Error::Problem(problem) if problem.code == "precondition_failed"), "{refused:?}");
}

/// Of the two sessions that were made above.
async fn the_trail_is_searched(operator: &Client) {
    let created = AuditFilter { action: Some("session.create".to_owned()), ..AuditFilter::default() };
    let page = operator.audit_list(&created, None, 1).await.unwrap();
    let cursor = page.next_cursor.expect("a page that is full is followed by another");
    let rest = operator.audit_list(&created, Some(&cursor), 200).await.unwrap().items;
    let ([first], [second]) = (&page.items[..], &rest[..]) else { panic!("{:?} {rest:?}", page.items) };
    let found = async |filter: AuditFilter| operator.audit_list(&filter, None, 200).await.unwrap().items;
    let (one, other) = ([first.clone()], [second.clone()]);
    assert_eq!(found(AuditFilter { target: Some(first.target.clone()), ..created.clone() }).await, one);
    assert_eq!(found(AuditFilter { until: Some(second.recorded_at), ..created.clone() }).await, one);
    assert_eq!(found(AuditFilter { since: Some(second.recorded_at), ..created.clone() }).await, other);
    assert_eq!(found(AuditFilter { actor: Some("role:nobody".to_owned()), ..created.clone() }).await, []);
}

async fn the_trail_is_handed_out_in_both_forms(operator: &Client) {
    let trail = operator.audit_list(&AuditFilter::default(), None, 200).await.unwrap().items;
    wait_for_async("the trail is sealed", async || {
        (operator.audit_verify(None).await.unwrap().unsealed == 0).then_some(())
    })
    .await;
    let export = operator.audit_export(AuditFormat::Jsonl, 0, 1_000).await.unwrap();
    let lines = str::from_utf8(&export).unwrap().lines();
    let lines: Vec<SealedAuditRecord> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |record: &AuditRecord| lines.iter().any(|line| line.record == *record);
    assert!(trail.len() > 5 && trail.iter().all(told), "{trail:?} {lines:?}");
    assert!(lines.iter().map(|line| line.number).eq((1..).take(lines.len())), "{lines:?}");

    let csv = operator.audit_export(AuditFormat::Csv, 1, 2).await.unwrap();
    let rows: Vec<&str> = str::from_utf8(&csv).unwrap().lines().collect();
    let [names, second, third] = rows[..] else { panic!("{rows:?}") };
    assert!(names.starts_with("number,position,recorded_at,actor,action,target,"), "{names}");
    for (row, line) in [(second, &lines[1]), (third, &lines[2])] {
        assert!(row.starts_with(&format!("\"{}\",", line.number)) && row.contains(&line.hash), "{row} {line:?}");
    }

    let noted = operator.audit_verify(Some((1, lines[0].hash.as_str()))).await.unwrap();
    assert_eq!((noted.intact, noted.fault), (true, None));
    let forged = "0".repeat(64);
    let forged = operator.audit_verify(Some((1, forged.as_str()))).await.unwrap();
    assert_eq!(forged.fault.map(|fault| (fault.number, fault.kind)), Some((1, "not_found".to_owned())));
}
