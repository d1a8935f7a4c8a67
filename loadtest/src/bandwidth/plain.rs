//! The same snapshot as plain structs through bincode, with its usual settings.

use serde::Serialize;

use super::crowd::Thing;

#[derive(Serialize)]
pub(super) struct Snapshot {
    pub(super) tick: u32,
    pub(super) acked: (u32, u32),
    pub(super) updates: Vec<Update>,
}

/// What is sent of an entity; what has not changed is `None`.
#[derive(Serialize)]
pub(super) struct Update {
    entity: (u32, u32),
    body: Option<Body>,
    health: Option<u8>,
    gun: Option<u8>,
    score: Option<(u16, u16)>,
}

#[derive(Serialize)]
struct Body {
    pos: (f32, f32),
    vel: (f32, f32),
    aim: f32,
}

impl Update {
    pub(super) fn of(index: u32, thing: &Thing, mask: u32) -> Update {
        let Thing { body, health, gun, score, .. } = thing;
        let (pos, vel) = ((body.pos.x, body.pos.y), (body.vel.x, body.vel.y));
        Update {
            entity: (index, 1),
            body: (mask & 1 != 0).then_some(Body { pos, vel, aim: body.aim }),
            health: (mask & 2 != 0).then_some(health.hp),
            gun: (mask & 4 != 0).then_some(gun.ammo),
            score: (mask & 8 != 0).then_some((score.kills, score.deaths)),
        }
    }
}

impl Snapshot {
    pub(super) fn bytes(&self) -> u64 {
        bincode::serialized_size(self).expect("plain structs can be encoded")
    }
}
