use std::time::Duration;

use ringfort_protocol::driver::ConnId;

use super::super::round::Round;
use super::*;

/// A front-end in made-up time: each commit's last snapshot leaves after so many periods of 100 ms.
struct Scene {
    now: Instant,
    shed: Shed,
    changes: Vec<u64>,
}

impl Scene {
    fn new() -> Self {
        let now = Instant::now();
        Self { now, shed: Shed::new(now), changes: Vec::new() }
    }

    fn ticks(&mut self, count: u32, lag: impl Fn(&Shed) -> f64) {
        for _ in 0..count {
            self.now += Duration::from_millis(100);
            self.shed.observe(lag(&self.shed));
            if self.shed.judge(self.now) {
                self.changes.push(self.shed.level());
            }
        }
    }
}

/// Ticks between two judgements.
const JUDGEMENT: u32 = (SHED_EVERY.as_millis() / 100) as u32;

#[test]
fn one_that_keeps_up_does_without_nothing() {
    let mut scene = Scene::new();
    scene.ticks(1_000, |_| SHED_RISE - 0.05);
    assert!(scene.changes.is_empty());
    assert_eq!((scene.shed.part(7), scene.shed.cut(1150), scene.shed.puts_off_joins()), (7, 1150, false));
}

#[test]
fn a_single_late_commit_changes_nothing() {
    let mut scene = Scene::new();
    scene.ticks(JUDGEMENT - 1, |_| 0.1);
    scene.ticks(1, |_| 3.0);
    assert!(scene.changes.is_empty());
}

#[test]
fn it_rises_step_by_step_in_the_stated_order_and_no_further() {
    let mut scene = Scene::new();
    let mut seen = vec![in_words(0)];
    for _ in 0..10 {
        scene.ticks(JUDGEMENT, |_| 2.0);
        seen.push(in_words(scene.shed.level()));
    }
    assert_eq!(scene.changes, [1, 2, 3, 4, 5, 6]);
    let words: Vec<String> = seen.into_iter().flatten().collect();
    let expected = [
        "every 2nd snapshot",
        "every 3rd snapshot",
        "every 4th snapshot",
        "every 4th snapshot of half its bytes",
        "every 4th snapshot of a quarter of its bytes",
        "every 4th snapshot of a quarter of its bytes, no new joins",
    ];
    assert_eq!(words[..6], expected);
    assert!(words[6..].iter().all(|word| word == expected[5]));
}

#[test]
fn it_holds_where_it_can_keep_up() {
    let mut scene = Scene::new();
    // With every 3rd snapshot it needs half a period.
    scene.ticks(1_000, |shed| 1.6 / STEPS[shed.level].0 as f64);
    assert_eq!(scene.changes, [1, 2]);
}

#[test]
fn it_recovers_step_by_step_once_there_is_time_again() {
    let mut scene = Scene::new();
    scene.ticks(6 * JUDGEMENT, |_| 2.0);
    scene.ticks(SHED_CALM_JUDGEMENTS * JUDGEMENT - 1, |_| 0.1);
    assert_eq!(scene.shed.level(), 6, "not at once");
    scene.ticks(100 * JUDGEMENT, |_| 0.1);
    assert_eq!(scene.changes, [1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0]);
}

#[test]
fn without_a_commit_it_recovers_too() {
    let mut scene = Scene::new();
    scene.ticks(JUDGEMENT, |_| 2.0);
    for _ in 0..SHED_CALM_JUDGEMENTS {
        scene.now += SHED_EVERY;
        scene.shed.judge(scene.now);
    }
    assert_eq!(scene.shed.level(), 0);
}

#[test]
fn one_that_goes_back_in_vain_tries_ever_more_rarely() {
    let mut scene = Scene::new();
    // Too much at level 0, and so little at level 1 that going back seems right.
    scene.ticks(4_000, |shed| if shed.level == 0 { 1.5 } else { SHED_FALL - 0.1 });
    let without_waiting = 4_000 / (JUDGEMENT * (SHED_CALM_JUDGEMENTS + 1));
    assert!(scene.changes.len() as u32 <= without_waiting / 2, "{:?}", scene.changes.len());
    assert_eq!(scene.shed.calm_wanted, SHED_CALM_JUDGEMENTS_MAX);
    scene.ticks(2 * SHED_CALM_JUDGEMENTS_MAX * JUDGEMENT, |_| 0.1);
    assert_eq!((scene.shed.level(), scene.shed.calm_wanted), (0, SHED_CALM_JUDGEMENTS), "once all is well it forgets");
}

#[test]
fn clients_take_turns_and_each_gets_its_share() {
    let sessions = (0..9).map(|slot| (slot, ConnId { index: slot, generation: 1 })).collect();
    for (level, (one_of, _, _)) in STEPS.into_iter().enumerate() {
        let shed = Shed { level, ..Shed::new(Instant::now()) };
        let (mut round, mut told) = (Round::default(), [0; 9]);
        for _ in 0..4 * 9 {
            round.begin(shed.part(9), 0, 100_000);
            while let Some((slot, _)) = round.take(0, &sessions) {
                told[slot as usize] += 1;
            }
        }
        let least = 4 * 9 / one_of;
        assert!(told.iter().all(|count| (least..=least + 4).contains(count)), "level {level}: {told:?}");
    }
}
