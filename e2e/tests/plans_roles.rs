//! Drills whose roles are started, looked at and stopped by commands of the operator's own; and what becomes of the network of
//! those that the drill starts itself.

use std::path::PathBuf;

use e2e::{Drill, Ended, Folder, PlanText, World, binary, living_below};

/// What the commands of these stories have in common: files of an instance in the drill's folder.
const SHELL: &str = "F=$COWORK_DRILL_FOLDER/$COWORK_DRILL_INSTANCE; P=$(cat $F.pid 2>/dev/null); ";

struct Story {
    folder: Folder,
    world: World,
}

impl Story {
    async fn begin() -> Self {
        let folder = Folder::new();
        let mut world = World::build(&folder.make("world"), "").await;
        let archive = folder.path().join("archive").display().to_string();
        world.installation().tell(&["backup", "--archive", &archive]).succeeded();
        world.stop_roles();
        Self { folder, world }
    }

    fn plan(&self) -> PlanText {
        let archive: PathBuf = self.folder.path().join("archive");
        PlanText::of(&self.world, &format!("[source.archive]\nfolder = {archive:?}"))
    }

    fn drill(&self, name: &str, plan: &PlanText) -> Ended {
        let plan = plan.write(&self.world, name);
        let out = self.folder.path().join(format!("report-{name}"));
        Drill::of_plan(&plan, &self.folder.make(&format!("work-{name}")), &out).finish()
    }
}

/// A table of commands that keep a process in the background, as a service manager would. `start` comes before the program's.
fn table(role: &str, before: &str, more: &str) -> String {
    let serve = format!(
        "{} serve --roles $COWORK_DRILL_ROLE --config $COWORK_DRILL_CONFIG --ready-file $F.ready",
        binary().display()
    );
    let start =
        format!("{SHELL}{before}{serve} >$F.own 2>&1 & echo $! >${{COWORK_DRILL_FOLDER}}/$COWORK_DRILL_INSTANCE.pid");
    let address = format!("sed -n 's,.*\"{role}\":\"\\([^\"]*\\)\".*,http://\\1,p' $F.ready");
    let status = format!("{SHELL}kill -0 $P && test -s $F.ready && {address}");
    let stop =
        format!("{SHELL}kill -CONT $P; kill $P; while grep -q . /proc/$P/cmdline 2>/dev/null; do sleep 0.05; done");
    let mut table = format!("[roles.{role}]\ntimeout_s = 60\n");
    for (key, command) in [("start", start), ("status", status), ("stop", stop)] {
        table += &format!("{key} = '''{command}'''\n");
    }
    table + more
}

fn tables(of: impl Fn(&str) -> String) -> String {
    let roles = ["web", "worker", "scheduler", "gateway"].map(of);
    format!("[roles]\ninherit = [\"LANG\"]\n{}", roles.join("\n"))
}

/// With everything that the rows need.
fn whole(role: &str) -> String {
    let mut more = format!("logs = '''{SHELL}cat $F.own'''\n");
    if role == "worker" {
        more += &format!("suspend = '''{SHELL}kill -STOP $P'''\nresume = '''{SHELL}kill -CONT $P'''\n");
    }
    table(role, "", &more)
}

#[tokio::test]
async fn roles_that_the_operators_commands_run_are_drilled_to_passed() {
    let story = Story::begin().await;
    let ended = story.drill("commands", &story.plan().and(&tables(whole)));
    ended.passed();
    let notes = ended.report.0["notes"].to_string();
    assert!(notes.contains("isolation could not be verified: the operator's commands"), "{notes}");
    assert_eq!(living_below(&story.folder.path().join("work-commands")), []);
}

#[tokio::test]
async fn what_the_operators_commands_do_not_let_the_drill_see_is_not_passed() {
    let story = Story::begin().await;
    let blind = story.drill("blind", &story.plan().and(&tables(|role| table(role, "", ""))));
    assert_eq!((blind.code, blind.report.verdict()), (2, "could_not_verify"), "{}", blind.said);
    assert_eq!(blind.report.rows_that("could_not_verify"), ["worker-recovery", "redaction"], "{}", blind.said);

    // The command's output has a secret in it, which the report does not repeat.
    let secret = format!("echo token {} >&2; exit 1; ", story.world.token);
    let broken = story.drill("broken", &story.plan().and(&tables(|role| table(role, &secret, ""))));
    broken.report.assert_found("web-only-boot", "role_did_not_start", "its start command failed: token");
    assert!(!broken.report.0.to_string().contains(&story.world.token));
    assert_eq!(living_below(&story.folder.path().join("work-broken")), []);
}

/// As root on Linux they have no way out. Elsewhere the report says that nobody knows.
#[tokio::test]
async fn the_drills_own_roles_have_no_way_out_or_the_report_says_so() {
    let story = Story::begin().await;
    let ended = story.drill("isolated", &story.plan());
    let notes = ended.passed().report.0["notes"].to_string();
    if nix::unistd::geteuid().is_root() && !notes.contains("could not be verified") {
        assert!(notes.contains("in a network namespace without a route"), "{notes}");
        assert!(notes.contains("6 of 6 running roles were seen"), "{notes}");
    } else {
        assert!(notes.contains("isolation could not be verified: "), "{notes}");
    }
    let off = story.drill("off", &story.plan().and("[target]\nisolation = \"off\""));
    assert!(off.passed().report.0["notes"].to_string().contains("isolation could not be verified: the plan"));
}
