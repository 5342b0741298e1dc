//! The API against its own description, by a program that is not ours: whatever the description allows is taken, whatever it
//! does not allow is refused, and every answer is one that it names, in the form that it gives.

use std::io::{Cursor, Write as _};

use client::{Client, NewTrigger, NewUpload, NewWorkflow, Wish};
use e2e::{Folder, Installation, hold_to_its_description, wait_for_async};
use ids::ProjectSourceId;
use sha2::{Digest as _, Sha256};

#[tokio::test]
async fn the_api_is_what_its_description_says() {
    let folder = Folder::new();
    let installation = Installation::new(&folder.make("installation"), "");
    let served = installation.serve();
    let ids = furnished(&served.operator()).await;
    let told = hold_to_its_description(&served.url("web"), served.token(), &ids, &folder.make("schemathesis"));
    assert_eq!(told.code, 0, "{}\n{}", told.stdout, told.stderr);
    for phase in ["Examples (in ", "Coverage (in ", "Fuzzing (in "] {
        assert!(told.stdout.contains(phase), "what was not carried out found nothing: {phase}{}", told.stdout);
    }
    assert_eq!(served.stop(), 0);
}

/// One of everything, by the names that paths have for it.
async fn furnished(operator: &Client) -> Vec<(&'static str, String)> {
    let session = operator.session_create("Plan the week", "scripted").await.unwrap().session_id;
    let wish = Wish::Prompt { text: "write a.txt 2048".to_owned() };
    let command = operator.command_submit(session, "once", &wish).await.unwrap().command_id;
    let artifact = wait_for_async("the prompt is carried out and left a file", async || {
        operator.artifact_list(None, 1).await.unwrap().items.pop()
    })
    .await;
    let upload = NewUpload { name: "b.txt".into(), media_type: "text/plain".into(), size: 8, sha256: "0".repeat(64) };
    let upload = operator.upload_create(session, &upload).await.unwrap();
    let channel = operator.channel_create("ops", "http://127.0.0.1:9/hook").await.unwrap();
    let binding = operator.binding_create(channel.channel_id, "general", session).await.unwrap();
    let workflow = operator.workflow_create(&by_hand()).await.unwrap();
    let trigger = operator.trigger_create(workflow.workflow_id, &NewTrigger::Webhook {}).await.unwrap();
    let run = operator.workflow_start(workflow.workflow_id).await.unwrap();
    // Not the one that asks: it may be revoked.
    let token = operator.token_create("spare", &["read"], None).await.unwrap();
    let member = operator.member_create("bob@example.org", "Bob", "member").await.unwrap();
    let invitation = operator.invitation_create("carol@example.org", "viewer").await.unwrap();
    // Of a provider that nobody knows: it is not told keys that a test makes up.
    let key = operator.byok_key_create("somebody", "team", &"k".repeat(40)).await.unwrap();
    operator.profile_put("research", "scripted", &["ops"], None).await.unwrap();
    operator.role_put("on-call", &["channels.read"], None).await.unwrap();
    vec![
        ("session_id", session.to_string()),
        ("command_id", command.to_string()),
        ("artifact_id", artifact.artifact_id.to_string()),
        ("upload_id", upload.upload_id.to_string()),
        ("binding_id", binding.binding_id.to_string()),
        ("project_source_id", project_source(operator).await.to_string()),
        ("workflow_id", workflow.workflow_id.to_string()),
        ("trigger_id", trigger.trigger_id.to_string()),
        ("run_id", run.run_id.to_string()),
        ("token_id", token.token_id.to_string()),
        ("account_id", member.account_id.to_string()),
        ("invitation_id", invitation.invitation_id.to_string()),
        ("byok_key_id", key.byok_key_id.to_string()),
        ("role", "on-call".to_owned()),
        ("profile", "research".to_owned()),
    ]
}

/// One that a session has begun with, whose agent has read a file of it.
async fn project_source(operator: &Client) -> ProjectSourceId {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("README.md", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"a shop").unwrap();
    let archive = zip.finish().unwrap().into_inner();
    let (size, sha256) = (archive.len().try_into().unwrap(), hex::encode(Sha256::digest(&archive)));
    let new = NewUpload { name: "shop.zip".into(), media_type: "application/zip".into(), size, sha256 };
    let upload = operator.upload_create_alone(&new).await.unwrap().upload_id;
    operator.upload_part_put(upload, 1, archive.into()).await.unwrap();
    let source = operator.project_source_create("shop", upload).await.unwrap().project_source_id;
    let session = operator.session_create_from("Look at the shop", "scripted", source).await.unwrap().session_id;
    let wish = Wish::Prompt { text: "read README.md".to_owned() };
    let command = operator.command_submit(session, "once", &wish).await.unwrap().command_id;
    let ended = wait_for_async("the file is read", async || {
        Some(operator.command_get(session, command).await.unwrap()).filter(|command| command.state != "pending")
    })
    .await;
    assert_eq!(ended.state, "done", "{ended:?}");
    source
}

/// A workflow that nothing starts but a person.
fn by_hand() -> NewWorkflow {
    NewWorkflow {
        name: "digest".into(),
        agent: None,
        prompt: "say good morning".into(),
        missed_policy: None,
        missed_window_s: None,
        overlap_policy: None,
        state: None,
        triggers: Vec::new(),
    }
}
