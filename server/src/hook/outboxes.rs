//! The outboxes of all matches, mirrored while something waits in them, and nothing else of their worlds.

use std::collections::HashMap;

use ringfort_shm_state::directory::Directory;
use ringfort_shm_state::layout::{AskKind, InstanceEntry, ZoneEntry};
use ringfort_shm_state::mirror::{Mirror, Refreshed};
use ringfort_shm_state::segment::{Segment, unpadded};
use ringfort_shm_state::worker::WorkerPage;
use ringfort_shm_state::world::World;

use super::Question;
use super::counters as count;
use super::desk::{Desk, Waiting};
use crate::fsck::Describe;
use crate::game::{Ask, OutboxAt};

/// What is known of the outboxes.
pub(super) struct Outboxes {
    instance: String,
    directory: Segment,
    describe: Describe,
    zones: HashMap<usize, Seen>,
}

/// An outbox with something in it.
struct Seen {
    match_id: u64,
    /// The root that was the newest at the last look.
    sequence: u64,
    outbox: OutboxAt,
    /// While something waits.
    mirror: Option<Mirror>,
    /// The desk had no room for all that waits.
    left_over: bool,
}

impl Outboxes {
    pub(super) fn new(instance: &str, directory: Segment, describe: Describe) -> Self {
        Self { instance: instance.to_owned(), directory, describe, zones: HashMap::new() }
    }

    /// What the directory says of the instance.
    pub(super) fn instance(&self) -> Option<InstanceEntry> {
        Directory::new(&self.directory).instance()
    }

    /// Tells the desk what waits in which match.
    pub(super) fn look(&mut self, world: &World, desk: &mut Desk, page: &WorkerPage<'_>) {
        let live: HashMap<usize, ZoneEntry> =
            Directory::new(&self.directory).zones().filter(|(_, entry)| entry.lives()).collect();
        self.zones.retain(|slot, seen| {
            let stays = live.get(slot).is_some_and(|entry| entry.incarnation == seen.match_id);
            if !stays {
                desk.clear(seen.match_id, page);
            }
            stays
        });
        for (slot, entry) in live {
            let seen = self.zones.entry(slot);
            let seen = match seen {
                std::collections::hash_map::Entry::Occupied(seen) => seen.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    // A match of another build is refused by its sim, which says so.
                    let Ok(is) = (self.describe)(entry.capacity, entry.spectators) else { continue };
                    if is.tables_hash != entry.tables_hash {
                        continue;
                    }
                    place.insert(Seen {
                        match_id: entry.incarnation,
                        sequence: 0,
                        outbox: is.engine.outbox,
                        mirror: None,
                        left_over: false,
                    })
                }
            };
            seen.look(&self.instance, world, slot, &entry, desk, page);
        }
    }
}

impl Seen {
    fn look(&mut self, instance: &str, world: &World, slot: usize, entry: &ZoneEntry, desk: &mut Desk, page: &WorkerPage<'_>) {
        let sequence = world.published(slot).sequence;
        if std::mem::replace(&mut self.sequence, sequence) == sequence && !self.left_over {
            return;
        }
        let Ok(root) = world.newest(slot) else { return };
        if root.head.incarnation != entry.incarnation || (root.head.asks == 0 && self.mirror.is_none()) {
            return;
        }
        let outbox = self.outbox;
        let mirror = self.mirror.get_or_insert_with(|| Mirror::of_pages(slot, outbox.pages()));
        match mirror.refresh(world) {
            Ok(_) if self.left_over => {}
            Ok(Refreshed::Same) => return,
            Ok(_) if mirror.changes().is_empty() => return,
            Ok(_) => {}
            Err(_) => {
                page.add(count::MIRROR_ERRORS, 1);
                // Looked at again at the next turn.
                self.sequence = 0;
                return;
            }
        }
        let Some(head) = mirror.head().filter(|head| head.incarnation == entry.incarnation) else { return };
        let (idle, name) = (head.asks == 0, unpadded(&entry.name));
        let waiting = outbox.read(mirror).into_iter().filter_map(|ask| waiting(instance, &name, entry.incarnation, ask));
        self.left_over = !desk.follow(entry.incarnation, waiting.collect(), page);
        if idle {
            self.mirror = None;
        }
    }
}

fn waiting(instance: &str, match_name: &str, match_id: u64, ask: Ask) -> Option<Waiting> {
    let Ask { number, kind, session, topic, name, body } = ask;
    let is_result = match kind {
        AskKind::Question => false,
        AskKind::Result => true,
        // It was asked when there was no hook, and fails at the next tick.
        AskKind::Unheard => return None,
    };
    let session = Some(session).filter(|session| *session != 0);
    let instance = instance.to_owned();
    let question = Question { instance, match_name: match_name.to_owned(), match_id, id: number, topic, session, name, body };
    Some(Waiting { question, is_result })
}
