//! What the supervisor has to know of the game: which options it takes, and what a match of it needs.
//!
//! Collected once, so that the supervisor itself is the same code for every game.

use std::collections::BTreeMap;

use ringfort_protocol::schema::Schema;
use ringfort_shm_state::layout::ZoneEntry;
use ringfort_shm_state::limits::{
    EXTENT_BYTES, EXTENT_PAGES, KEEP_FREE_PAGES, MAX_INBOX_BYTES, MIN_INBOX_BYTES, PAGE_WORDS, WINDOW,
};
use ringfort_shm_state::segment::unpadded;

use super::errors::MatchError;
use crate::config::{Config, OptionValue, Options, check_options};
use crate::describe::{Described, describe};
use crate::fsck::Describe;
use crate::game::{Description, DescriptionError, Game, GameMap, OptionDoc, OptionKind, ZoneLimits};
use crate::limits::{ARENA_MIB_MIN, CAPACITY_MAX, GAME_OPTIONS_BYTES_MAX, INBOX_BYTES_PER_PLAYER};

/// The option that every game has.
const CAPACITY: &str = "capacity";

/// The game, as far as the supervisor knows it.
pub(crate) struct Rules {
    /// The game's map as JSON, for the directory.
    pub(super) map_json: Vec<u8>,
    /// Its schema's hash as clients compute it.
    pub(super) schema_hash: u64,
    /// What clients see of it.
    pub(super) schema: &'static Schema,
    tick_hz: u32,
    rewind_ms: u32,
    grace_ms: u32,
    capacity: u32,
    options: &'static [OptionDoc],
    /// Works a match of a given capacity out.
    pub(super) describe: Describe,
    /// Says what this binary is, with matches of these sizes.
    pub(super) describe_binary: fn(&[ZoneLimits]) -> Described,
}

/// Another game, or another build or tick rate of it, than that of an earlier run.
#[derive(Debug, thiserror::Error)]
pub enum OtherRules {
    /// What clients see of the game is another thing.
    #[error("its game is another one ({difference}): its schema is {found:#x}, and this binary expects {expected:#x}")]
    Game {
        /// The first difference.
        difference: String,
        /// Hash of its schema.
        found: u64,
        /// Hash of ours.
        expected: u64,
    },
    /// A match would be stepped at another rate.
    #[error(
        "match \"{name}\" makes {found} ticks a second, and the configuration says {expected}; `ringfort up --tick-hz {found}` goes on \
         with it"
    )]
    TickRate {
        /// Which match.
        name: String,
        /// Its ticks a second.
        found: u32,
        /// What is configured.
        expected: u32,
    },
    /// A match's memory is laid out otherwise.
    #[error(
        "match \"{name}\" was laid out by another build of the game (tables {found:#x} there, {expected:#x} here), so its world \
         cannot be read"
    )]
    Tables {
        /// Which match.
        name: String,
        /// Hash of its tables.
        found: u64,
        /// Hash of ours.
        expected: u64,
    },
    /// The game can't have matches of that size.
    #[error("match \"{name}\" is none that the game can have: {source}")]
    Size {
        /// Which match.
        name: String,
        /// Why.
        source: DescriptionError,
    },
}

/// What a match with given options needs.
#[derive(Debug)]
pub(crate) struct MatchPlan {
    /// Ticks a second.
    pub(crate) tick_hz: u32,
    /// Milliseconds that a player's view may lie back.
    pub(crate) rewind_ms: u32,
    /// Milliseconds for which a session without a connection stays.
    pub(crate) grace_ms: u32,
    /// Sessions that fit.
    pub(crate) capacity: u32,
    /// Entities that fit.
    pub(crate) max_entities: u32,
    /// Hash of its tables.
    pub(crate) tables_hash: u64,
    /// Extents of the arena that are set aside for it ([`extents_needed`]).
    pub(crate) extents: usize,
    /// Bytes of its inbox area.
    pub(crate) inbox_bytes: u64,
    /// Its options as the directory holds them.
    pub(crate) options: String,
}

impl Rules {
    /// The rules of a game under a configuration.
    pub(crate) fn of<G: Game>(config: &Config) -> Rules {
        let schema = Description::schema_of::<G>();
        Rules {
            map_json: serde_json::to_vec(&GameMap::of::<G>()).expect("a map is names and numbers"),
            schema_hash: schema.hash(),
            schema,
            tick_hz: config.tick_hz.unwrap_or(G::HZ),
            rewind_ms: config.rewind_ms,
            grace_ms: config.grace_ms.unwrap_or(G::GRACE_MS),
            capacity: G::CAPACITY,
            options: G::OPTIONS,
            describe_binary: describe::<G>,
            describe: |capacity, spectators| Description::of::<G>(ZoneLimits::of::<G>(capacity).with_spectators(spectators)),
        }
    }

    /// What an operator should know of the tick rate, if it leaves the game less of the past than it wants.
    pub(crate) fn doubt(&self) -> Option<String> {
        let is = (self.describe)(self.capacity, 0).ok()?;
        let (keeps, wants, hz) = (is.keeps_less(self.tick_hz)?, is.keep_ms, self.tick_hz);
        Some(format!("the game wants to look back {wants} ms, and at {hz} Hz it can {keeps} ms: shots are judged within those"))
    }

    /// What a match with these options, complete, and with so many spectators needs; or why there can't be one.
    pub(crate) fn plan(&self, options: &Options, spectators: u32) -> Result<MatchPlan, MatchError> {
        check_options(options)?;
        if let Some(key) = options.keys().find(|key| !self.has_option(key)) {
            return Err(MatchError::UnknownOption { key: key.clone(), allowed: self.option_names() });
        }
        let capacity = self.capacity_of(options)?;
        let description = (self.describe)(capacity, spectators)?;
        for option in self.options {
            check_option(option, options)?;
        }
        let inbox_bytes = (u64::from(capacity) * INBOX_BYTES_PER_PLAYER).next_power_of_two();
        Ok(MatchPlan {
            tick_hz: self.tick_hz,
            rewind_ms: self.rewind_ms,
            grace_ms: self.grace_ms,
            capacity,
            max_entities: description.limits.max_entities,
            tables_hash: description.tables_hash,
            extents: extents_needed(&description),
            inbox_bytes: inbox_bytes.clamp(MIN_INBOX_BYTES, MAX_INBOX_BYTES),
            options: options_text(options)?,
        })
    }

    /// Whether an earlier run was of the same game, by the hash of its schema and the JSON of its map.
    pub(super) fn check_schema(&self, found: u64, json: Option<Vec<u8>>) -> Result<(), OtherRules> {
        if found == self.schema_hash {
            return Ok(());
        }
        let theirs: Option<GameMap> = json.and_then(|json| serde_json::from_slice(&json).ok());
        let difference = theirs.and_then(|theirs| self.schema.first_difference(&theirs.schema));
        let difference = difference.unwrap_or_else(|| "its schema cannot be read".to_owned());
        Err(OtherRules::Game { difference, found, expected: self.schema_hash })
    }

    /// Whether a match of an earlier run can be stepped on under these rules.
    pub(super) fn check_match(&self, entry: &ZoneEntry) -> Result<(), OtherRules> {
        let name = || unpadded(&entry.name);
        if entry.tick_hz != self.tick_hz {
            return Err(OtherRules::TickRate { name: name(), found: entry.tick_hz, expected: self.tick_hz });
        }
        let is = (self.describe)(entry.capacity, entry.spectators).map_err(|source| OtherRules::Size { name: name(), source })?;
        if (is.tables_hash, is.limits.max_entities) != (entry.tables_hash, entry.max_entities) {
            return Err(OtherRules::Tables { name: name(), found: entry.tables_hash, expected: is.tables_hash });
        }
        Ok(())
    }

    fn has_option(&self, key: &str) -> bool {
        key == CAPACITY || self.options.iter().any(|option| option.name == key)
    }

    fn option_names(&self) -> String {
        let names = self.options.iter().map(|option| option.name).filter(|name| *name != CAPACITY);
        std::iter::once(CAPACITY).chain(names).collect::<Vec<_>>().join(", ")
    }

    fn capacity_of(&self, options: &Options) -> Result<u32, MatchError> {
        let Some(value) = options.get(CAPACITY) else { return Ok(self.capacity) };
        let number = match value {
            OptionValue::Number(number) => u32::try_from(*number).ok().filter(|n| (1..=CAPACITY_MAX).contains(n)),
            OptionValue::Text(_) => None,
        };
        number.ok_or_else(|| MatchError::Capacity { value: text_of(value) })
    }
}

/// Extents of the arena that a match may come to own.
///
/// Its newest root names every page that was ever written, and the window of roots before it, with the tick that is made, holds
/// on to what each of those ticks has replaced. What a tick replaces is taken to be what moves in every tick: the engine's own
/// row, the players' inputs with their bytes and verdicts, all columns, the cues, and the table pages that name them. Joins, reliable events, timers and seats
/// touch a page now and then; for those, and as nobody writes every column of every entity in every tick, the pages that a zone
/// keeps free stand in.
fn extents_needed(description: &Description) -> usize {
    let Description { engine, input_bytes, columns, pages, .. } = description;
    let columns: u32 = columns.iter().map(|column| column.pages()).sum();
    let inputs = engine.inputs.pages() + engine.verdicts.pages() + input_bytes.pages();
    let moving = (engine.meta.pages() + inputs + engine.cues.pages() + columns).min(*pages) as usize;
    let tables = (*pages as usize).div_ceil(PAGE_WORDS);
    let copies = (WINDOW as usize + 1) * (moving + tables);
    (*pages as usize + tables + copies + KEEP_FREE_PAGES).div_ceil(EXTENT_PAGES)
}

/// The least `arena_mib` with so many extents.
pub(super) fn mib_of(extents: usize) -> usize {
    (extents * EXTENT_BYTES).div_ceil(1 << 20).max(ARENA_MIB_MIN as usize)
}

/// A game takes what it can't read for its default: what is not in range must not get that far.
fn check_option(option: &OptionDoc, options: &Options) -> Result<(), MatchError> {
    let OptionKind::Number { min, max, whole } = option.kind else { return Ok(()) };
    let Some(value) = options.get(option.name) else { return Ok(()) };
    let number = match value {
        OptionValue::Number(number) => Some(*number as f64),
        OptionValue::Text(text) if whole => text.parse::<i64>().ok().map(|number| number as f64),
        OptionValue::Text(text) => text.parse().ok(),
    };
    if number.is_some_and(|number| (min..=max).contains(&number)) {
        return Ok(());
    }
    let kind = if whole { "whole number" } else { "number" };
    Err(MatchError::OptionRange { name: option.name, value: text_of(value), kind, min, max })
}

fn text_of(value: &OptionValue) -> String {
    match value {
        OptionValue::Number(number) => number.to_string(),
        OptionValue::Text(text) => text.clone(),
    }
}

/// Games read their options as text, whether they look like numbers or not.
fn options_text(options: &Options) -> Result<String, MatchError> {
    let texts: BTreeMap<&String, String> = options.iter().map(|(key, value)| (key, text_of(value))).collect();
    let json = serde_json::to_string(&texts).expect("a map of strings");
    if json.len() > GAME_OPTIONS_BYTES_MAX {
        return Err(MatchError::OptionsTooLong { bytes: json.len() });
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skirmish::Skirmish;
    use ringfort_shm_state::segment::padded;
    use zerocopy::FromZeros;

    fn plan(options: &[(&str, OptionValue)]) -> Result<MatchPlan, MatchError> {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Rules::of::<Skirmish>(&Config::default()).plan(&options, 0)
    }

    #[test]
    fn games_read_options_as_text() {
        let plan = plan(&[(CAPACITY, OptionValue::Number(8))]).unwrap();
        assert_eq!((plan.capacity, plan.options.as_str()), (8, r#"{"capacity":"8"}"#));
        assert_eq!(plan.inbox_bytes, MIN_INBOX_BYTES);
    }

    #[test]
    fn what_no_match_can_have_is_refused() {
        let too_many = OptionValue::Number(i64::from(CAPACITY_MAX) + 1);
        for value in [OptionValue::Number(0), OptionValue::Number(-1), too_many, OptionValue::Text("many".into())] {
            assert!(matches!(plan(&[(CAPACITY, value)]), Err(MatchError::Capacity { .. })));
        }
        let unknown = plan(&[("colour", OptionValue::Number(1))]).unwrap_err().to_string();
        assert!(unknown.contains("\"colour\"") && unknown.contains(CAPACITY), "{unknown}");
    }

    #[test]
    fn options_out_of_range_are_refused_by_name_value_and_range() {
        for (name, value) in [("minutes", "-1"), ("minutes", "1440.5"), ("minutes", "soon"), ("minutes", "NaN"), ("kills", "2.5")]
        {
            let refusal = plan(&[(name, OptionValue::Text(value.into()))]).unwrap_err().to_string();
            let range = if name == "kills" { "a whole number from 0 to 65535" } else { "a number from 0 to 1440" };
            assert!([name, value, range].iter().all(|part| refusal.contains(part)), "{refusal}");
        }
        assert!(plan(&[("kills", OptionValue::Number(65_536))]).is_err());
        for (name, value) in [("minutes", "0.5"), ("minutes", "1440"), ("kills", "65535")] {
            plan(&[(name, OptionValue::Text(value.into()))]).unwrap();
        }
    }

    fn entry_of(plan: &MatchPlan) -> ZoneEntry {
        let MatchPlan { tick_hz, capacity, max_entities, tables_hash, .. } = *plan;
        ZoneEntry { tick_hz, capacity, max_entities, tables_hash, name: padded("m"), ..ZoneEntry::new_zeroed() }
    }

    #[test]
    fn matches_of_another_build_or_rate_are_told_apart() {
        let rules = Rules::of::<Skirmish>(&Config::default());
        let entry = entry_of(&plan(&[(CAPACITY, OptionValue::Number(8))]).unwrap());
        rules.check_match(&entry).unwrap();
        let refusal = |entry| rules.check_match(&entry).unwrap_err().to_string();
        assert_eq!(
            refusal(ZoneEntry { tick_hz: 7, ..entry }),
            format!(
                "match \"m\" makes 7 ticks a second, and the configuration says {}; `ringfort up --tick-hz 7` goes on with it",
                rules.tick_hz
            )
        );
        let tables = refusal(ZoneEntry { tables_hash: 0xabc, ..entry });
        assert!(tables.contains("0xabc there") && tables.contains(&format!("{:#x} here", entry.tables_hash)), "{tables}");
        assert!(refusal(ZoneEntry { max_entities: 1, ..entry }).contains("another build"));
        assert!(refusal(ZoneEntry { capacity: 9, ..entry }).contains("another build"));
        assert!(refusal(ZoneEntry { capacity: 0, ..entry }).contains("none that the game can have"));
    }

    #[test]
    fn another_game_is_told_apart_by_its_first_difference() {
        let rules = Rules::of::<Skirmish>(&Config::default());
        rules.check_schema(rules.schema_hash, None).unwrap();
        let other = Schema { game: "Chess".into(), ..rules.schema.clone() };
        let map = serde_json::to_vec(&GameMap { schema: other.clone(), ..GameMap::of::<Skirmish>() });
        let refusal = rules.check_schema(other.hash(), map.ok()).unwrap_err().to_string();
        let words = ["Chess there", &format!("{:#x}", other.hash()), &format!("{:#x}", rules.schema_hash)];
        assert!(words.iter().all(|word| refusal.contains(word)), "{refusal}");
        assert!(rules.check_schema(1, Some(b"{".to_vec())).unwrap_err().to_string().contains("cannot be read"));
    }

    /// Extents that were seen in use: about 12 with 5 players, about 90 with 1,000.
    #[test]
    fn a_tick_rate_that_leaves_little_of_the_past_is_said() {
        let doubt = |tick_hz| Rules::of::<Skirmish>(&Config { tick_hz, ..Config::default() }).doubt();
        assert_eq!(doubt(None), None);
        assert_eq!(doubt(Some(77)), None);
        let said = doubt(Some(240)).expect("400 ms are 96 ticks");
        assert!(said.contains("400 ms, and at 240 Hz it can 129 ms"), "{said}");
    }

    #[test]
    fn a_match_reserves_what_it_was_seen_to_use_and_not_much_more() {
        let extents = |capacity| plan(&[(CAPACITY, OptionValue::Number(capacity))]).unwrap().extents;
        assert!((12..=40).contains(&extents(5)), "{}", extents(5));
        assert!((90..=256).contains(&extents(1000)), "{}", extents(1000));
    }
}
