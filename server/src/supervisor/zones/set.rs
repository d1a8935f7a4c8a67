//! A field that an operator gives a value: a record in the match's mailbox, so that it commits with a tick.

use ringfort_shm_state::directory::{Directory, DirectoryWriter};
use ringfort_shm_state::layout::ZoneEntry;
use ringfort_shm_state::segment::unpadded;

use super::{FIRST_MAIL_TICK, Zones};
use crate::limits::SET_BYTES_MAX;
use crate::supervisor::control::SetField;
use crate::supervisor::errors::MatchError;
use crate::supervisor::segments::Segments;

impl Zones {
    /// Puts a value for a field into its match's mailbox. What was answered with this stands in shared memory, and survives a kill.
    pub(in crate::supervisor) fn set(&self, segments: &Segments, set: &SetField) -> Result<u64, MatchError> {
        let name = || set.name.clone();
        // The name, too: it is what the audit log tells.
        let is_meant = |entry: &ZoneEntry| entry.incarnation == set.match_id && unpadded(&entry.name) == set.name;
        let of_id = self.live.iter().find(|(_, zone)| is_meant(&zone.entry) && zone.is_live());
        let (slot, zone) = of_id.ok_or_else(|| MatchError::NoSuchMatch(name()))?;
        let head = zone.newest(*slot, segments).filter(|head| head.tick >= FIRST_MAIL_TICK);
        let head = head.ok_or_else(|| MatchError::NotOpenYet { name: name() })?;
        if set.value.len() > SET_BYTES_MAX {
            return Err(MatchError::ValueTooLong { bytes: set.value.len() });
        }
        let consumed = head.mail_cursor.min(Directory::new(&segments.directory).mail_tail(*slot));
        let posted = DirectoryWriter::new(&segments.directory).post_set(*slot, consumed, set.entity, set.field(), &set.value);
        posted.map_err(|_| MatchError::MailboxFull { name: name() })?;
        Ok(zone.entry.incarnation)
    }
}
