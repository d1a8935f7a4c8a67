//! `bandwidth`: bytes that an entity's update takes on the wire, beside bincode and beside packing by hand.
//!
//! A crowd of `skirmish` moves by a seed, in this process and without a network. Every tick a watcher gets the snapshot that a
//! front-end would send it, by the same writer and the same baselines, and acknowledges it two ticks later unless it is lost.
//! What each record says is then written once more in two other ways, so that all three say the same:
//! - bincode: a vector of structs with an `Option` for each component, as one writes it without thinking of bytes;
//! - by hand: the bits of the changed components' fields at the same precision, and nothing else: no ids, no masks, no header.

mod crowd;
mod hand;
mod plain;
mod watcher;

use clap::ValueEnum;
use crowd::Crowd;
use watcher::Watcher;

/// How the crowd behaves and how much of it is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Scene {
    /// Every entity is in sight and moves.
    Melee,
    /// Every entity is in sight, and one in ten moves.
    Idle,
    /// The arena is wide, and the watcher sees what is within 80 m.
    Wide,
}

/// What is played.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BandwidthArgs {
    /// Ticks of each scene.
    #[arg(long, default_value_t = 600)]
    ticks: u32,
    /// Seed of all motion and loss.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Snapshots in a hundred that are lost.
    #[arg(long, default_value_t = 2)]
    loss: u64,
    /// Only this number of entities.
    #[arg(long)]
    entities: Option<u32>,
    /// Only this scene.
    #[arg(long, value_enum)]
    scene: Option<Scene>,
}

/// Bytes and records of one scene, summed over its ticks.
#[derive(Clone, Copy, Default, Debug)]
struct Sums {
    snapshots: u64,
    /// Entity updates.
    updates: u64,
    /// Whole snapshots.
    ours: u64,
    /// Bits of their records alone.
    record_bits: u64,
    bincode: u64,
    hand_bits: u64,
}

/// What is played when nothing else is asked for.
const SCENES: [(Scene, u32); 6] =
    [(Scene::Melee, 8), (Scene::Melee, 32), (Scene::Melee, 64), (Scene::Melee, 200), (Scene::Idle, 200), (Scene::Wide, 500)];

/// Plays the scenes and prints the table. It cannot fail.
pub(crate) fn run(args: &BandwidthArgs) {
    println!(
        "| scene | entities | updates a snapshot | Ringfort, whole snapshot | Ringfort, records alone | bincode | by hand | bincode / Ringfort \
         | Ringfort / by hand | records / by hand |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let asked = |(scene, entities): &(Scene, u32)| {
        args.scene.is_none_or(|wanted| wanted == *scene) && args.entities.is_none_or(|wanted| wanted == *entities)
    };
    let mut scenes: Vec<(Scene, u32)> = SCENES.into_iter().filter(asked).collect();
    if scenes.is_empty() {
        scenes.push((args.scene.unwrap_or(Scene::Melee), args.entities.unwrap_or(64)));
    }
    for (scene, entities) in scenes {
        row(scene, entities, &play(args, scene, entities));
    }
}

fn play(args: &BandwidthArgs, scene: Scene, entities: u32) -> Sums {
    let mut crowd = Crowd::new(args.seed, scene, entities);
    let mut watcher = Watcher::new(!args.seed, args.loss, &crowd);
    let mut sums = Sums::default();
    for _ in 0..args.ticks {
        crowd.step();
        watcher.watch(&crowd, &mut sums);
    }
    sums
}

fn row(scene: Scene, entities: u32, sums: &Sums) {
    let each = |bytes: f64| bytes / sums.updates.max(1) as f64;
    let (ours, records) = (each(sums.ours as f64), each(sums.record_bits as f64 / 8.0));
    let (bincode, hand) = (each(sums.bincode as f64), each(sums.hand_bits as f64 / 8.0));
    println!(
        "| {} | {entities} | {:.1} | {ours:.2} | {records:.2} | {bincode:.2} | {hand:.2} | {:.2} | {:.2} | {:.2} |",
        format!("{scene:?}").to_lowercase(),
        sums.updates as f64 / sums.snapshots.max(1) as f64,
        bincode / ours,
        ours / hand,
        records / hand,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(ticks: u32) -> BandwidthArgs {
        BandwidthArgs { ticks, seed: 3, loss: 5, entities: None, scene: None }
    }

    #[test]
    fn the_same_seed_gives_the_same_table() {
        let play = || format!("{:?}", play(&args(40), Scene::Wide, 100));
        assert_eq!(play(), play());
    }

    #[test]
    fn a_record_in_a_melee_takes_little_more_than_its_fields() {
        let sums = play(&args(100), Scene::Melee, 32);
        assert!(sums.updates > 3_000, "{sums:?}");
        assert!(sums.record_bits >= sums.hand_bits && sums.record_bits * 100 < sums.hand_bits * 115, "{sums:?}");
        assert!(sums.ours * 2 < sums.bincode, "{sums:?}");
    }
}
