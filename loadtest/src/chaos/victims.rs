//! Who is killed, out of what the directory says of the instance's processes, and whose clients that are.

use std::time::Instant;

use ringfort::attach::Attached;
use ringfort::status::{ProcessStatus, Status, show};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::args::Role;
use super::crowd::client_number;
use super::gaps::Whom;
use super::host::Host;
use super::host_process::{is_in, pids_in};
use crate::random::Random;

/// Sends a signal to a process of this role, drawn by lot; tells when, and whom it touches.
pub(super) fn strike(instance: &str, role: Role, stops: bool, random: &mut Random) -> Option<(Instant, Whom)> {
    let status = Status::of(instance).ok()?;
    let victims: Vec<&ProcessStatus> = status.processes.iter().filter(|process| is_victim(&status, process, role)).collect();
    if victims.is_empty() {
        return None;
    }
    let victim = victims[random.below(victims.len())];
    let handle = pidfd_open(Pid::from_raw(i32::try_from(victim.pid).ok()?)?, PidfdFlags::empty()).ok()?;
    let whom = match role {
        Role::Frontend => Whom::Clients(clients_of(instance, &status, victim.slot)),
        _ => Whom::Matches(Vec::new()),
    };
    // The handle is that of the process that the status named only if it is still there after the handle was taken.
    let still = Status::of(instance).ok()?;
    let there =
        |process: &ProcessStatus| (process.slot, process.pid) == (victim.slot, victim.pid) && is_victim(&still, process, role);
    if !still.processes.iter().any(there) {
        return None;
    }
    let at = Instant::now();
    pidfd_send_signal(&handle, if stops { Signal::STOP } else { Signal::KILL }).ok()?;
    Some((at, if role == Role::Sim { Whom::Matches(matches_of(&still, victim.slot)) } else { whom }))
}

/// Kills the supervisor, whether it runs or starts.
pub(super) fn kill_supervisor(host: &Host) -> Option<Instant> {
    let pid = Pid::from_raw(host.supervisor()?)?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    // As above.
    if !is_in(pid, host.directory()) {
        return None;
    }
    let at = Instant::now();
    pidfd_send_signal(&handle, Signal::KILL).ok()?;
    host.supervisor_killed(at);
    Some(at)
}

/// Kills every process, the supervisor first, so that it starts nobody again.
pub(super) fn kill_all(host: &Host) -> Option<Instant> {
    let supervisor = host.supervisor()?;
    let others = pids_in(host.directory()).into_iter().filter(|pid| pid.as_raw_nonzero().get() != supervisor);
    let handles: Vec<_> = others.filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?))).collect();
    let at = kill_supervisor(host)?;
    for (_, handle) in handles.iter().filter(|(pid, _)| is_in(*pid, host.directory())) {
        // An error says that it has ended since.
        let _ = pidfd_send_signal(handle, Signal::KILL);
    }
    Some(at)
}

/// Whether a process runs and has something to do in this role. A sim that stands by may have got matches already.
fn is_victim(status: &Status, process: &ProcessStatus, role: Role) -> bool {
    let has_matches = || !matches_of(status, process.slot).is_empty();
    process.state == "running"
        && match role {
            Role::Sim => ["sim", "standby"].contains(&process.role) && has_matches(),
            Role::Standby => process.role == "standby" && !has_matches(),
            Role::Frontend | Role::Supervisor | Role::All => process.role == role.name(),
        }
}

/// The matches that a sim owns, by their numbers from 0 on.
fn matches_of(status: &Status, slot: u32) -> Vec<usize> {
    let owned = status.matches.iter().filter(|entry| entry.owner_slot == slot && entry.state == "running");
    owned.filter_map(|entry| entry.name.strip_prefix("match-")?.parse::<usize>().ok()?.checked_sub(1)).collect()
}

/// The clients whose sessions are attached to a front-end.
fn clients_of(instance: &str, status: &Status, slot: u32) -> Vec<usize> {
    let Ok(attached) = Attached::open(instance) else { return Vec::new() };
    let shown = status.matches.iter().filter_map(|entry| show(&attached, &entry.name, false).ok());
    let players = shown.flat_map(|shown| shown.players).filter(|player| player.frontend == slot);
    let mut clients: Vec<usize> = players.filter_map(|player| client_number(&player.name)).collect();
    clients.sort_unstable();
    clients
}
