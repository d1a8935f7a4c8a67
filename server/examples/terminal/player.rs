//! Who plays: keys, or a bot that walks to the nearest and shoots.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, poll, read};
use std::time::Duration;

use ringfort::client::View;
use ringfort::prelude::*;
use ringfort::skirmish::{Body, Cmd, Skirmish};

/// Radians that a key turns the aim.
const TURN: f32 = 0.2;
/// The bot keeps so far away from whom it shoots at.
const DISTANCE: f32 = 6.0;
/// The bot presses the trigger at every so-many-th input: an input that holds it further is no new shot.
const TRIGGER_EVERY: u32 = 3;

/// What the player wants.
pub struct Player {
    /// Whether the bot plays.
    pub bot: bool,
    /// Whether the player has asked to leave.
    pub quit: bool,
    /// Whether the player has asked to die.
    pub die: bool,
    walk: Vec2,
    aim: f32,
    fire: bool,
    inputs: u32,
}

impl Player {
    /// Stands and looks east.
    pub fn new(bot: bool) -> Player {
        Player { bot, quit: false, die: false, walk: Vec2::ZERO, aim: 0.0, fire: false, inputs: 0 }
    }

    /// Takes the keys that were pressed. A terminal does not tell when a key is let go, so a direction holds until the next.
    pub fn keys(&mut self) -> std::io::Result<()> {
        while poll(Duration::ZERO)? {
            let Event::Key(key) = read()? else { continue };
            self.key(key);
        }
        Ok(())
    }

    fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        match key.code {
            // In raw mode the terminal makes no signal of it.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => self.quit = true,
            KeyCode::Char('w') | KeyCode::Up => self.go(0.0, 1.0),
            KeyCode::Char('s') | KeyCode::Down => self.go(0.0, -1.0),
            KeyCode::Char('a') | KeyCode::Left => self.go(-1.0, 0.0),
            KeyCode::Char('d') | KeyCode::Right => self.go(1.0, 0.0),
            KeyCode::Char('x') => self.walk = Vec2::ZERO,
            KeyCode::Char('j') => self.aim += TURN,
            KeyCode::Char('l') => self.aim -= TURN,
            KeyCode::Char(' ') => self.fire = true,
            KeyCode::Char('b') => self.bot = !self.bot,
            KeyCode::Char('k') => self.die = true,
            KeyCode::Char('q') | KeyCode::Esc => self.quit = true,
            _ => {}
        }
    }

    /// The next input; `sight` is what the bot has looked at.
    pub fn input(&mut self, sight: Option<Sight>) -> Cmd {
        self.inputs += 1;
        if let Some(sight) = sight.filter(|_| self.bot) {
            self.play(sight);
        }
        Cmd { wish: self.walk, aim: self.aim, fire: Press::down(std::mem::take(&mut self.fire)) }
    }

    fn go(&mut self, x: f32, y: f32) {
        self.walk = Vec2::new(x, y);
        self.aim = y.atan2(x);
    }

    fn play(&mut self, Sight { way, found }: Sight) {
        self.aim = way.y.atan2(way.x);
        self.walk = if found && way.length() < DISTANCE { Vec2::new(-way.y, way.x) } else { way }.clamp_len(1.0);
        self.fire = found && self.inputs.is_multiple_of(TRIGGER_EVERY);
    }
}

/// Where the bot turns to.
#[derive(Clone, Copy)]
pub struct Sight {
    way: Vec2,
    found: bool,
}

/// The nearest other player; if there is none, the middle, where they meet. Nothing while we are dead.
pub fn look(view: View<'_, Skirmish>, own: Option<(Entity, Body)>) -> Option<Sight> {
    let (me, Body { pos, .. }) = own?;
    let others = view.each(|s| &s.body).filter(|(entity, _)| *entity != me);
    let nearest = others.map(|(_, body)| body.pos - pos).min_by(|a, b| a.length().total_cmp(&b.length()));
    Some(Sight { way: nearest.unwrap_or(Vec2::ZERO - pos), found: nearest.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_c_quits_and_c_does_not() {
        let mut player = Player::new(false);
        player.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::NONE));
        assert!(!player.quit);
        player.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(player.quit);
    }
}
