//! Two copies of one system: the one that was restored, and the lost one that comes back. Only the newer one acts.
//!
//! Both are real processes with databases of their own, and share the recovery ledger. A receiver outside counts what
//! arrives.

use std::collections::BTreeMap;

use client::Wish;
use e2e::{Folder, Installation, Running, Served, Sink, Told, wait_for_async};
use ids::SessionId;
use localpg::{Binaries, Cluster, Options};
use nix::sys::signal::Signal;
use tokio::task::block_in_place;

const ROLES: [&str; 4] = ["web", "worker", "scheduler", "gateway"];
/// What the lost copy has to say.
const REPLACED: [&str; 3] = [
    "This process belongs to a system that was replaced",
    "generation 2 of this system has begun, and this process is of an older one",
    "Leave it stopped: the restored system works",
];

/// A system that was backed up and went on: one message was sent, and one waits.
struct Story {
    lost: Installation,
    /// Asleep, as if its machine had been cut off.
    gateway: Served,
    others: Served,
    session: SessionId,
    sink: Sink,
    cluster: Cluster,
    folder: Folder,
}

impl Story {
    async fn tell() -> Self {
        let folder = Folder::new();
        let binaries = Binaries::find(e2e::search_path().as_deref()).expect("Postgres' programs are installed");
        let cluster = Cluster::start(&binaries, &folder.path().join("postgres"), Options::fast()).expect("it starts");
        let lost = configured(&folder, &cluster, "lost", "ledger");
        let (others, gateway, sink) = block_in_place(|| {
            let _ = lost.init();
            (lost.serve_roles("web,worker,scheduler"), lost.serve_roles("gateway"), Sink::start())
        });
        let operator = others.operator();
        let channel = operator.channel_create_without_deduplication("plain", &sink.url("accept")).await.unwrap();
        let session = operator.session_create("t", "scripted").await.unwrap().session_id;
        operator.binding_create(channel.channel_id, "thread", session).await.unwrap();
        block_in_place(|| lost.done(&["backup", "--archive", "../archive"]));
        let story = Self { lost, gateway, others, session, sink, cluster, folder };
        story.prompt(&story.others, "one").await;
        wait_for_async("the message is sent", async || {
            let sent = operator.delivery_list(Some("sent"), None, 10).await.ok()?;
            (sent.items.len() == 1).then_some(())
        })
        .await;
        story.gateway.running.signal(Signal::SIGSTOP);
        story.prompt(&story.others, "two").await;
        assert_eq!(story.arrived(), [1]);
        story
    }

    /// Says something, and waits for the end of the turn.
    async fn prompt(&self, served: &Served, what: &str) {
        let operator = served.operator();
        let wish = Wish::Prompt { text: format!("say {what}") };
        let taken = operator.command_submit(self.session, what, &wish).await.unwrap();
        wait_for_async("the prompt is carried out", async || {
            let command = operator.command_get(self.session, taken.command_id).await.ok()?;
            (command.state == "done").then_some(())
        })
        .await;
    }

    fn restore(&self, ledger: &str, more: &[&str]) -> Installation {
        let restored = configured(&self.folder, &self.cluster, "restored", ledger);
        let token = std::fs::read_to_string(self.lost.data().join("operator-token")).unwrap();
        restored.bring(&self.lost, &token);
        let restore = ["restore", "--archive", "../archive", "--backup", "latest", "--environment", "production"];
        restored.done(&[&restore, more].concat());
        restored
    }

    /// How often each message arrived.
    fn arrived(&self) -> Vec<u32> {
        let accepted: BTreeMap<String, u32> = self.sink.accepted();
        accepted.into_values().collect()
    }

    /// Starts every role of the lost copy on its old database, each in a process of its own: none of them stays.
    fn nobody_of_the_lost_copy_starts(&self) {
        for role in ROLES {
            self.lost.tell(&["serve", "--roles", role]).failed(2, &REPLACED);
        }
    }

    /// The restored system acts: a new message arrives, and nothing else does.
    async fn goes_on(&self, restored: &Installation) {
        let served = block_in_place(|| restored.serve());
        self.prompt(&served, "three").await;
        wait_for_async("its message arrives", async || (self.arrived() == [1, 1]).then_some(())).await;
        block_in_place(|| self.nobody_of_the_lost_copy_starts());
        assert_eq!(self.arrived(), [1, 1], "the message that waits in the lost copy stays there");
        assert_eq!(block_in_place(|| served.stop()), 0);
    }
}

fn configured(folder: &Folder, cluster: &Cluster, name: &str, ledger: &str) -> Installation {
    if !folder.path().join(name).exists() {
        cluster.create_database(name).expect("a database can be made");
    }
    let more = format!("[database]\nurl = {:?}\n[ledger]\nfolder = \"../{ledger}\"\n", cluster.url(name));
    Installation::new(&folder.make(name), &more)
}

/// That a process has ended by itself as a command that failed would.
fn ended_as_replaced(running: &mut Running) {
    let code = running.wait();
    Told { code, stdout: String::new(), stderr: running.said() }.failed(2, &REPLACED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_system_that_is_started_again_stops_and_sends_nothing() {
    let mut story = Story::tell().await;
    block_in_place(|| {
        for served in [&mut story.gateway, &mut story.others] {
            served.running.signal(Signal::SIGKILL);
            served.running.wait();
        }
    });
    let restored = block_in_place(|| story.restore("ledger", &[]));
    // Also while nothing of the restored system runs yet.
    block_in_place(|| story.nobody_of_the_lost_copy_starts());
    assert_eq!(story.arrived(), [1]);
    story.goes_on(&restored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_through_the_restore_is_refused_at_its_first_write() {
    let mut story = Story::tell().await;
    block_in_place(|| {
        story.others.running.signal(Signal::SIGKILL);
        story.others.running.wait();
    });
    let restored = block_in_place(|| story.restore("ledger", &[]));
    block_in_place(|| {
        story.gateway.running.signal(Signal::SIGCONT);
        ended_as_replaced(&mut story.gateway.running);
    });
    assert_eq!(story.arrived(), [1]);
    story.goes_on(&restored).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_was_restored_without_the_ledger_fences_the_older_one_when_it_is_given_it() {
    let mut story = Story::tell().await;
    let _ = block_in_place(|| story.restore("another-ledger", &["--without-ledger"]));
    assert!(story.others.running.ended().is_none(), "nothing has told the older one yet");
    let restored = configured(&story.folder, &story.cluster, "restored", "ledger");
    let served = block_in_place(|| restored.serve());
    block_in_place(|| {
        ended_as_replaced(&mut story.others.running);
        story.gateway.running.signal(Signal::SIGCONT);
        ended_as_replaced(&mut story.gateway.running);
        assert_eq!(served.stop(), 0);
    });
    assert_eq!(story.arrived(), [1]);
    story.goes_on(&restored).await;
}
