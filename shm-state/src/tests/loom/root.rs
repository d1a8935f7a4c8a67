//! A descriptor in the ring of roots that is written again while a reader copies the root that it held.

use std::sync::Arc;

use super::memory::{Broken, Modelled};
use super::{fails, holds};
use crate::layout::{RootHead, world as at};
use crate::limits::{MAX_TABLES, ROOT_RING};
use crate::memory::Fence;
use crate::world::{PageHandle, Published, Root, RootError, World};
use zerocopy::FromZeros;

const OLD: u64 = 1;
const DAMAGED: &str = "a root that is in the ring is whole";

fn write(world: &World<Modelled>, sequence: u64) {
    let head = RootHead { sequence, net_cursor: sequence, ..RootHead::new_zeroed() };
    world.write_root(0, &mut Root { head, tables: [PageHandle::NONE; MAX_TABLES] });
}

/// The owner publishes the root before the one that takes the old root's descriptor, or does not, and then writes that.
fn model(broken: Broken, skip: bool) -> impl Fn() + Send + Sync {
    move || {
        let descriptor = at::CONTROLS + at::ROOTS + OLD as usize * at::ROOT_STRIDE;
        let words = [
            at::CONTROLS + at::PUBLISHED,
            descriptor + std::mem::offset_of!(RootHead, sequence),
            descriptor + std::mem::offset_of!(RootHead, net_cursor),
            descriptor + std::mem::offset_of!(RootHead, checksum),
        ];
        let world = Arc::new(World::over(Modelled::new(at::bytes(1), &words, broken), 1));
        write(&world, OLD);
        let now = Published { epoch: 1, sequence: OLD + ROOT_RING - 2 };
        world.publish(0, world.published(0), now).expect("nobody else publishes");
        let owner = loom::thread::spawn({
            let world = Arc::clone(&world);
            move || {
                if !skip {
                    world.publish(0, now, Published { sequence: now.sequence + 1, ..now }).expect("nobody else publishes");
                }
                write(&world, OLD + ROOT_RING);
            }
        });
        match world.root(0, OLD) {
            Ok(root) => assert_eq!((root.head.sequence, root.head.net_cursor), (OLD, OLD), "{DAMAGED}"),
            Err(error) => assert!(matches!(error, RootError::Gone { .. }), "{DAMAGED}: {error}"),
        }
        owner.join().expect("the owner ends");
    }
}

#[test]
fn a_root_is_read_whole_or_has_left() {
    holds("root", model(Broken::Nothing, false));
    fails("without the owner's fence", DAMAGED, model(Broken::Fence(Fence::PageReuse), false));
    fails("without the reader's fence", DAMAGED, model(Broken::Fence(Fence::RootCheck), false));
    fails("written one root too early", DAMAGED, model(Broken::Nothing, true));
}
