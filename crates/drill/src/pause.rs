//! A pause between two stages, for a person who wants to look, or to break something and see it caught.

use redact::CanaryClass;
use tokio::sync::oneshot;

use crate::proceedings::{Done, Halt, Name, Proceedings};
use crate::rehearsal::Aftermath;
use crate::target::Target;

const PAUSE: Name = Name::quiet("pause", "Pause for a person");

/// Says how to reach the target, and waits for Enter. The end of standard input counts as Enter.
pub(crate) async fn for_a_person(
    proceedings: &mut Proceedings,
    after: &str,
    target: &Target,
    aftermath: &Aftermath,
) -> Result<(), Halt> {
    for line in directions(after, target, aftermath) {
        proceedings.progress.line(&line);
    }
    proceedings
        .stage(PAUSE, async |_| {
            enter().await??;
            Ok(Done::nothing())
        })
        .await
}

/// On a thread of its own: at its end a runtime waits for the blocking calls that it made, and a drill that is
/// interrupted would wait for Enter.
fn enter() -> oneshot::Receiver<std::io::Result<usize>> {
    let (pressed, enter) = oneshot::channel();
    std::thread::spawn(move || pressed.send(std::io::stdin().read_line(&mut String::new())));
    enter
}

fn directions(after: &str, target: &Target, aftermath: &Aftermath) -> Vec<String> {
    let settings = &target.settings;
    let folder = settings.folder.display();
    let ledger = aftermath.ledger.as_ref().map_or("none".to_owned(), |ledger| ledger.display().to_string());
    let canary = aftermath.canaries.needles().iter().find(|needle| needle.class == Some(CanaryClass::Email));
    let canary = canary.map_or_else(String::new, |needle| String::from_utf8_lossy(&needle.value).into_owned());
    vec![
        format!("paused after {after}; the target is yours:"),
        format!("  database  psql '{}'", settings.database_url),
        format!("  objects   {}", settings.objects().display()),
        format!("  ledger    {ledger}"),
        format!("  secrets   {folder}/secrets"),
        format!("  logs      {}", settings.logs().display()),
        format!("  config    {}", settings.config_path().display()),
        format!("  a canary  {canary}"),
        "press Enter to go on".to_owned(),
    ]
}
