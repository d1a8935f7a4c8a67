//! What the player sees of the match, as characters: the field around us, and lines about the match, ourselves and the connection.

use ringfort::client::{Net, Status, View};
use ringfort::prelude::*;
use ringfort::skirmish::Skirmish;

use crate::screen::{HEIGHT, Screen, WIDTH};

/// Rows of the field; the others are lines of text.
const FIELD: i32 = HEIGHT as i32 - 5;
/// Metres that a character is wide. It is twice as high as wide.
const METRES: f32 = 1.0;
/// Half the width of the arena.
const ARENA: f32 = 1000.0;
/// Frames that a shot is seen.
const SHOT_FRAMES: u32 = 6;
/// Metres of a shot that are drawn.
const SHOT_LENGTH: i32 = 10;
/// Shots that are drawn at the same time.
const SHOTS_MAX: usize = 64;

/// What is shown beside the world.
pub struct Scene {
    /// The last news.
    pub news: String,
    /// How the stay goes.
    pub banner: String,
    /// The middle of the picture: where we are, or were.
    pub centre: Vec2,
    shots: Vec<(Vec2, f32, u32)>,
}

impl Scene {
    /// Nothing has happened yet.
    pub fn new() -> Scene {
        Scene { news: String::new(), banner: "connecting".to_owned(), centre: Vec2::ZERO, shots: Vec::new() }
    }

    /// A shot is seen for some frames.
    pub fn shot(&mut self, from: Vec2, aim: f32) {
        if self.shots.len() < SHOTS_MAX {
            self.shots.push((from, aim, SHOT_FRAMES));
        }
    }

    /// A step of the stay, in a few words.
    pub fn step(&mut self, status: &Status) {
        self.banner = match status {
            Status::Connecting => "connecting".to_owned(),
            Status::Joined { match_name, hz, .. } => format!("{match_name}, {hz} ticks a second"),
            Status::Live => return,
            Status::Resuming { attempt } => format!("reconnecting, attempt {attempt}"),
            Status::Resumed { lost, .. } => format!("back, {lost} ticks lost"),
            Status::Stalled(silence) => format!("nothing heard for {:.1} s", silence.as_secs_f32()),
            Status::Refused { reason, .. } => format!("refused: {reason}"),
            Status::Rejected { .. } => "the game failed on what you did: it does not count".to_owned(),
            Status::MatchOver => "the match is over".to_owned(),
            Status::Ended(why) => why.to_string(),
        };
    }

    /// Draws everything.
    pub fn draw(&mut self, view: View<'_, Skirmish>, me: SessionId, net: &Net) -> Screen {
        let mut screen = Screen::blank();
        let own = view.owned(me);
        if let Some(body) = own.and_then(|own| view.get(own, |s| &s.body)) {
            self.centre = body.pos;
        }
        self.field(&mut screen);
        for (entity, body) in view.each(|s| &s.body).filter(|(entity, _)| Some(*entity) != own) {
            let (column, row) = self.place(body.pos);
            screen.put(column, row, arrow(body.aim));
            let name = view.latest().name.get(entity).unwrap_or("?");
            screen.text(column + 1, row, &name.chars().take(8).collect::<String>());
        }
        if let Some(body) = own.and_then(|own| view.get(own, |s| &s.body)) {
            let (column, row) = self.place(body.pos);
            let (ahead, up) = self.place(body.pos + Vec2::from_angle(body.aim) * 2.5);
            screen.put(ahead, up, arrow(body.aim));
            screen.put(column, row, '@');
        }
        self.lines(&mut screen, view, own, net);
        screen
    }

    /// Ground, walls and shots.
    fn field(&mut self, screen: &mut Screen) {
        for row in 1..=FIELD {
            for column in 0..WIDTH as i32 {
                let at = self.metres(column, row);
                let far = at.x.abs().max(at.y.abs()) > ARENA;
                // A point every eight metres: the ground, so that walking is seen.
                let point = at.x.rem_euclid(8.0) < METRES && at.y.rem_euclid(8.0) < METRES * 2.0;
                let ground = if point { '.' } else { ' ' };
                screen.put(column, row, if far { '#' } else { ground });
            }
        }
        for (from, aim, frames) in &mut self.shots {
            let half = Vec2::from_angle(*aim);
            for metre in 2..SHOT_LENGTH {
                let (column, row) = place(self.centre, *from + half * metre as f32);
                if (1..=FIELD).contains(&row) {
                    screen.put(column, row, '*');
                }
            }
            *frames -= 1;
        }
        self.shots.retain(|(_, _, frames)| *frames > 0);
    }

    fn lines(&self, screen: &mut Screen, view: View<'_, Skirmish>, own: Option<Entity>, net: &Net) {
        let world = view.latest();
        let players = world.score.iter().count();
        screen.text(0, 0, &format!("{}   tick {}   {players} players   {}", self.banner, view.tick(), self.news));
        let health = own.and_then(|own| view.get(own, |s| &s.hp)).map_or("dead".to_owned(), |health| format!("{} hp", health.hp));
        let ammo = own.and_then(|own| view.get(own, |s| &s.gun)).map_or(0, |gun| gun.ammo);
        let score = own.and_then(|own| world.score.get(own).copied()).unwrap_or_default();
        let at = self.centre;
        screen.text(
            0,
            FIELD + 1,
            &format!("{health}  {ammo} rounds  {} kills  {} deaths  at {:.1} {:.1}", score.kills, score.deaths, at.x, at.y),
        );
        let ms = |time: std::time::Duration| time.as_secs_f32() * 1e3;
        let rtt = net.rtt.map_or("-".to_owned(), |rtt| format!("{:.0}", ms(rtt)));
        let late = if net.input_margin < 0.1 { "  INPUTS LATE" } else { "" };
        screen.text(
            0,
            FIELD + 2,
            &format!(
                "rtt {rtt} ms  loss {:.1} %  jitter {:.0} ms  others {:.0} ms ago  inputs {:.2} ticks early{late}",
                net.loss * 100.0,
                ms(net.jitter),
                ms(net.delay),
                net.input_margin,
            ),
        );
        screen.text(
            0,
            FIELD + 3,
            &format!("{} inputs on their way  {} corrections  {} repeated", net.unacknowledged, net.corrections, net.repeated),
        );
        screen.text(0, FIELD + 4, "wasd walk, x stands, j l turn, space shoots, b the bot plays, k dies, q quits");
    }

    fn place(&self, at: Vec2) -> (i32, i32) {
        place(self.centre, at)
    }

    fn metres(&self, column: i32, row: i32) -> Vec2 {
        let (right, down) = (column - WIDTH as i32 / 2, row - FIELD / 2 - 1);
        self.centre + Vec2::new(right as f32 * METRES, -down as f32 * METRES * 2.0)
    }
}

/// Column and row of a place, with `centre` in the middle of the field.
fn place(centre: Vec2, at: Vec2) -> (i32, i32) {
    let from = at - centre;
    let (column, row) = ((from.x / METRES).round() as i32, (-from.y / METRES / 2.0).round() as i32);
    // Beyond the field: nowhere, not among the lines.
    let inside = row.abs() <= FIELD / 2;
    (column + WIDTH as i32 / 2, if inside { row + FIELD / 2 + 1 } else { -1 })
}

/// The character that points there.
fn arrow(aim: f32) -> char {
    let eighth = (aim / std::f32::consts::FRAC_PI_4).round() as i32;
    ['>', '/', '^', '\\', '<', '/', 'v', '\\'][eighth.rem_euclid(8) as usize]
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use ringfort::client::{Playing, Settings};

    use super::*;

    #[test]
    fn a_picture_has_the_ground_a_shot_and_the_lines() {
        let playing = Playing::<Skirmish>::new(Instant::now(), Settings::new()).expect("a sound game");
        let net = playing.net(&ringfort_client::Net::default());
        let mut scene = Scene::new();
        scene.shot(Vec2::ZERO, 0.0);
        let picture = |scene: &mut Scene| scene.draw(playing.view(), SessionId::NOBODY, &net).to_string();
        let first = picture(&mut scene);
        let lines: Vec<&str> = first.lines().collect();
        assert_eq!(lines.len(), HEIGHT);
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[0].starts_with("connecting") && lines[HEIGHT - 1].ends_with("q quits"), "{first}");
        assert!(first.contains("********") && first.contains("dead") && first.contains('.'), "{first}");
        for _ in 0..SHOT_FRAMES {
            picture(&mut scene);
        }
        assert!(!picture(&mut scene).contains('*'), "a shot fades");
        scene.centre = Vec2::new(ARENA, 0.0);
        assert!(picture(&mut scene).contains('#'), "the wall is seen");
    }
}
