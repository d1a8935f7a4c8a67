//! What one client knows of its inputs, events and commands, and what the game's account of it says: the two must agree.

use std::collections::BTreeMap;

use ringfort_protocol::AckBits;
use ringfort_protocol::limits::MAX_INPUTS;

use crate::tally::{Account, BLOCK, News};

/// A client's own books.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    /// The newest input's number; all from 1 on were sent.
    pub(crate) sent: u32,
    /// The newest command's number.
    pub(crate) commands: u32,
    /// All numbers up to it are acknowledged or rejected.
    closed: u32,
    acknowledged: Numbers,
    /// Told as given up: neither acknowledged nor applied.
    rejected: Numbers,
    rejected_commands: Numbers,
    /// What the game has told of the numbers that it applied, block by block.
    told: BTreeMap<u32, u64>,
    /// The newest event's number.
    newest_event: u32,
    events_skipped: u64,
    events_doubled: u64,
}

/// Where books and account differ; all zero when nothing went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Acknowledged, and not applied.
    pub(crate) inputs_missing: u64,
    /// Applied more than once, or applied though rejected or never sent.
    pub(crate) inputs_doubled: u64,
    /// Told to be given up.
    pub(crate) inputs_rejected: u64,
    /// Sent, and neither acknowledged nor rejected: a client has no promise for them.
    pub(crate) inputs_unacknowledged: u64,
    /// Sent by the game, and not received.
    pub(crate) events_missing: u64,
    /// Received more than once.
    pub(crate) events_doubled: u64,
    /// Sent, and not carried out.
    pub(crate) commands_missing: u64,
    /// Carried out more than once.
    pub(crate) commands_doubled: u64,
    /// The account's count and sums are not those of the numbers that it says were applied.
    pub(crate) accounts_wrong: u64,
}

impl Ledger {
    /// A snapshot has acknowledged an input.
    pub(crate) fn acknowledged(&mut self, number: u32) {
        self.acknowledged.insert(number);
    }

    /// The server has given inputs and commands up.
    pub(crate) fn rejected(&mut self, inputs: AckBits, commands: AckBits) {
        inputs.iter().for_each(|number| self.rejected.insert(number));
        commands.iter().for_each(|number| self.rejected_commands.insert(number));
    }

    /// Whether a datagram still carries the oldest input that is under way when another one is given. Whoever gives it nevertheless gives up the
    /// promise for the oldest.
    pub(crate) fn has_room(&mut self) -> bool {
        while self.closed < self.sent && (self.acknowledged.contains(self.closed + 1) || self.rejected.contains(self.closed + 1))
        {
            self.closed += 1;
        }
        self.sent - self.closed < MAX_INPUTS as u32
    }

    /// How many inputs were acknowledged.
    pub(crate) fn acknowledged_count(&self) -> u64 {
        self.acknowledged.count()
    }

    /// An event has arrived; returns whether it is the next one.
    pub(crate) fn event(&mut self, event: News) -> bool {
        let (News::Tick { number } | News::Block { number, .. }) = event;
        if number <= self.newest_event {
            self.events_doubled += 1;
            return false;
        }
        let is_next = number == self.newest_event + 1;
        self.events_skipped += u64::from(number - self.newest_event - 1);
        self.newest_event = number;
        if let News::Block { block, bits, .. } = event {
            *self.told.entry(block).or_default() |= bits;
        }
        is_next
    }

    /// Whether nothing is under way any more, as far as this account tells.
    pub(crate) fn is_settled(&self, account: &Account) -> bool {
        self.newest_event >= account.events
            && self.commands_carried_out(account) >= u64::from(self.commands)
            && self.acknowledged.count() + self.rejected.count() >= u64::from(self.sent)
    }

    /// Those that were rejected included: of them nothing more is expected.
    fn commands_carried_out(&self, account: &Account) -> u64 {
        u64::from(account.commands.saturating_sub(account.commands_doubled)) + self.rejected_commands.count()
    }

    /// Holds the books against the account.
    pub(crate) fn audit(&self, account: &Account) -> Audit {
        let mut applied = Numbers::default();
        let words = self.told.iter().map(|(block, bits)| (*block, *bits));
        for (block, bits) in words.chain([(account.block, account.low), (account.block + 1, account.high)]) {
            (0..BLOCK).filter(|bit| bits >> bit & 1 != 0).for_each(|bit| applied.insert(block * BLOCK + bit));
        }
        let (mut inputs, mut sum, mut squares) = (0, 0, 0);
        for number in applied.iter() {
            inputs += 1;
            sum += u64::from(number);
            squares += u64::from(number).pow(2);
        }
        // A number that was applied twice is in the sums twice.
        let agrees = account.doubled > 0 || (inputs, sum, squares) == (account.inputs, account.sum, account.squares);
        let wrongly = |number: &u32| !(1..=self.sent).contains(number) || self.rejected.contains(*number);
        let wrongly = applied.iter().filter(wrongly).count() as u64;
        Audit {
            inputs_missing: self.acknowledged.iter().filter(|number| !applied.contains(*number)).count() as u64,
            inputs_doubled: u64::from(account.doubled) + wrongly,
            inputs_rejected: self.rejected.count(),
            inputs_unacknowledged: u64::from(self.sent).saturating_sub(self.acknowledged.count() + self.rejected.count()),
            events_missing: self.events_skipped + u64::from(account.events.saturating_sub(self.newest_event)),
            events_doubled: self.events_doubled,
            commands_missing: u64::from(self.commands).saturating_sub(self.commands_carried_out(account)),
            commands_doubled: u64::from(account.commands_doubled),
            accounts_wrong: u64::from(!agrees),
        }
    }
}

impl Audit {
    /// Whether nothing is missing, doubled, rejected or wrong.
    pub(crate) fn is_clean(&self) -> bool {
        *self == Audit::default()
    }

    /// Adds another client's.
    pub(crate) fn add(&mut self, other: &Audit) {
        self.inputs_missing += other.inputs_missing;
        self.inputs_doubled += other.inputs_doubled;
        self.inputs_rejected += other.inputs_rejected;
        self.inputs_unacknowledged += other.inputs_unacknowledged;
        self.events_missing += other.events_missing;
        self.events_doubled += other.events_doubled;
        self.commands_missing += other.commands_missing;
        self.commands_doubled += other.commands_doubled;
        self.accounts_wrong += other.accounts_wrong;
    }
}

/// A set of numbers, a bit for each.
#[derive(Clone, Debug, Default)]
struct Numbers(Vec<u64>);

impl Numbers {
    fn insert(&mut self, number: u32) {
        let at = (number / u64::BITS) as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        self.0[at] |= 1 << (number % u64::BITS);
    }

    fn contains(&self, number: u32) -> bool {
        self.0.get((number / u64::BITS) as usize).is_some_and(|word| word >> (number % u64::BITS) & 1 != 0)
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        let words = self.0.iter().zip(0u32..);
        words.flat_map(|(word, at)| (0..u64::BITS).filter(move |bit| word >> bit & 1 != 0).map(move |bit| at * u64::BITS + bit))
    }
}
