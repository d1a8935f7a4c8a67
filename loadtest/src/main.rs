//! `ringfort-loadtest`: real QUIC clients against a server, and what a server costs beside its peers.
//!
//! Exit codes: 0 done; 1 a client failed or was disconnected, or a measurement could not be made; 2 usage.

// Not forbidden: what `derive(Component)` writes for the game `tally` allows itself an unsafe impl.
#![deny(unsafe_code)]

mod assertion;
mod bandwidth;
mod bootstrap;
mod chaos;
mod children;
mod compare;
mod cpu;
mod hostile;
mod limits;
mod memory;
mod netem;
mod observe;
mod peers;
mod random;
mod report;
mod run;
mod schedule;
mod tally;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load generator and cost baselines for Ringfort
#[derive(Parser)]
#[command(name = "ringfort-loadtest", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play the bundled game with many clients and report what they saw
    Run(run::RunArgs),
    /// Measure what a client and tick costs the server, beside bare echo servers under the same load
    Peers(peers::PeersArgs),
    /// Start servers and put more and more clients on them until they break, and tell where that is
    Sweep(run::SweepArgs),
    /// Tell the ratios of all figures of two reports of `run`, and which have become worse
    Compare(compare::CompareArgs),
    /// Compare the processor time of two builds of the server, in interleaved pairs
    CompareBuilds(peers::CompareArgs),
    /// Compare what a sim's tick costs while few and while many watch the same battle, in interleaved pairs
    Watchers(run::WatchersArgs),
    /// Compare what a server uses while `top` and `tail` look at it and while nobody does, in interleaved windows
    Observe(observe::ObserveArgs),
    /// Bytes of an entity's update, beside bincode and beside packing by hand
    Bandwidth(bandwidth::BandwidthArgs),
    /// Kill processes of an instance while clients play, and tell whether anything was lost or applied twice
    Chaos(chaos::ChaosArgs),
    /// Kill front-ends, and tell how soon their clients play again and what the others notice
    Failover(chaos::FailoverArgs),
    /// Kill the supervisor again and again, and tell whether any client notices
    Supervise(chaos::SuperviseArgs),
    /// Give clients another address again and again, and tell whether they keep their connections
    Rebind(chaos::RebindArgs),
    /// Change the number of front-ends and replace them under load, and tell whether anything was lost
    Rolling(chaos::RollingArgs),
    /// Measure what players notice of attackers in their match
    Hostile(hostile::HostileArgs),
    /// Break one rule against a server, and tell what it does about it
    Attack(hostile::AttackArgs),
    /// The whole command line of a server for the game that `chaos` plays: `tally up`, `tally status`, ..
    Tally {
        /// What Ringfort's command line takes
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Starts the instance of `chaos`, and clears it away
    #[command(hide = true)]
    ChaosHost(chaos::HostArgs),
    /// The attackers of `hostile`
    #[command(hide = true)]
    Mob(hostile::MobArgs),
    /// A generator process of `run` and `peers`
    #[command(hide = true)]
    Worker(run::WorkerArgs),
    /// The load of an echo peer
    #[command(hide = true)]
    EchoLoad(peers::EchoLoadArgs),
    /// The crowd of a Colyseus room
    #[command(hide = true)]
    ColyseusLoad(peers::ColyseusLoadArgs),
}

fn main() -> ExitCode {
    if let Some(code) = tally::if_asked() {
        return code;
    }
    let command = Cli::parse().command;
    if matches!(command, Command::Worker(_) | Command::Mob(_) | Command::EchoLoad(_) | Command::ColyseusLoad(_)) {
        children::exit_with_parent();
    }
    match command {
        Command::Run(args) => match run::run(&args) {
            Err(error) if error.is_usage() => {
                eprintln!("ringfort-loadtest: {error}");
                ExitCode::from(2)
            }
            done => exit(done),
        },
        Command::Bandwidth(args) => {
            bandwidth::run(&args);
            ExitCode::SUCCESS
        }
        Command::Sweep(args) => exit(run::run_sweep(&args)),
        Command::Watchers(args) => exit(run::run_watchers(&args)),
        Command::Observe(args) => exit(observe::run(&args)),
        Command::Compare(args) => exit(compare::run(&args)),
        Command::CompareBuilds(args) => exit(peers::run_compare(&args).map(|()| true)),
        Command::Peers(args) => exit(peers::run(args).map(|()| true)),
        Command::Chaos(args) => exit(chaos::run(&args.into())),
        Command::Failover(args) => exit(chaos::run(&args.into())),
        Command::Supervise(args) => exit(chaos::run(&args.into())),
        Command::Rebind(args) => exit(chaos::run(&args.into())),
        Command::Rolling(args) => exit(chaos::run(&args.into())),
        Command::ChaosHost(args) => exit(chaos::run_host(&args).map(|()| true)),
        // Whoever gave it as the first argument does not come here.
        Command::Tally { .. } => ExitCode::from(2),
        Command::Hostile(args) => exit(hostile::run_hostile(&args).map(|()| true)),
        Command::Attack(args) => exit(hostile::run_attack(&args).map(|()| true)),
        Command::Mob(args) => exit(hostile::run_mob(&args).map(|()| true)),
        Command::Worker(args) => exit(run::run_worker(&args).map(|()| true)),
        Command::ColyseusLoad(args) => exit(peers::run_colyseus_load(&args).map(|()| true)),
        Command::EchoLoad(args) => exit(peers::run_echo_load(&args).map(|()| true)),
    }
}

fn exit<E: Display>(done: Result<bool, E>) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("ringfort-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}
