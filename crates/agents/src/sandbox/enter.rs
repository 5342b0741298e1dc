//! Gives up what the agent does not need, and becomes the agent.
//!
//! Whatever can't be given up is an error: nothing runs in half a cage. What newer kernels can deny besides (links between folders,
//! device controls, signals to processes outside) is denied where the kernel knows it.
//!
//! Not here: what follows when it ends (`supervise`).

use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use caps::errors::CapsError;
use caps::{CapSet, Capability};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use super::{Cage, READY};

/// Without these rights a cage is none. The first kernels with Landlock have them.
const FILES: ABI = ABI::V1;
/// The newest rights that this build asks for, if the kernel has them.
const NEWEST: ABI = ABI::V6;

/// Programs and their libraries; what a program reads of the machine. Not all of `/etc`: an operator's configuration is there.
const SYSTEM: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/debian_version",
    "/etc/gitconfig",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/terminfo",
    "/etc/timezone",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
];
/// Devices that hold nothing.
const DEVICES: &[&str] =
    &["/dev/full", "/dev/null", "/dev/ptmx", "/dev/pts", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"];

/// Returns only if there is no agent; why, for people.
pub(super) fn run(cage: &Cage, command: &[OsString]) -> String {
    match restrict(cage) {
        Ok(()) => become_agent(command),
        Err(why) => why,
    }
}

fn restrict(cage: &Cage) -> Result<(), String> {
    // The supervisor ends whoever descends from it; this is for when it is killed itself.
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| format!("it could not be tied to its supervisor: {error}"))?;
    if getppid().as_raw() == 1 {
        return Err("its supervisor is gone".into());
    }
    prctl::set_no_new_privs().map_err(|error| format!("its privileges could not be fixed: {error}"))?;
    limit(cage)?;
    drop_capabilities().map_err(|error| format!("its capabilities could not be dropped: {error}"))?;
    if cage.confined { confine(cage).map_err(unconfined) } else { Ok(()) }
}

/// Where a worker is root, its agents are not: root reads other processes' environments and passes over the rights of files. Nobody
/// else has any.
fn drop_capabilities() -> Result<(), CapsError> {
    if caps::read(None, CapSet::Permitted)?.is_empty() {
        return Ok(());
    }
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set)?;
    }
    Ok(())
}

fn limit(cage: &Cage) -> Result<(), String> {
    let limits = [
        (Resource::RLIMIT_CORE, Some(0)),
        (Resource::RLIMIT_FSIZE, Some(cage.file_bytes)),
        (Resource::RLIMIT_NPROC, cage.processes),
        (Resource::RLIMIT_DATA, cage.memory_bytes),
    ];
    for (resource, limit) in limits.into_iter().filter_map(|(resource, limit)| Some((resource, limit?))) {
        setrlimit(resource, limit, limit).map_err(|error| format!("{resource:?} could not be limited: {error}"))?;
    }
    Ok(())
}

fn confine(cage: &Cage) -> Result<(), RulesetError> {
    let required = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let mut rules = required.handle_access(AccessFs::from_all(FILES))?;
    if cage.ports.is_some() {
        rules = rules.handle_access(AccessNet::ConnectTcp)?;
    }
    let rules = rules.set_compatibility(CompatLevel::BestEffort);
    let rules = rules.handle_access(AccessFs::from_all(NEWEST))?.scope(Scope::from_all(NEWEST))?.create()?;
    let (all, read) = (AccessFs::from_all(NEWEST), AccessFs::from_read(NEWEST));
    let system = SYSTEM.iter().map(Path::new).chain(cage.readable.iter().map(AsRef::as_ref));
    let rules = rules
        .add_rules(path_beneath_rules(system, read))?
        .add_rules(path_beneath_rules(DEVICES, read | AccessFs::from_file(NEWEST)))?
        .add_rules(path_beneath_rules(&cage.writable, all))?;
    let status = connecting(rules, cage)?.restrict_self()?;
    debug_assert_ne!(status.ruleset, RulesetStatus::NotEnforced, "what is required is enforced or an error");
    Ok(())
}

fn connecting(rules: RulesetCreated, cage: &Cage) -> Result<RulesetCreated, RulesetError> {
    let ports = cage.ports.iter().flatten();
    rules.add_rules(ports.map(|port| Ok::<_, RulesetError>(NetPort::new(*port, AccessNet::ConnectTcp))))
}

#[expect(clippy::needless_pass_by_value, reason = "it maps an error")]
fn unconfined(error: RulesetError) -> String {
    format!(
        "this kernel can't confine it (Landlock): {error}; use a kernel of 6.7 or newer with Landlock, or say network = \
         \"open\" or sandbox = \"none\" for this agent"
    )
}

fn become_agent(command: &[OsString]) -> String {
    let mut said = std::io::stdout().lock();
    if let Err(error) = writeln!(said, "{READY}").and_then(|()| said.flush()) {
        return format!("nobody listens to it: {error}");
    }
    drop(said);
    let error = Command::new(&command[0]).args(&command[1..]).exec();
    format!("its program can't be started: {error}; look at command, PATH and readable of this agent")
}
