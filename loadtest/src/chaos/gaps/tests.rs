use super::*;

const MS: Micros = 1_000;
const END: Micros = 10_000 * MS;

/// A snapshot every 50 ms but in these silences.
fn track(silences: &[(Micros, Micros)]) -> Track {
    let all = (0..END / MS / 50).map(|tick| tick * 50 * MS);
    let arrivals = all.filter(|at| !silences.iter().any(|(from, until)| *at > from * MS && *at < until * MS)).collect();
    Track { arrivals, ..Track::default() }
}

fn hit(kind: Kind, at: Micros) -> Hit {
    Hit { at: at * MS, until: (at + 2_000) * MS, kind, whom: Whom::Matches(vec![0]) }
}

fn in_ms(gaps: Vec<Micros>) -> Vec<Micros> {
    gaps.into_iter().map(|gap| gap / MS).collect()
}

fn of(kind: Kind, hits: &[Hit], absences: &[(Micros, Micros)], silences: &[(Micros, Micros)]) -> Gaps {
    let absences = absences.iter().map(|(from, until)| (from * MS, until * MS)).collect();
    let windows = Windows { hits: hits.to_vec(), absences };
    windows.gaps(kind, [(0, &track(silences))].into_iter(), END)
}

fn ms(kind: Kind, hits: &[Hit], silences: &[(Micros, Micros)]) -> (Vec<Micros>, Vec<Micros>) {
    let gaps = of(kind, hits, &[], silences);
    (in_ms(gaps.hit), in_ms(gaps.normal))
}

#[test]
fn of_a_window_the_longest_silence_counts_and_the_rest_is_normal() {
    let hits = [hit(Kind::Kill, 4_020)];
    let (hit, normal) = ms(Kind::Kill, &hits, &[(4_000, 4_100), (5_000, 5_150), (7_000, 7_250)]);
    assert_eq!((hit, normal), (vec![150], vec![50, 50, 250]));
}

#[test]
fn a_silence_belongs_to_the_first_hit_that_falls_into_it() {
    let hits = [hit(Kind::Stop, 1_020), hit(Kind::Kill, 1_520), hit(Kind::Kill, 2_520)];
    let silences = [(1_000, 2_100), (2_500, 2_600)];
    assert_eq!(ms(Kind::Stop, &hits, &silences).0, [1_100]);
    // The hit in the middle of the silence has the time after it.
    assert_eq!(ms(Kind::Kill, &hits, &silences).0, [50, 100]);
}

#[test]
fn whoever_was_not_hit_has_silences_of_the_others_and_normal_ones_only() {
    for whom in [Whom::Matches(vec![0]), Whom::Clients(vec![1, 2])] {
        let hits = vec![Hit { whom, ..hit(Kind::FrontendKill, 4_000) }];
        let windows = Windows { hits, absences: Vec::new() };
        let gaps = windows.gaps(Kind::FrontendKill, [(1, &track(&[(4_500, 4_700)]))].into_iter(), END);
        assert_eq!((gaps.hit.len(), in_ms(gaps.others)), (0, vec![200]));
        assert_eq!(in_ms(gaps.normal), [50, 50, 200, 50, 50]);
    }
}

#[test]
fn a_hit_that_passes_by_counts_only_while_nothing_else_touches_the_client() {
    let passing = Hit { whom: Whom::Clients(vec![7]), ..hit(Kind::FrontendKill, 4_000) };
    for (other, seen) in [(1_900, 1), (2_100, 0), (5_900, 0), (6_000, 1)] {
        let mut hits = vec![passing.clone(), hit(Kind::Kill, other)];
        hits.sort_by_key(|hit| hit.at);
        assert_eq!(of(Kind::FrontendKill, &hits, &[], &[]).others.len(), seen, "{other}");
    }
}

#[test]
fn a_match_that_never_goes_on_is_silent_to_the_end() {
    assert_eq!(ms(Kind::Stop, &[hit(Kind::Stop, 1_020)], &[(1_000, 20_000)]).0, [9_000]);
}

#[test]
fn a_silence_in_a_time_without_a_supervisor_is_told_apart() {
    for (absence, apart) in [((900, 1_000), false), ((900, 1_001), true), ((1_100, 1_300), true), ((2_000, 2_500), false)] {
        let gaps = of(Kind::Kill, &[hit(Kind::Kill, 1_020)], &[absence], &[(1_000, 2_000)]);
        let told = (in_ms(gaps.hit), in_ms(gaps.unsupervised));
        assert_eq!(told, if apart { (vec![], vec![1_000]) } else { (vec![1_000], vec![]) }, "{absence:?}");
        let gaps = of(Kind::AllKill, &[hit(Kind::AllKill, 1_020)], &[absence], &[(1_000, 2_000)]);
        assert_eq!((in_ms(gaps.hit), gaps.unsupervised.len()), (vec![1_000], 0), "it is of that kind by itself");
    }
}

#[test]
fn a_client_plays_again_with_the_first_snapshot_that_acknowledges_a_later_input() {
    let track = Track { arrivals: vec![10, 20, 60, 70], acknowledged: vec![1, 2, 3, 4], sent: vec![5, 15, 25, 35] };
    assert_eq!(track.plays_again(26, 100), Some(44), "the snapshot at 60 acknowledges only what was sent before");
    assert_eq!(track.plays_again(24, 100), Some(36));
    assert_eq!(track.plays_again(35, 100), None, "it gave no input after it");
    let deaf = Track { arrivals: vec![10], acknowledged: vec![1], sent: vec![5, 25] };
    assert_eq!(deaf.plays_again(20, 100), Some(80), "never, as far as was looked");
}
