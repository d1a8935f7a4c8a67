//! `attack` and `hostile`: clients that do what no client should, with control of every byte that they send.
//!
//! An attack is a function that breaks one rule against a server and tells what the server did about it. [`attacks`] has the list, with what
//! is expected of the server; the whole-system tests run each beside players who must notice nothing, and [`measure`] plays with many of them
//! at once. Everything that an attack draws comes from its seed.

mod attacks;
mod connections;
mod control;
mod datagrams;
mod error;
mod handshakes;
mod measure;
mod mob;
mod packets;
mod peer;
mod reckless;
mod report;

use std::net::{IpAddr, SocketAddr};

pub(crate) use error::HostileError;
pub(crate) use measure::{HostileArgs, run as run_hostile};
pub(crate) use mob::{MobArgs, run as run_mob};

use attacks::ATTACKS;
use peer::{Attacker, Outcome};

/// What is attacked, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AttackArgs {
    /// Which attack, or `well_behaved` for a client that plays and leaves; without one, the list of attacks as JSON
    name: Option<String>,
    /// The server's address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7777")]
    server: SocketAddr,
    /// The address that the attacker comes from
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    from: IpAddr,
    /// What its bytes are drawn from
    #[arg(long, value_name = "K", default_value_t = 1)]
    seed: u64,
}

/// Runs one attack and prints as JSON how it ended.
pub(crate) fn run_attack(args: &AttackArgs) -> Result<(), HostileError> {
    let Some(name) = &args.name else {
        println!("{:#}", report::list());
        return Ok(());
    };
    let all = ATTACKS.iter().chain([&attacks::WELL_BEHAVED]);
    let attack = all.into_iter().find(|attack| attack.name == name);
    let attack = attack.ok_or_else(|| HostileError::NoSuchAttack(name.clone()))?;
    let mut attacker = Attacker::new(args.server, args.from, args.seed);
    let outcome: Outcome = (attack.run)(&mut attacker)?;
    println!("{}", report::outcome(attack, &attacker, &outcome));
    Ok(())
}
