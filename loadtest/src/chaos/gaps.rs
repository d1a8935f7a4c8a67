//! Silences of clients after a hit, beside those of times in which nothing hit them.
//!
//! A hit opens a window of [`GAP_WINDOW`](crate::limits::GAP_WINDOW) for the clients that it touches; it ends early when they are hit again. A
//! silence belongs to the first hit that falls into it, else to the hit in whose window it began. Of each window a client's longest
//! silence counts. The normal silences are those of windows of the same length that no hit falls into. Clients that a hit does not touch
//! are looked at, too, unless something else touches them meanwhile. A silence that falls into a time without a supervisor is told
//! apart, because nobody heals anything then.

use std::time::Duration;

/// Microseconds since the beginning.
pub(crate) type Micros = u32;

/// What was done to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// SIGKILL of a sim.
    Kill,
    /// SIGSTOP of a sim: it hangs, and is found.
    Stop,
    /// The match was moved to another sim.
    Move,
    /// All workers were replaced.
    Upgrade,
    /// SIGKILL of a front-end.
    FrontendKill,
    /// SIGSTOP of a front-end.
    FrontendStop,
    /// SIGKILL of a process that stands by.
    StandbyKill,
    /// SIGSTOP of a process that stands by.
    StandbyStop,
    /// SIGKILL of the supervisor.
    SupervisorKill,
    /// SIGKILL of every process.
    AllKill,
    /// The number of front-ends was changed.
    Scale,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Kind; 11] = [
        Kind::Kill,
        Kind::Stop,
        Kind::Move,
        Kind::Upgrade,
        Kind::FrontendKill,
        Kind::FrontendStop,
        Kind::StandbyKill,
        Kind::StandbyStop,
        Kind::SupervisorKill,
        Kind::AllKill,
        Kind::Scale,
    ];

    /// Its name in reports. Those of the first four are older than the other roles.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Stop => "stop",
            Kind::Move => "move",
            Kind::Upgrade => "upgrade",
            Kind::FrontendKill => "frontend_kill",
            Kind::FrontendStop => "frontend_stop",
            Kind::StandbyKill => "standby_kill",
            Kind::StandbyStop => "standby_stop",
            Kind::SupervisorKill => "supervisor_kill",
            Kind::AllKill => "all_kill",
            Kind::Scale => "scale",
        }
    }

    /// Whether it takes the supervisor away by itself, so that its silences need not be told apart.
    fn takes_supervisor(self) -> bool {
        matches!(self, Kind::SupervisorKill | Kind::AllKill)
    }
}

/// Something that was done, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    /// When.
    pub(crate) at: Micros,
    /// Until when its window is open at most.
    pub(crate) until: Micros,
    /// What.
    pub(crate) kind: Kind,
    /// Whose process or match it was.
    pub(crate) whom: Whom,
}

/// The clients that a hit touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    /// Those of these matches, from 0 on.
    Matches(Vec<usize>),
    /// These, from 0 on, in ascending order.
    Clients(Vec<usize>),
    /// All.
    All,
}

impl Whom {
    fn touches(&self, client: usize, of: usize) -> bool {
        match self {
            Whom::Matches(matches) => matches.contains(&of),
            Whom::Clients(clients) => clients.binary_search(&client).is_ok(),
            Whom::All => true,
        }
    }
}

/// What one client lived through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Track {
    /// When its snapshots arrived.
    pub(crate) arrivals: Vec<Micros>,
    /// The newest input that each of them acknowledged.
    pub(crate) acknowledged: Vec<u32>,
    /// When its inputs were sent, from number 1 on.
    pub(crate) sent: Vec<Micros>,
}

impl Track {
    /// How long after `at` the first snapshot came that acknowledges an input given after it: then the client plays again.
    fn plays_again(&self, at: Micros, end: Micros) -> Option<Micros> {
        let input = self.sent.partition_point(|sent| *sent <= at);
        let number = u32::try_from(input).unwrap_or(u32::MAX).saturating_add(1);
        if input >= self.sent.len() {
            return None;
        }
        let first = self.arrivals.partition_point(|arrived| *arrived <= at);
        let again = (first..self.arrivals.len()).find(|at| self.acknowledged.get(*at).is_some_and(|newest| *newest >= number));
        Some(again.map_or(end, |again| self.arrivals[again]).saturating_sub(at))
    }
}

/// A hit as a client sees it.
#[derive(Clone, Copy, Debug)]
struct Window {
    kind: Kind,
    from: Micros,
    until: Micros,
}

/// The silences of all clients, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Of those who were hit.
    pub(crate) hit: Vec<Micros>,
    /// Of those who were hit, when there was no supervisor meanwhile.
    pub(crate) unsupervised: Vec<Micros>,
    /// Of those who were not.
    pub(crate) others: Vec<Micros>,
    /// In windows of the same length without a hit.
    pub(crate) normal: Vec<Micros>,
    /// Of those who were hit: the time until they played again.
    pub(crate) again: Vec<Micros>,
}

/// What was done in a run, in the order of time, and when there was no supervisor.
#[derive(Debug)]
pub(crate) struct Windows {
    pub(crate) hits: Vec<Hit>,
    pub(crate) absences: Vec<(Micros, Micros)>,
}

impl Windows {
    /// The silences of one kind. `clients` are each the match and the track; all were listened to until `end`.
    pub(crate) fn gaps<'a>(&self, kind: Kind, clients: impl Iterator<Item = (usize, &'a Track)>, end: Micros) -> Gaps {
        let mut gaps = Gaps::default();
        if !self.hits.iter().any(|hit| hit.kind == kind) {
            return gaps;
        }
        let clients: Vec<(Vec<Window>, Vec<Window>, &Track)> = clients
            .enumerate()
            .map(|(client, (of, track))| {
                let (touching, passing) = self.windows(client, of);
                (touching, passing, track)
            })
            .collect();
        let windows = clients.iter().flat_map(|(touching, ..)| touching).filter(|window| window.kind == kind);
        let mut lengths: Vec<Micros> = windows.map(|window| window.until - window.from).collect();
        lengths.sort_unstable();
        let length = lengths.get(lengths.len() / 2).copied().unwrap_or_else(|| micros(crate::limits::GAP_WINDOW)).max(1);
        for (touching, passing, track) in &clients {
            self.of_client(kind, touching, track, end, length, &mut gaps);
            others(kind, touching, passing, track, end, &mut gaps.others);
        }
        gaps
    }

    /// The windows of the hits that touch a client, and of those that do not.
    fn windows(&self, client: usize, of: usize) -> (Vec<Window>, Vec<Window>) {
        let (mut touching, mut passing): (Vec<Window>, Vec<Window>) = Default::default();
        for Hit { at, until, kind, whom } in &self.hits {
            let window = Window { kind: *kind, from: *at, until: *until };
            if !whom.touches(client, of) {
                passing.push(window);
                continue;
            }
            if let Some(last) = touching.last_mut() {
                last.until = last.until.min(*at);
            }
            touching.push(window);
        }
        (touching, passing)
    }

    fn of_client(&self, kind: Kind, windows: &[Window], track: &Track, end: Micros, length: Micros, gaps: &mut Gaps) {
        let Some(&first) = track.arrivals.first() else { return };
        let mut longest: Vec<(Micros, Micros)> = vec![(0, 0); windows.len()];
        // The longest silence of each calm window, which begin where a hit's window ends; the time before the first hit is calm, too.
        let mut calm: Vec<(Micros, Micros)> = Vec::new();
        for (from, until) in silences(&track.arrivals, end) {
            let next = windows.partition_point(|window| window.from < from);
            let silence = until - from;
            if windows.get(next).is_some_and(|window| window.from < until) {
                longest[next] = longest[next].max((silence, from));
                continue;
            }
            let before = next.checked_sub(1).map(|before| (before, windows[before]));
            if let Some((before, _)) = before.filter(|(_, window)| from < window.until) {
                longest[before] = longest[before].max((silence, from));
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
        for (window, (silence, from)) in windows.iter().zip(longest).filter(|(window, _)| window.kind == kind) {
            gaps.again.extend(track.plays_again(window.from, end));
            if silence == 0 {
                continue;
            }
            let apart = !kind.takes_supervisor() && self.is_unsupervised(from, from + silence);
            if apart { gaps.unsupervised.push(silence) } else { gaps.hit.push(silence) }
        }
        gaps.normal.extend(calm.into_iter().map(|(_, silence)| silence));
    }

    fn is_unsupervised(&self, from: Micros, until: Micros) -> bool {
        self.absences.iter().any(|(gone, back)| *gone < until && from < *back)
    }
}

/// The silences of a client whom hits of this kind have not touched, nor any other hit at that time.
fn others(kind: Kind, touching: &[Window], passing: &[Window], track: &Track, end: Micros, to: &mut Vec<Micros>) {
    for Window { from, until, .. } in passing.iter().filter(|window| window.kind == kind) {
        let is_apart = |window: &Window| window.until <= *from || window.from >= *until;
        if !touching.iter().all(is_apart) {
            continue;
        }
        // From the last snapshot before on.
        let first = track.arrivals.partition_point(|arrived| arrived <= from).saturating_sub(1);
        let within = silences(&track.arrivals[first..], end).take_while(|(begin, _)| begin < until);
        to.extend(within.map(|(begin, over)| over - begin).max());
    }
}

/// The times between two snapshots, and from the last one to the end.
fn silences(arrivals: &[Micros], end: Micros) -> impl Iterator<Item = (Micros, Micros)> + '_ {
    let ends = arrivals.iter().skip(1).copied().chain([end]);
    arrivals.iter().copied().zip(ends).filter(|(from, until)| until > from)
}

/// A time of the run in the unit of this file; what is too long becomes the longest.
pub(crate) fn micros(time: Duration) -> Micros {
    Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX)
}

#[cfg(test)]
mod tests;
