//! Screens of fixed data, as they stand in `screens/`. `RINGFORT_WRITE_SCREENS=1` writes them anew.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use super::app::{App, Asked, View, Wanted};
use super::draw::draw;
use super::seen::{Cost, Counted, Dot, Entities, Inputs, Live, One, OneEntity, Pace, Seat, Seen, Told, Work};
use super::watch::Watcher;
use crate::attach::Attached;
use crate::look::ills::{Signs, findings};
use crate::status::{ArenaStatus, InboxStatus, MatchStatus, ProcessStatus, SessionShown, Status, Times};

fn process(role: &'static str, slot: u32, state: &'static str, heartbeat_age_ms: Option<u64>) -> ProcessStatus {
    ProcessStatus {
        role,
        slot,
        pid: 4100 + slot,
        state,
        restarts: slot,
        rss_bytes: 31 << 20,
        private_bytes: 9 << 20,
        cpu_s: 12.5,
        heartbeat_age_ms,
        log_level: Some("info"),
        shed_level: (role == "frontend").then_some(u64::from(slot)),
        sheds: (role == "frontend" && slot == 1).then(|| "every 2nd snapshot".to_owned()),
    }
}

fn a_match(id: u64, name: &str, state: &'static str, sessions: u32, used_bytes: u64) -> MatchStatus {
    let times = Times { p50: 640 * id, p99: 1_210 * id, max: 9_300 * id };
    MatchStatus {
        id,
        slot: id as usize - 1,
        name: name.to_owned(),
        state,
        paused: (state == "paused").then_some("deaths"),
        alone: false,
        tick: 12_345 + id as u32,
        tick_hz: 60,
        owner_slot: id as u32 % 2,
        epoch: 1,
        label: format!("round {id}"),
        locked: false,
        private: false,
        sessions,
        spectators: 1,
        spectator_capacity: 8,
        capacity: 64,
        entities: 40 * id as u32,
        asks: 0,
        results: 0,
        pages: 120,
        extents_reserved: 30,
        tick_us: times,
        tick_late_us: Times { p50: 60, p99: 300, max: 4_000 },
        inbox: InboxStatus { used_bytes, capacity_bytes: 65_536, refused: 3, repairs: 0 },
    }
}

fn work(counters: &[(&'static str, u64, f64)]) -> Work {
    let counted = |(name, value, per_s): &(&'static str, u64, f64)| Counted { name, value: *value, per_s: Some(*per_s) };
    Work { cpu_percent: Some(12.34), counters: counters.iter().map(counted).collect() }
}

fn seat(session: u64, name: &str, detached_s: Option<u64>, watches: bool) -> Seat {
    let entity = (!watches).then(|| format!("{session}.1"));
    Seat {
        shown: SessionShown { session, name: name.to_owned(), since_tick: 900, since_s: 190, frontend: 1, attachment: 2, entity },
        watches,
        detached_s,
        event_lag: session % 3,
        command: 4,
        inputs: (!watches).then(|| Inputs {
            highest: 4_000 + session as u32,
            missing: 1,
            waits: true,
            repeated: 0,
            rejected: 0,
            last: vec![("wish".into(), "0.5,-1".into()), ("fire".into(), "1".into())],
        }),
    }
}

fn one() -> One {
    let dots: Vec<Dot> = (0..120u32)
        .map(|index| Dot {
            index,
            generation: 1,
            owner: if index == 7 || index == 8 { index.into() } else { 0 },
            at: Some([(index * 37 % 101) as f32 * 4.0 - 200.0, (index * 53 % 89) as f32 * 2.0 - 90.0]),
            lit: index % 10 == 7,
        })
        .collect();
    let rows = dots.iter().map(|dot| {
        let at = dot.at.map_or(String::new(), |at| format!("{},{}", at[0], at[1]));
        vec![at, dot.index.to_string(), "30".to_owned()]
    });
    let told = |number: u64| Told {
        number,
        tick: 12_000 + number as u32,
        to: "all".to_owned(),
        name: "Kill".to_owned(),
        fields: "by 7.1, victim 8.1".to_owned(),
    };
    let field = |name: &str, value: &str, before: Option<(&str, u32)>, changed| Live {
        name: name.to_owned(),
        value: value.to_owned(),
        before: before.map(|(value, tick)| (value.to_owned(), tick)),
        changed,
    };
    One {
        id: 3,
        bars: (0..192u64)
            .map(|bar| (bar * 25, if (30..70).contains(&bar) { 2_000 / (1 + bar.abs_diff(45)) } else { 0 }))
            .collect(),
        sessions: vec![seat(7, "ada", None, false), seat(8, "bob \u{1b}[2J", Some(12), false), seat(9, "cyd", None, true)],
        events: (1..=30).rev().map(told).collect(),
        globals: vec![("game.phase".into(), "0".into()), ("game.goal".into(), "25".into())],
        entities: Entities {
            alive: 120,
            rows: rows.collect(),
            head: vec!["body.pos".into(), "hp.hp".into(), "gun.ammo".into()],
            first: 0,
            shown: dots.clone(),
            dots,
            trouble: None,
        },
        entity: Some(OneEntity {
            name: "7.1".into(),
            owner: "ada".into(),
            alive: true,
            tick: 12_348,
            fields: vec![
                field("body.pos", "12.5,-3", Some(("12,-3", 12_340)), true),
                field("hp.hp", "80", Some(("100", 12_200)), false),
                field("gun.ammo", "30", None, false),
            ],
        }),
        trouble: None,
    }
}

/// An instance with all that can be shown: a dead sim, a front-end that sheds, a match that is paused, one that is slow, one whose ring is full.
fn seen() -> Seen {
    let processes = vec![
        process("supervisor", 0, "running", None),
        process("frontend", 0, "running", Some(3)),
        process("frontend", 1, "running", Some(9)),
        process("sim", 0, "running", Some(4_100)),
        process("sim", 1, "dead", Some(8_000)),
        process("standby", 2, "running", Some(12)),
        process("hook", 0, "running", Some(80)),
    ];
    let mut matches = vec![
        a_match(1, "arena", "running", 12, 900),
        a_match(2, "harbour", "paused", 0, 0),
        a_match(3, "tower", "running", 3, 60_000),
    ];
    matches.extend((4..=14).map(|id| a_match(id, &format!("field-{id}"), "running", id as u32, id * 1_000)));
    let pace = |of: &MatchStatus| Pace {
        took: Times { p99: if of.id == 9 { 31_000 } else { of.tick_us.p99 }, ..of.tick_us },
        late: of.tick_late_us,
        fills: (0..90).map(|look| of.inbox.used_bytes * (look % 13) / 13).collect(),
    };
    let front = [("fe_inputs", 120_000, 119.9), ("fe_snapshots", 90_000, 1_190.0), ("fe_joins", 14, 0.2), ("fe_floods", 0, 0.0)];
    let sim = [("sim_ticks", 88_000, 240.0), ("sim_ticks_late", 7, 0.0)];
    let works = processes.iter().map(|process| match process.role {
        "frontend" => work(&front),
        "sim" => work(&sim),
        _ => work(&[]),
    });
    judged(Seen {
        processes: works.collect(),
        matches: matches.iter().map(pace).collect(),
        status: Status {
            instance: "default".to_owned(),
            uptime_s: 3_700,
            listen: "0.0.0.0:7777".parse().unwrap(),
            stopping: false,
            draining: false,
            orphaned: false,
            sessions: matches.iter().map(|of| u64::from(of.sessions)).sum(),
            arena: ArenaStatus { extents_total: 512, extents_used: 143, extents_reserved: 210, pages_used: 1_680 },
            counters: [].into(),
            processes,
            matches,
        },
        one: None,
        ills: Vec::new(),
        cost: Cost { look_us: 740, cpu_percent: Some(0.4) },
    })
}

/// The same with what the rules say to it. The twelfth match stands still.
fn judged(mut seen: Seen) -> Seen {
    let mut signs = Signs::of_status(&seen.status);
    for ((signs, pace), of) in signs.matches.iter_mut().zip(&seen.matches).zip(&seen.status.matches) {
        (signs.took, signs.late) = (pace.took, pace.late);
        signs.still_ms = Some(if of.id == 12 { 61_000 } else { 9 });
    }
    seen.ills = findings(&seen.status, &signs);
    seen
}

/// What the first look at an instance finds wrong, and the screen that shows it.
pub(crate) fn first_look(attached: Attached) -> (Vec<&'static str>, String) {
    let attached = Rc::new(attached);
    let mut watcher = Watcher::new(Box::new(move || Ok(Rc::clone(&attached))));
    let mut app = App::new("default", false);
    let seen = watcher.look(&app.wanted()).expect("an instance that is there");
    let rules = seen.ills.iter().map(|ill| ill.rule).collect();
    app.saw(Ok(seen));
    (rules, text(&drawn(&app, 200, 60)))
}

/// What is seen of an instance once a match is drilled into.
fn seen_for(wanted: &Wanted) -> Seen {
    let mut one = one();
    if wanted.entities.as_ref().is_some_and(|list| !list.filter.is_empty()) {
        one.entities.shown.retain(|dot| dot.lit);
    }
    Seen { one: wanted.of.map(|id| Ok(One { id, ..one })), ..seen() }
}

fn app() -> App {
    let mut app = App::new("default", false);
    app.saw(Ok(seen()));
    app
}

/// Presses keys, and looks after each of them.
fn press(app: &mut App, keys: &[KeyCode]) {
    for key in keys {
        assert_eq!(app.key(KeyEvent::new(*key, KeyModifiers::NONE)), Asked::Nothing, "{key:?}");
        app.saw(Ok(seen_for(&app.wanted())));
    }
}

fn typed(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

fn drawn(app: &App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app)).unwrap();
    terminal.backend().buffer().clone()
}

/// A screen's letters.
fn text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let line = |y: u16| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned() + "\n";
    (0..area.height).map(line).collect()
}

/// Compares a screen with the one that is kept, at both sizes.
fn check(name: &str, app: &App) {
    for (width, height) in [(80, 24), (200, 60)] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/top/screens/{name}-{width}x{height}.txt"));
        let found = text(&drawn(app, width, height));
        if std::env::var_os("RINGFORT_WRITE_SCREENS").is_some() {
            fs::write(&path, &found).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == kept, "{} is not what is drawn:\n{found}", path.display());
    }
}

#[test]
fn the_overview_shows_processes_matches_and_what_is_wrong() {
    check("overview", &app());
}

#[test]
fn the_overview_sorts_and_filters_by_keys() {
    let mut app = app();
    // By p99, the largest first, then those that are called field.
    press(&mut app, &typed("sssssr"));
    press(&mut app, &typed("/field"));
    check("filtering", &app);
    press(&mut app, &[KeyCode::Enter, KeyCode::Down]);
    let shown = text(&drawn(&app, 80, 24));
    assert!(shown.contains("matches (11 of 14)  sorted by p99 falling  filter \"field\""), "{shown}");
    assert!(!shown.contains("arena  "), "{shown}");
    let first = shown.lines().find(|line| line.starts_with("field-")).unwrap();
    assert!(first.starts_with("field-9"), "{shown}");
    press(&mut app, &[KeyCode::Esc]);
    assert!(text(&drawn(&app, 80, 24)).contains("matches (14)"));
}

#[test]
fn a_process_shows_its_counters() {
    let mut app = app();
    press(&mut app, &[KeyCode::Tab, KeyCode::Down, KeyCode::Enter]);
    assert_eq!(app.view(), View::Process("frontend", 0));
    check("process", &app);
}

fn in_a_match() -> App {
    let mut app = app();
    press(&mut app, &typed("/tower"));
    press(&mut app, &[KeyCode::Enter, KeyCode::Enter]);
    assert_eq!(app.view(), View::Match(3));
    app
}

#[test]
fn a_match_shows_its_ticks_its_ring_and_its_entities() {
    check("match", &in_a_match());
}

#[test]
fn a_match_shows_its_sessions_and_a_players_text_does_not_move_the_cursor() {
    let mut app = in_a_match();
    press(&mut app, &[KeyCode::Tab]);
    check("sessions", &app);
    assert!(text(&drawn(&app, 80, 24)).contains("bob ?[2J"));
    press(&mut app, &[KeyCode::Enter]);
    assert_eq!(app.view(), View::Session(3, 7));
    check("session", &app);
}

#[test]
fn a_match_shows_its_events() {
    let mut app = in_a_match();
    press(&mut app, &[KeyCode::Tab, KeyCode::Tab]);
    check("events", &app);
}

#[test]
fn an_entity_shows_its_fields_and_what_has_changed() {
    let mut app = in_a_match();
    press(&mut app, &[KeyCode::Down; 7]);
    press(&mut app, &[KeyCode::Enter]);
    assert_eq!(app.wanted().entity, Some((7, 1)));
    check("entity", &app);
}

#[test]
fn the_map_shows_where_entities_are() {
    let mut app = in_a_match();
    press(&mut app, &typed("m"));
    assert!(app.wanted().map);
    check("map", &app);
    press(&mut app, &typed("/index = 7"));
    press(&mut app, &[KeyCode::Enter]);
    press(&mut app, &typed("++l"));
    check("map-zoomed", &app);
}

#[test]
fn the_keys_are_explained() {
    let mut app = app();
    press(&mut app, &typed("?"));
    check("help", &app);
    for line in text(&drawn(&app, 500, 40)).lines().skip(1) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn what_is_dead_stopped_or_gone_is_said() {
    let mut app = app();
    let mut dead = seen();
    dead.status.processes.iter_mut().for_each(|process| process.state = "dead");
    app.saw(Ok(judged(dead)));
    let shown = text(&drawn(&app, 80, 24));
    assert!(shown.contains("not running") && shown.contains("no process of instance \"default\" lives"), "{shown}");
    let mut stopped = seen();
    stopped.status.processes.iter_mut().for_each(|process| process.state = "stopped");
    app.saw(Ok(judged(stopped)));
    assert!(text(&drawn(&app, 80, 24)).contains("! supervisor 0 (pid 4100) is stopped by a signal"));
    app.saw(Err("instance \"default\" is not running".to_owned()));
    let shown = text(&drawn(&app, 80, 24));
    assert!(
        shown.contains("instance \"default\" is not running") && shown.contains("arena"),
        "what was seen last stays: {shown}"
    );
    let mut app = in_a_match();
    app.saw(Ok(Seen { one: Some(Err("match \"tower\" cannot be decoded".to_owned())), ..seen() }));
    assert!(text(&drawn(&app, 80, 24)).contains("cannot be decoded"));
}

#[test]
fn every_key_leads_somewhere_at_every_size_and_back() {
    let keys: Vec<KeyCode> = typed("jjsr>< mn+-0?xGg/a")
        .into_iter()
        .chain([KeyCode::Enter, KeyCode::Tab, KeyCode::Enter, KeyCode::PageDown, KeyCode::End, KeyCode::BackTab, KeyCode::Enter])
        .collect();
    for views in 0..6 {
        let mut app = app();
        let starts: [&[KeyCode]; 6] = [
            &[],
            &[KeyCode::Tab, KeyCode::Enter],
            &[KeyCode::Enter],
            &[KeyCode::Enter, KeyCode::Enter],
            &[KeyCode::Enter, KeyCode::Tab, KeyCode::Enter],
            &[KeyCode::Enter, KeyCode::Char('m')],
        ];
        press(&mut app, starts[views]);
        for key in &keys {
            app.key(KeyEvent::new(*key, KeyModifiers::NONE));
            app.saw(Ok(seen_for(&app.wanted())));
            for (width, height) in [(1, 1), (2, 3), (10, 4), (37, 9), (80, 24), (130, 40), (300, 7)] {
                let _ = drawn(&app, width, height);
            }
        }
        for _ in 0..10 {
            app.key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE));
        }
        assert_eq!(app.view(), View::Overview);
    }
}

#[test]
fn nothing_has_a_colour_where_none_are_wanted() {
    let coloured = |app: &App| drawn(app, 80, 24).content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
    let mut app = in_a_match();
    for part in 0..4 {
        assert!(!coloured(&app), "{part}");
        press(&mut app, &[KeyCode::Tab]);
    }
    press(&mut app, &typed("m"));
    assert!(!coloured(&app));
    let reversed = |app: &App| drawn(app, 80, 24).content.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED));
    assert!(reversed(&app), "what is chosen is seen without colours");
    app.colours = true;
    assert!(coloured(&app));
}

#[test]
fn quitting_and_stopping_are_asked_of_the_loop() {
    let mut app = app();
    let control = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
    let plain = |letter| KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE);
    assert_eq!(app.key(control('z')), Asked::Suspend);
    assert_eq!(app.key(control('c')), Asked::Quit);
    assert_eq!(app.key(plain('/')), Asked::Nothing);
    assert_eq!(app.key(plain('q')), Asked::Nothing, "a letter of the filter");
    assert_eq!(app.key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)), Asked::Nothing);
    assert!(app.matches.filter.is_empty(), "what stood there before stands there again");
    assert_eq!(app.key(plain(' ')), Asked::Nothing);
    assert!(app.paused && text(&drawn(&app, 80, 24)).contains("PAUSED"));
    assert_eq!(app.key(plain(' ')), Asked::Look);
    assert_eq!(app.key(plain('q')), Asked::Quit);
}
