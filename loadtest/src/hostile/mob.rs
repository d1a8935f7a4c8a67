//! Many attackers at once, each from an address of its own, at a client's pace, at the server's limit and above it: a hidden process of
//! `hostile`.
//!
//! It gives way to every other process, since what is measured is what attacks cost the server, not what they cost to make.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::HostileError;
use super::attacks::ATTACKS;
use super::peer::Attacker;
use crate::limits::{ATTACK_PAUSE, ATTACK_TIME, ATTACKER_PACKETS_PER_SECOND, ATTACKERS_PER_NET, MOB_NICENESS};

/// Who attacks, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct MobArgs {
    /// The server.
    #[arg(long)]
    server: SocketAddr,
    /// How many attackers.
    #[arg(long)]
    attackers: u32,
    /// For how long.
    #[arg(long)]
    seconds: f64,
    /// What they draw from.
    #[arg(long)]
    seed: u64,
}

/// What the attackers of a mob have done.
#[derive(Default)]
struct Deeds {
    attacks: BTreeMap<&'static str, u64>,
    failed: u64,
    packets: u64,
    bytes: u64,
}

/// Attacks until the time is over, and prints what was done.
pub(crate) fn run(args: &MobArgs) -> Result<(), HostileError> {
    rustix::process::nice(MOB_NICENESS).map_err(std::io::Error::from)?;
    let until = Instant::now() + Duration::from_secs_f64(args.seconds);
    let all: Vec<Deeds> = thread::scope(|scope| {
        let mob: Vec<_> = (0..args.attackers).map(|number| scope.spawn(move || attack(args, number, until))).collect();
        mob.into_iter().filter_map(|attacker| attacker.join().ok()).collect()
    });
    println!("{}", told(args, &all));
    Ok(())
}

/// One attacker: one attack after the other, from another place in the list than its neighbours.
fn attack(args: &MobArgs, number: u32, until: Instant) -> Deeds {
    let from = IpAddr::V4(Ipv4Addr::new(127, 1, (number / ATTACKERS_PER_NET) as u8, 1 + (number % ATTACKERS_PER_NET) as u8));
    let mut attacker = Attacker::new(args.server, from, args.seed << 32 | u64::from(number));
    attacker.keep_pace(ATTACKER_PACKETS_PER_SECOND[number as usize % ATTACKER_PACKETS_PER_SECOND.len()]);
    let mut deeds = Deeds::default();
    for attack in ATTACKS.iter().cycle().skip(number as usize) {
        if Instant::now() >= until {
            break;
        }
        attacker.until = Some(until.min(Instant::now() + ATTACK_TIME));
        *deeds.attacks.entry(attack.name).or_default() += 1;
        // A full match or an exhausted limit keeps an attack from its point; the attempt was made.
        deeds.failed += u64::from((attack.run)(&mut attacker).is_err());
        thread::sleep(ATTACK_PAUSE.min(until.saturating_duration_since(Instant::now())));
    }
    (deeds.packets, deeds.bytes) = (attacker.packets, attacker.bytes);
    deeds
}

fn told(args: &MobArgs, all: &[Deeds]) -> Value {
    let mut attacks: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, times) in all.iter().flat_map(|deeds| &deeds.attacks) {
        *attacks.entry(name).or_default() += times;
    }
    json!({
        "attackers": args.attackers,
        "seconds": args.seconds,
        "attacks": attacks.values().sum::<u64>(),
        "kinds": attacks.len(),
        "failed": all.iter().map(|deeds| deeds.failed).sum::<u64>(),
        "packets": all.iter().map(|deeds| deeds.packets).sum::<u64>(),
        "bytes": all.iter().map(|deeds| deeds.bytes).sum::<u64>(),
    })
}
