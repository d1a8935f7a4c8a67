//! What `top` shows and what its keys do: state, without a terminal and without shared memory.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::list::List;
use super::map_view::MapView;
use super::order::{self, ENTITY_SORTS, MATCH_COLUMNS, PROCESS_COLUMNS, SESSION_COLUMNS};
use super::seen::Seen;
use crate::limits::TOP_FILTER_CHARS_MAX;

/// All that is shown.
#[derive(Debug)]
pub struct App {
    /// Name of the instance.
    pub instance: String,
    /// Whether colours may be used.
    pub colours: bool,
    /// The newest look.
    pub seen: Option<Seen>,
    /// Why the newest look failed; what the one before saw is still shown.
    pub trouble: Option<String>,
    /// Whether it looks no more for now.
    pub paused: bool,
    /// Whether the keys are explained.
    pub help: bool,
    /// The filter that is being typed, and what stood there before.
    pub typing: Option<(String, String)>,
    /// What is shown, what was shown before it below.
    pub views: Vec<View>,
    /// Whether the overview's keys move in the processes.
    pub in_processes: bool,
    /// Which part of a match the keys move in.
    pub part: Part,
    /// The list of processes.
    pub processes: List,
    /// The list of matches.
    pub matches: List,
    /// The list of a process's counters.
    pub counters: List,
    /// The list of a match's entities.
    pub entities: List,
    /// The list of its sessions.
    pub sessions: List,
    /// The list of its events.
    pub events: List,
    /// The list of its globals, or of an entity's fields.
    pub fields: List,
    /// What of the map is shown.
    pub map: MapView,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// The instance: processes and matches.
    Overview,
    /// A process: by what it is for, and its slot.
    Process(&'static str, u32),
    /// A match, by its id.
    Match(u64),
    /// The map of a match.
    Map(u64),
    /// An entity of a match: index and generation.
    Entity(u64, u32, u32),
    /// A session of a match.
    Session(u64, u64),
}

/// A part of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Its entities.
    Entities,
    /// Its sessions.
    Sessions,
    /// Its events.
    Events,
    /// Its globals.
    Globals,
}

impl Part {
    /// All of them, in the order of the tab key.
    pub const ALL: [Self; 4] = [Self::Entities, Self::Sessions, Self::Events, Self::Globals];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entities => "entities",
            Self::Sessions => "sessions",
            Self::Events => "events",
            Self::Globals => "globals",
        }
    }

    fn next(self, back: bool) -> Self {
        let at = Self::ALL.iter().position(|part| *part == self).unwrap_or(0);
        Self::ALL[(at + if back { Self::ALL.len() - 1 } else { 1 }) % Self::ALL.len()]
    }
}

/// What is to be read for what is shown.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    /// The match that was drilled into.
    pub of: Option<u64>,
    /// Its list of entities: filter, sort, direction, and which is chosen.
    pub entities: Option<List>,
    /// Whether its map is shown.
    pub map: bool,
    /// An entity of it: index and generation.
    pub entity: Option<(u32, u32)>,
}

/// What a key asks of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// To go on.
    Nothing,
    /// To end.
    Quit,
    /// To give the terminal back until it is continued.
    Suspend,
    /// To look right now.
    Look,
}

impl App {
    /// Nothing seen yet.
    pub fn new(instance: &str, colours: bool) -> Self {
        Self {
            instance: instance.to_owned(),
            colours,
            seen: None,
            trouble: None,
            paused: false,
            help: false,
            typing: None,
            views: vec![View::Overview],
            in_processes: false,
            part: Part::Entities,
            processes: List::default(),
            matches: List::default(),
            counters: List::default(),
            entities: List::default(),
            sessions: List::default(),
            events: List::default(),
            fields: List::default(),
            map: MapView::default(),
        }
    }

    /// What is shown.
    pub fn view(&self) -> View {
        self.views.last().copied().unwrap_or(View::Overview)
    }

    /// What is to be read for it.
    pub fn wanted(&self) -> Wanted {
        let (of, entity) = match self.view() {
            View::Overview | View::Process(..) => (None, None),
            View::Match(of) | View::Map(of) | View::Session(of, _) => (Some(of), None),
            View::Entity(of, index, generation) => (Some(of), Some((index, generation))),
        };
        let lists = matches!(self.view(), View::Map(_)) || (matches!(self.view(), View::Match(_)) && self.part == Part::Entities);
        Wanted { of, entities: lists.then(|| self.entities.clone()), map: matches!(self.view(), View::Map(_)), entity }
    }

    /// Takes a look, or why there is none.
    pub fn saw(&mut self, seen: Result<Seen, String>) {
        match seen {
            Ok(seen) => (self.seen, self.trouble) = (Some(seen), None),
            Err(why) => self.trouble = Some(why),
        }
        self.settle();
    }

    /// Everything that is chosen is where it is now.
    fn settle(&mut self) {
        for which in Which::ALL {
            let keys = self.keys_of(which);
            self.list_of(which).settle(&keys);
        }
    }

    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Asked {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Asked::Quit,
            KeyCode::Char('z') if control => return Asked::Suspend,
            KeyCode::Char('l') if control => return Asked::Look,
            _ if control => return Asked::Nothing,
            _ if self.typing.is_some() => self.type_filter(key.code),
            _ if self.help => self.help = false,
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Char('?') | KeyCode::F(1) => self.help = true,
            KeyCode::Char(' ') => {
                self.paused = !self.paused;
                return if self.paused { Asked::Nothing } else { Asked::Look };
            }
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            KeyCode::Enter => self.drill_in(),
            _ if matches!(self.view(), View::Map(_)) && self.map.key(key.code) => {}
            code => self.move_in_list(code),
        }
        self.settle();
        Asked::Nothing
    }

    fn move_in_list(&mut self, code: KeyCode) {
        let Some(which) = self.which() else { return self.jump(code) };
        let keys = self.keys_of(which);
        let list = self.list_of(which);
        match code {
            KeyCode::Up | KeyCode::Char('k') => list.step(-1, &keys),
            KeyCode::Down | KeyCode::Char('j') => list.step(1, &keys),
            KeyCode::PageUp => list.step(-10, &keys),
            KeyCode::PageDown => list.step(10, &keys),
            KeyCode::Home | KeyCode::Char('g') => list.choose_first(),
            KeyCode::End | KeyCode::Char('G') => list.step(isize::MAX, &keys),
            KeyCode::Char('s' | '>') => list.next_sort(which.sorts(), false),
            KeyCode::Char('<') => list.next_sort(which.sorts(), true),
            KeyCode::Char('r') => list.reverse(),
            KeyCode::Char('n') if matches!(which, Which::Entities) => list.step(1, &keys),
            KeyCode::Char('N') if matches!(which, Which::Entities) => list.step(-1, &keys),
            KeyCode::Char('/') => {
                let before = list.filter.clone();
                self.typing = Some((before.clone(), before));
            }
            code => self.jump(code),
        }
    }

    fn jump(&mut self, code: KeyCode) {
        match (code, self.view()) {
            (KeyCode::Tab | KeyCode::BackTab, View::Overview) => self.in_processes = !self.in_processes,
            (KeyCode::Tab, View::Match(_)) => self.part = self.part.next(false),
            (KeyCode::BackTab, View::Match(_)) => self.part = self.part.next(true),
            (KeyCode::Char('m'), View::Match(of) | View::Entity(of, ..) | View::Session(of, _)) => self.views.push(View::Map(of)),
            (KeyCode::Char('m'), View::Map(_)) => self.back(),
            (KeyCode::Char('m'), View::Overview) => {
                if let Some(of) = self.matches.chosen(&self.keys_of(Which::Matches)) {
                    self.enter_match(of);
                    self.views.push(View::Map(of));
                }
            }
            _ => {}
        }
    }

    fn back(&mut self) {
        if self.views.len() > 1 {
            self.views.pop();
        } else {
            let which = if self.in_processes { Which::Processes } else { Which::Matches };
            self.list_of(which).set_filter(String::new());
        }
    }

    fn drill_in(&mut self) {
        let Some(which) = self.which() else { return };
        let Some(key) = self.list(which).chosen(&self.keys_of(which)) else { return };
        match (which, self.view()) {
            (Which::Processes, _) => {
                let found = self.seen.as_ref().and_then(|seen| seen.status.processes.get(key as usize));
                if let Some(process) = found {
                    let (role, slot) = (process.role, process.slot);
                    self.counters = List::default();
                    self.views.push(View::Process(role, slot));
                }
            }
            (Which::Matches, _) => self.enter_match(key),
            (Which::Entities, View::Match(of) | View::Map(of)) => {
                self.fields = List::default();
                self.views.push(View::Entity(of, key as u32, (key >> 32) as u32));
            }
            (Which::Sessions, View::Match(of)) => self.views.push(View::Session(of, key)),
            _ => {}
        }
    }

    fn enter_match(&mut self, of: u64) {
        for list in [&mut self.entities, &mut self.sessions, &mut self.events, &mut self.fields] {
            *list = List::default();
        }
        (self.part, self.map) = (Part::Entities, MapView::default());
        self.views.push(View::Match(of));
    }

    fn type_filter(&mut self, code: KeyCode) {
        let Some(which) = self.which() else {
            self.typing = None;
            return;
        };
        let Some((text, before)) = &mut self.typing else { return };
        match code {
            KeyCode::Char(letter) if text.chars().count() < TOP_FILTER_CHARS_MAX => text.push(letter),
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Enter => {
                let text = std::mem::take(text);
                self.typing = None;
                self.list_of(which).set_filter(text);
                return;
            }
            KeyCode::Esc => {
                let before = std::mem::take(before);
                self.typing = None;
                self.list_of(which).set_filter(before);
                return;
            }
            _ => return,
        }
        // A list of names is narrowed while one types; a condition on entities is not understood before it is whole.
        if which != Which::Entities {
            let text = text.clone();
            self.list_of(which).set_filter(text);
        }
    }

    /// The list that the keys move in; none where all keys have other meanings.
    pub fn which(&self) -> Option<Which> {
        Some(match self.view() {
            View::Overview if self.in_processes => Which::Processes,
            View::Overview => Which::Matches,
            View::Process(..) => Which::Counters,
            View::Match(_) => match self.part {
                Part::Entities => Which::Entities,
                Part::Sessions => Which::Sessions,
                Part::Events => Which::Events,
                Part::Globals => Which::Fields,
            },
            View::Map(_) => Which::Entities,
            View::Entity(..) => Which::Fields,
            View::Session(..) => return None,
        })
    }

    /// A list's state.
    pub fn list(&self, which: Which) -> &List {
        match which {
            Which::Processes => &self.processes,
            Which::Matches => &self.matches,
            Which::Counters => &self.counters,
            Which::Entities => &self.entities,
            Which::Sessions => &self.sessions,
            Which::Events => &self.events,
            Which::Fields => &self.fields,
        }
    }

    fn list_of(&mut self, which: Which) -> &mut List {
        match which {
            Which::Processes => &mut self.processes,
            Which::Matches => &mut self.matches,
            Which::Counters => &mut self.counters,
            Which::Entities => &mut self.entities,
            Which::Sessions => &mut self.sessions,
            Which::Events => &mut self.events,
            Which::Fields => &mut self.fields,
        }
    }

    /// The keys of a list's rows, in the order in which they are shown.
    pub fn keys_of(&self, which: Which) -> Vec<u64> {
        let Some(seen) = &self.seen else { return Vec::new() };
        let numbers = |places: Vec<usize>| places.into_iter().map(|place| place as u64).collect();
        let one = seen.one.as_ref().and_then(|one| one.as_ref().ok());
        match which {
            Which::Processes => numbers(order::processes(seen, &self.processes)),
            Which::Matches => {
                order::matches(seen, &self.matches).into_iter().map(|place| seen.status.matches[place].id).collect()
            }
            Which::Counters => match self.view() {
                View::Process(role, slot) => numbers(order::counters(seen, role, slot, &self.counters)),
                _ => Vec::new(),
            },
            Which::Entities => one.map_or(Vec::new(), |one| one.entities.shown.iter().map(super::seen::Dot::key).collect()),
            Which::Sessions => one.map_or(Vec::new(), |one| {
                order::sessions(one, &self.sessions).into_iter().map(|place| one.sessions[place].shown.session).collect()
            }),
            Which::Events => one.map_or(Vec::new(), |one| {
                order::events(one, &self.events).into_iter().map(|place| one.events[place].number).collect()
            }),
            Which::Fields => one.map_or(Vec::new(), |one| {
                let fields = match self.view() {
                    View::Entity(..) => one.entity.as_ref().map_or(0, |entity| entity.fields.len()),
                    _ => one.globals.len(),
                };
                (0..fields as u64).collect()
            }),
        }
    }
}

/// The lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Processes,
    Matches,
    Counters,
    Entities,
    Sessions,
    Events,
    Fields,
}

impl Which {
    const ALL: [Self; 7] =
        [Self::Processes, Self::Matches, Self::Counters, Self::Entities, Self::Sessions, Self::Events, Self::Fields];

    /// Columns that it can be sorted by.
    fn sorts(self) -> usize {
        match self {
            Self::Processes => PROCESS_COLUMNS.len(),
            Self::Matches => MATCH_COLUMNS.len(),
            Self::Counters => 3,
            Self::Entities => ENTITY_SORTS.len(),
            Self::Sessions => SESSION_COLUMNS.len(),
            Self::Events | Self::Fields => 1,
        }
    }
}
