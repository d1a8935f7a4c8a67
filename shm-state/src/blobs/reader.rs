//! Blobs of a mirrored commit, for front-ends and the command line. Nothing that a row says is used before it is checked.

use super::place::Place;
use super::{BlobId, BlobProblem, BlobsAt, is_live};
use crate::layout::{BlobMeta, BlobRow};
use crate::mirror::Mirror;
use zerocopy::IntoBytes;

impl BlobsAt {
    /// A blob's bytes; `None` when it does not live in this commit.
    pub fn get<'m>(&self, mirror: &'m Mirror, id: BlobId) -> Result<Option<&'m [u8]>, BlobProblem> {
        let Some(row) = mirror.get::<BlobRow>(&self.ids, id.index) else { return Ok(None) };
        if !is_live(&row, id) {
            return Ok(None);
        }
        let place = Place::of(id, &row, |page| mirror.get(&self.pages, page))?;
        let page = mirror.page(self.base + place.page).as_bytes();
        let dangling = BlobProblem::Dangling { id, page: place.page, slot: place.slot };
        page.get(place.range()).map(Some).ok_or(dangling)
    }

    /// All blobs of a commit in the order of their indices.
    pub fn iter<'m>(&self, mirror: &'m Mirror) -> impl Iterator<Item = Result<(BlobId, &'m [u8]), BlobProblem>> {
        let at = *self;
        mirror.iter::<BlobRow>(self.ids).filter_map(move |(index, row)| {
            let id = BlobId { index, generation: row.generation };
            at.get(mirror, id).map(|bytes| Some((id, bytes?))).transpose()
        })
    }

    /// Bytes of all blobs, as the commit counts them.
    pub fn bytes_used(&self, mirror: &Mirror) -> u64 {
        mirror.get::<BlobMeta>(&self.meta, 0).map_or(0, |meta| meta.bytes)
    }
}
