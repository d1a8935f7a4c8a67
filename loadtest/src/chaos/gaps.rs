//! Silences of clients after their match was hit, beside those of times in which nothing hit it.
//!
//! A hit opens a window of [`GAP_WINDOW`](crate::limits::GAP_WINDOW) for the clients of its matches; it ends early when one of them is hit again. A silence
//! belongs to the first hit that falls into it, else to the hit in whose window it began. Of each window a client's longest
//! silence counts. The normal silences are those of windows of the same length that no hit falls into.

use std::time::Duration;

/// Microseconds since the beginning.
pub(crate) type Micros = u32;

/// What was done to a match's sim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL.
    Kill,
    /// SIGSTOP: it hangs, and is found.
    Stop,
    /// The match was moved to another sim.
    Move,
    /// All sims were replaced.
    Upgrade,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Kind; 4] = [Kind::Kill, Kind::Stop, Kind::Move, Kind::Upgrade];

    /// Its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Stop => "stop",
            Kind::Move => "move",
            Kind::Upgrade => "upgrade",
        }
    }
}

/// Something that was done to a sim, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// When.
    pub(crate) at: Micros,
    /// Until when its window is open at most.
    pub(crate) until: Micros,
    /// What.
    pub(crate) kind: Kind,
    /// The matches that the sim owned, from 0 on.
    pub(crate) matches: Vec<usize>,
}

/// A hit as the clients of one match see it.
#[derive(Clone, Copy, Debug)]
struct Window {
    kind: Kind,
    from: Micros,
    until: Micros,
}

/// The silences of all clients, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// After a hit.
    pub(crate) hit: Vec<Micros>,
    /// In windows of the same length without one.
    pub(crate) normal: Vec<Micros>,
}

/// The windows of each match's hits, which are in the order of time.
#[derive(Debug)]
pub(crate) struct Windows(Vec<Vec<Window>>);

impl Windows {
    /// Of so many matches.
    pub(crate) fn new(hits: &[Hit], matches: usize) -> Windows {
        let mut windows: Vec<Vec<Window>> = vec![Vec::new(); matches];
        for hit in hits {
            for &at in &hit.matches {
                if let Some(last) = windows[at].last_mut() {
                    last.until = last.until.min(hit.at);
                }
                windows[at].push(Window { kind: hit.kind, from: hit.at, until: hit.until });
            }
        }
        Windows(windows)
    }

    /// The silences of one kind. `clients` are each the match and when snapshots arrived; all were listened to until `end`.
    pub(crate) fn gaps<'a>(&self, kind: Kind, clients: impl Iterator<Item = (usize, &'a [Micros])>, end: Micros) -> Gaps {
        let mut lengths: Vec<Micros> =
            self.0.iter().flatten().filter(|window| window.kind == kind).map(|window| window.until - window.from).collect();
        lengths.sort_unstable();
        let Some(&length) = lengths.get(lengths.len() / 2) else { return Gaps::default() };
        let mut gaps = Gaps::default();
        for (of, arrivals) in clients {
            self.of_client(kind, &self.0[of], arrivals, end, length.max(1), &mut gaps);
        }
        gaps
    }

    fn of_client(&self, kind: Kind, windows: &[Window], arrivals: &[Micros], end: Micros, length: Micros, gaps: &mut Gaps) {
        let Some(&first) = arrivals.first() else { return };
        let mut longest: Vec<Micros> = vec![0; windows.len()];
        // The longest silence of each calm window, which begin where a hit's window ends; the time before the first hit is calm, too.
        let mut calm: Vec<(Micros, Micros)> = Vec::new();
        let ends = arrivals.iter().skip(1).copied().chain([end]);
        for (from, until) in arrivals.iter().copied().zip(ends).filter(|(from, until)| until > from) {
            let next = windows.partition_point(|window| window.from < from);
            let silence = until - from;
            if windows.get(next).is_some_and(|window| window.from < until) {
                longest[next] = longest[next].max(silence);
                continue;
            }
            let before = next.checked_sub(1).map(|before| (before, windows[before]));
            if let Some((before, _)) = before.filter(|(_, window)| from < window.until) {
                longest[before] = longest[before].max(silence);
                continue;
            }
            let begin = before.map_or(first, |(_, window)| window.until);
            let begin = begin + (from - begin) / length * length;
            let whole = begin + length <= windows.get(next).map_or(end, |window| window.from);
            match calm.last_mut().filter(|(of, _)| *of == begin) {
                _ if !whole => {}
                Some((_, longest)) => *longest = silence.max(*longest),
                None => calm.push((begin, silence)),
            }
        }
        let of_kind = windows.iter().zip(longest).filter(|(window, silence)| window.kind == kind && *silence > 0);
        gaps.hit.extend(of_kind.map(|(_, silence)| silence));
        gaps.normal.extend(calm.into_iter().map(|(_, silence)| silence));
    }
}

/// A time of the run in the unit of this file; what is too long becomes the longest.
pub(crate) fn micros(time: Duration) -> Micros {
    Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Micros = 1_000;
    const END: Micros = 10_000 * MS;

    /// A snapshot every 50 ms but in these silences.
    fn arrivals(silences: &[(Micros, Micros)]) -> Vec<Micros> {
        let all = (0..END / MS / 50).map(|tick| tick * 50 * MS);
        all.filter(|at| !silences.iter().any(|(from, until)| *at > from * MS && *at < until * MS)).collect()
    }

    fn hit(kind: Kind, at: Micros) -> Hit {
        Hit { at: at * MS, until: (at + 2_000) * MS, kind, matches: vec![0] }
    }

    fn ms(kind: Kind, hits: &[Hit], silences: &[(Micros, Micros)]) -> (Vec<Micros>, Vec<Micros>) {
        let arrivals = arrivals(silences);
        let gaps = Windows::new(hits, 2).gaps(kind, [(0, &arrivals[..])].into_iter(), END);
        let in_ms = |gaps: Vec<Micros>| gaps.into_iter().map(|gap| gap / MS).collect();
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
    fn a_match_that_was_not_hit_has_normal_silences_only() {
        let (all, hits) = (arrivals(&[]), [hit(Kind::Kill, 4_000)]);
        let gaps = Windows::new(&hits, 2).gaps(Kind::Kill, [(1, &all[..])].into_iter(), END);
        assert_eq!((gaps.hit.len(), gaps.normal), (0, vec![50 * MS; 5]));
    }

    #[test]
    fn a_match_that_never_goes_on_is_silent_to_the_end() {
        assert_eq!(ms(Kind::Stop, &[hit(Kind::Stop, 1_020)], &[(1_000, 20_000)]).0, [9_000]);
    }
}
