//! `docs/shm-layout.md`: how to decode a world by hand, then every offset and every struct.

use std::fmt::Write;

use crate::layout::{HEADER_BYTES, InboxControl, RootHead, STRUCTS, world};
use crate::layout_hash::OFFSETS;
use crate::limits::*;

/// The document.
pub fn document() -> String {
    let mut text = by_hand();
    text += "\n## Offsets\n\n| segment | what | offset or bytes |\n|---|---|---|\n";
    for (segment, what, offset) in OFFSETS {
        let _ = writeln!(text, "| `{segment}` | {what} | {offset} |");
    }
    for (what, number) in [
        ("page bytes", PAGE_BYTES),
        ("handles in a page", PAGE_WORDS),
        ("extent bytes", EXTENT_BYTES),
        ("page index bits of a handle", PAGE_INDEX_BITS as usize),
        ("sequence bits of the published word", SEQUENCE_BITS as usize),
        ("roots in a ring", ROOT_RING as usize),
        ("roots in the window", WINDOW as usize),
        ("handles in a root", MAX_TABLES),
        ("zone slots", MAX_ZONES),
    ] {
        let _ = writeln!(text, "| any | {what} | {number} |");
    }
    for s in STRUCTS {
        let _ = writeln!(
            text,
            "\n## {} ({} bytes)\n\n{}\n\n| field | type | offset | bytes | meaning |\n|---|---|---|---|---|",
            s.name,
            s.bytes,
            s.doc.trim()
        );
        for f in s.fields {
            let kind: String = f.kind.split_whitespace().collect();
            let _ = writeln!(text, "| `{}` | `{kind}` | {} | {} | {} |", f.name, f.offset, f.bytes, f.doc.trim());
        }
    }
    text
}

/// The way from a file to a row, with a picture of each step.
fn by_hand() -> String {
    let head = size_of::<RootHead>();
    let (stride, roots, owners) = (world::CONTROL_STRIDE, world::ROOTS, world::OWNERS);
    let (root_stride, controls) = (world::ROOT_STRIDE, world::CONTROLS);
    format!(
        r"# The layout of shared memory

Generated from `shm-state/src/layout.rs` by `cargo run -p ringfort-shm-state --example layout > docs/shm-layout.md`; a test compares the two, and another
decodes a world with nothing but the numbers of this page. Integers are little-endian, offsets and sizes are in bytes. What an operator needs daily is in
`ringfort status`, `matches` and `fsck`; this page is for the day when those do not answer.

## A world by hand

**The file** is `/dev/shm/ringfort.INSTANCE.world`. Every segment begins with a [`Header`](#header-{header_link}-bytes) page.

```text
world      0 ┌──────────────────────────┐
             │ Header                   │
{controls:>12} ├──────────────────────────┤
             │ control block, slot 0    │  {stride} bytes each, {MAX_ZONES} of them
             │ control block, slot 1    │
             │ ..                       │
{owners:>12} ├──────────────────────────┤
             │ owner words              │  8 bytes an extent: {{incarnation 48, zone slot + 1 16}}, 0 free
   see below ├──────────────────────────┤
             │ arena: pages             │  {PAGE_BYTES} bytes each, {EXTENT_PAGES} to an extent
             └──────────────────────────┘
```

The header's `parameter` is the number of extents E. The arena begins at the owner words + 8 x E, rounded up to a multiple of {EXTENT_BYTES}.

**The zone**: find the match in the directory's zone table (`/dev/shm/ringfort.INSTANCE.directory`); its place there is the zone slot. A published cell
is a version word, 56 bytes of nothing, and two copies of its struct; the version's lowest bit says which copy is the newest, version 0 that there is none.

```text
cell       0 ┌──────────────┐    64 ┌──────────────┐  64 + size ┌──────────────┐
             │ version V    │       │ copy, V even │            │ copy, V odd  │
             └──────────────┘       └──────────────┘            └──────────────┘
```

**The newest root**: the first word of the zone's control block.

```text
published word   63        48 47                                   0
                ┌────────────┬─────────────────────────────────────┐
                │ epoch      │ sequence S of the newest root       │
                └────────────┴─────────────────────────────────────┘
control block  0 ┌──────────────────┐
                 │ published word   │
              64 ├──────────────────┤
                 │ attempt cell     │
{roots:>16} ├──────────────────┤
                 │ ring of roots    │  {ROOT_RING} of {root_stride} bytes; root S is number S mod {ROOT_RING}
                 └──────────────────┘
root           0 ┌──────────────────┐
                 │ RootHead         │
{head:>16} ├──────────────────┤
                 │ handles          │  `tables` of them, 8 bytes each
                 └──────────────────┘
```

The last {WINDOW} roots, S - {last} to S, are whole as long as the world stands still. Older ones in the ring name pages that have been used again.

**A page**: a handle names a page of the arena and the sequence of the root in which it was written; 0 is no page, which reads as zeros.

```text
handle       63                          24 23               0
            ┌──────────────────────────────┬──────────────────┐
            │ birth: sequence of a root    │ page index I     │   at arena + I x {PAGE_BYTES}
            └──────────────────────────────┴──────────────────┘
logical      root ──> table page ──> page           up to {small} logical pages
page L            L / {PAGE_WORDS}      L mod {PAGE_WORDS}
             root ──> directory page ──> table page ──> page      beyond that
                  L / {square}    L / {PAGE_WORDS} mod {PAGE_WORDS}   L mod {PAGE_WORDS}
```

Table and directory pages are {PAGE_WORDS} handles. A root has the handles of table pages if `logical_pages` is at most {small}, else of directory pages.

**A row**: a zone's tables lie behind each other in its logical pages, each beginning with a page of its own. The engine's are, in this order: `ZoneMeta` (1 row), `EntityRow`
(`max_entities` rows), `SessionRow` (a row for each player and spectator), `SessionInput`, `SessionVerdict` and `SessionRejected` (`capacity` rows each), `EventRow` twice (the log and the cues, as many rows
as the engine thinks right for the capacity), those of the outbox, `ZoneLife`, `RefusalRow` and `KickedRow`; then the bytes of the players' inputs (`capacity` rows, each two places as long as the game's input, rounded up to four bytes:
the input applied last, and the one that waits). The game's columns, globals, seats and timers follow in the order of its state; the map in the directory has
names, sizes and fields of all of them (`places`, `schema`, `unlisted`), and the bytes of an input's row (`input_row_bytes`). A page holds as many rows N of B bytes as fit behind one presence bit for each:

```text
page       0 ┌───────────────────────────────┐
             │ presence bits, lowest first   │  N bits, rounded up to a multiple of 16 bytes
             ├───────────────────────────────┤
             │ row 0 │ row 1 │ .. │ row N-1  │  B bytes each; an absent row is zeros
             └───────────────────────────────┘
```

Row R of a table is row R mod N of its page R / N.

**An inbox** (`ringfort.INSTANCE.inbox.net`): the zone's entry in the directory says where its ring lies. Records follow each other from the root's `net_cursor` to the `tail` word of the
zone's control block; both count bytes since the slot's first use, and a cursor lies at its remainder by the ring's bytes.

```text
control    0 ┌──────────────────┐  {mutex} ┌───────────┐   {tail} ┌─────────┐
block        │ pthread mutex    │     │ counters  │       │ tail    │
             └──────────────────┘     └───────────┘       └─────────┘
ring         │ .. │ RecordHeader │ payload, padded to 8 │ RecordHeader │ .. │
                  ^ net_cursor                                            ^ tail
```

A record of kind 6 without payload fills the rest of the ring: the next begins at the ring's start.
",
        header_link = size_of::<crate::layout::Header>(),
        last = WINDOW - 1,
        small = MAX_TABLES * PAGE_WORDS,
        square = PAGE_WORDS * PAGE_WORDS,
        mutex = InboxControl::OPERATION_OFFSET,
        tail = InboxControl::TAIL_OFFSET,
    )
}

const _: () = assert!(HEADER_BYTES == world::CONTROLS, "the picture has nothing between the two");
